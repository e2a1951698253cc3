import { Problem } from "#contract/problem.ts";
import type { Platform } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";

const BLOBS = "blobs";
const ATTEMPTS = 50;

/** Who needs the bytes of one hash. A generation whose last user left is removed and never used again. */
interface BlobRow {
  generation: number;
  users: string[];
  removing: boolean;
}

/** Content-addressed: equal bytes of one project share an object. */
function objectKeyOf(projectId: string, sha256: string, generation: number): string {
  return `blobs/${projectId}/${sha256}${generation === 0 ? "" : `.${generation}`}`;
}

/**
 * Names a user of a hash's bytes and answers where they belong. When the bytes are just being removed, the user gets
 * the next generation: whoever removes knows only the old one's key and cannot take these.
 */
export async function claimBlob(platform: Platform, projectId: string, sha256: string, user: string): Promise<string> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await platform.tables.get<BlobRow>(BLOBS, `${projectId}/${sha256}`);
    const { generation, users } = nextOf(row?.value);
    const changed: BlobRow = { generation, users: users.includes(user) ? users : [...users, user], removing: false };
    const written = await unlessConflict(
      platform.tables.put(BLOBS, `${projectId}/${sha256}`, changed, { ifVersion: row?.version ?? "absent" }),
    );
    if (written) return objectKeyOf(projectId, sha256, generation);
  }
  throw new Problem("conflict", { sha256 });
}

/** Where the bytes are that a user has claimed; undefined when it has not, or not any more. */
export async function findBlob(platform: Platform, projectId: string, sha256: string, user: string): Promise<string | undefined> {
  const row = await platform.tables.get<BlobRow>(BLOBS, `${projectId}/${sha256}`);
  return row?.value.users.includes(user) ? objectKeyOf(projectId, sha256, row.value.generation) : undefined;
}

/** Takes a user away; the bytes go with the last one. Doing it twice is doing it once. */
export async function releaseBlob(platform: Platform, projectId: string, sha256: string, user: string): Promise<void> {
  const key = `${projectId}/${sha256}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await platform.tables.get<BlobRow>(BLOBS, key);
    if (!row || (!row.value.removing && !row.value.users.includes(user))) return;
    const users = row.value.users.filter((other) => other !== user);
    const changed: BlobRow = { ...row.value, users, removing: users.length === 0 };
    const written = await unlessConflict(platform.tables.put(BLOBS, key, changed, { ifVersion: row.version }));
    if (!written) continue;
    if (changed.removing) await platform.objects.remove(objectKeyOf(projectId, sha256, changed.generation));
    // The row stays, a few bytes that say `removing`: its generation must never be handed out again.
    return;
  }
  throw new Problem("conflict", { sha256 });
}

function nextOf(blob: BlobRow | undefined): { generation: number; users: string[] } {
  if (!blob) return { generation: 0, users: [] };
  return blob.removing ? { generation: blob.generation + 1, users: [] } : blob;
}
