import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

/** Stops a group where it stands. */
export interface Freezer {
  /** Resolves when nothing in the group runs any more; one that cannot be stopped in time is let go on. */
  freeze(): Promise<void>;
  thaw(): void;
  /** Gives back what memory the kernel takes: without swap that is what lies on disk as well. */
  reclaim(): void;
  /** Waits for what is being given back: until then its group cannot go, and whoever removed it would stand still. */
  reclaimed(): Promise<void>;
}

/** Where the group's freezer and its memory are, and whose turn it is to give memory back. */
export interface FreezerPlaces {
  unified: string | undefined;
  old: string | undefined;
  memory: string;
  turn: <T>(work: () => Promise<T>) => Promise<T>;
}

const FREEZE_MS = 2000;

/** The unified hierarchy's freezer wherever there is one, beside older controllers too: in it the killed die, in the old one they wait to be thawed. */
export function openFreezer({ unified, old, memory, turn }: FreezerPlaces): Freezer {
  const [file, on, off] = unified ? [join(unified, "cgroup.freeze"), "1", "0"] : [join(old ?? "", "freezer.state"), "FROZEN", "THAWED"];
  const isFrozen = () =>
    unified ? read(join(unified, "cgroup.events")).includes("frozen 1") : read(join(old ?? "", "freezer.state")).startsWith("FROZEN");
  let reclaiming = Promise.resolve();
  return {
    async freeze() {
      if (!unified && !old) throw new Error("This host has no freezer for control groups");
      writeFileSync(file, on);
      const deadline = Date.now() + FREEZE_MS;
      for (let looks = 0; !isFrozen(); looks++) {
        if (Date.now() > deadline) {
          writeFileSync(file, off);
          throw new Error(`The group did not stand still within ${FREEZE_MS} ms`);
        }
        // Most stand at once; what is in the middle of a disk's answer takes its time.
        await delay(looks < 20 ? 0 : 5);
      }
    },
    thaw() {
      if (existsSync(file)) writeFileSync(file, off);
    },
    reclaim() {
      reclaiming = turn(() => giveBack(memory));
    },
    reclaimed: () => reclaiming,
  };
}

/** Less than was asked for, or a group that ended meanwhile, is no failure: it was as much as there was. */
async function giveBack(memory: string): Promise<void> {
  const [all, some] = [join(memory, "memory.force_empty"), join(memory, "memory.reclaim")];
  if (existsSync(all)) await writeFile(all, "0").catch(() => undefined);
  else if (existsSync(some)) await writeFile(some, read(join(memory, "memory.current")).trim()).catch(() => undefined);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
