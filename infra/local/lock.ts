import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** Takes the data folder for one engine: a second one is refused, and the kernel lets go when the first dies however it dies. */
export function holdDataDir(dataDir: string): Disposable {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const lock = new DatabaseSync(join(dataDir, "engine.lock"));
  try {
    lock.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (by INTEGER)");
  } catch (error) {
    lock.close();
    throw new Error(`another Cleanroom runs on ${dataDir}; stop it, or set CLEANROOM_DATA to another folder`, { cause: error });
  }
  return { [Symbol.dispose]: () => lock.close() };
}
