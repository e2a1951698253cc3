import { randomBytes } from "node:crypto";
import * as z from "zod";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** A new ULID: 48 bits of time, 80 random bits, sortable as text (the format AgentRun's clients know). */
export function newId(nowMs: number): string {
  let time = "";
  for (let rest = nowMs, place = 0; place < 10; place += 1) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  const random = Array.from(randomBytes(16), (byte) => ALPHABET.charAt(byte % 32)).join("");
  return time + random;
}

/** Names that people choose: templates, artifacts' projects, memory of any kind. */
export const Name = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,62}$/, "must start with a letter and hold only letters, digits, `_` and `-`, 63 at most");

/** A sandbox's id: ours is a ULID; a client may choose its own. */
export const SandboxId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{3,47}$/, "must be 4 to 48 letters, digits, `_` or `-`");

export const TaskId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/, "must be 1 to 64 letters, digits, `_` or `-`");

/** A moment on the wire: ISO 8601 in UTC. */
export const Moment = z.iso.datetime();

/** A whole number that may come as text, as query values do. */
export const Count = (max: number) => z.coerce.number().int().min(1).max(max);

/** A page of anything: `after` of the next request is `next` of this answer; absent on the last page. */
export const page = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().optional() });

/** Text pairs that a caller hangs on a thing to find it again. */
export const Metadata = z
  .record(z.string().min(1).max(64), z.string().max(512))
  .refine((entries) => Object.keys(entries).length <= 32, "holds at most 32 entries");
