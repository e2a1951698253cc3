import { join } from "node:path";
import { tempDir } from "./temp.ts";

/** Somewhere that a store lies: it may be opened more than once, and with a path other processes may open it too. */
export interface Place<Open> extends AsyncDisposable {
  open: Open;
  path?: string;
}

/** A place in a new folder, which goes when the place is disposed of. */
export async function folderPlace<Open>(open: (path: string) => Open): Promise<Place<Open>> {
  const dir = await tempDir();
  const path = join(dir.path, "store");
  return { open: open(path), path, [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose]() };
}

/** A place in this process's memory: opened twice, it is the same store. */
export function memoryPlace<Open>(open: Open): Place<Open> {
  return { open, async [Symbol.asyncDispose]() {} };
}
