import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { compareKeys, objectKey } from "#contract/key.ts";

// A name on the disk is its segment behind a mark, so that `a` and `a/b` can both be objects and no name is `.` or `..`.
const FILE = "=";
const FOLDER = "+";

/** Where an object lies under the root: every key has one path, and no path leaves the root. */
export function pathOf(root: string, key: string): string {
  const segments = objectKey(key).split("/");
  const name = segments.pop() ?? "";
  return join(root, ...segments.map((segment) => FOLDER + segment), FILE + name);
}

/** The keys below a root that start with `prefix` and come after `after`, in the order of keys, one folder in memory per level. */
export async function* keysOf(root: string, prefix: string, after: string | undefined): AsyncGenerator<string> {
  yield* walk(root, "", prefix, after);
}

async function* walk(dir: string, above: string, prefix: string, after: string | undefined): AsyncGenerator<string> {
  const entries = (await namesIn(dir))
    .map((name) => ({ name, key: above + name.slice(1) + (name.startsWith(FOLDER) ? "/" : "") }))
    // A folder sorts as its name with the slash that all keys below it share, which puts every key in order.
    .toSorted((a, b) => compareKeys(a.key, b.key));
  for (const { name, key } of entries) {
    if (name.startsWith(FILE)) {
      if (key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0)) yield key;
    } else if (mayHold(key, prefix, after)) {
      yield* walk(join(dir, name), key, prefix, after);
    }
  }
}

function mayHold(folder: string, prefix: string, after: string | undefined): boolean {
  const onTheWay = folder.startsWith(prefix) || prefix.startsWith(folder);
  return onTheWay && (after === undefined || after.startsWith(folder) || compareKeys(folder, after) > 0);
}

// A folder may go between being seen and being read.
async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
