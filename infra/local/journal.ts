import { closeSync, copyFileSync, fstatSync, ftruncateSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

const SIZE_MAX_BYTES = 32 * 1024 * 1024;
const LOOK_EVERY_MS = 60_000;

/** What the engine and the trusted functions say, in one file of the data folder: lines of JSON, bounded, the part before kept as `.1`. */
export interface Journal extends Disposable {
  readonly path: string;
  /** Functions write to it by themselves, so that what a dying one says last is there too. */
  readonly descriptor: number;
  event(name: string, facts: Record<string, unknown>): void;
}

export function openJournal(dataDir: string): Journal {
  mkdirSync(join(dataDir, "log"), { recursive: true, mode: 0o700 });
  const path = join(dataDir, "log/cleanroom.log");
  const descriptor = openSync(path, "a", 0o600);
  const turn = () => {
    if (fstatSync(descriptor).size <= SIZE_MAX_BYTES) return;
    // Others write to the same open file, so it is emptied in place; appending goes on at its new end.
    copyFileSync(path, `${path}.1`);
    ftruncateSync(descriptor);
  };
  turn();
  const timer = setInterval(turn, LOOK_EVERY_MS).unref();
  return {
    path,
    descriptor,
    event: (name, facts) => void writeSync(descriptor, `${JSON.stringify({ at: new Date().toISOString(), event: name, ...facts })}\n`),
    [Symbol.dispose]() {
      clearInterval(timer);
      closeSync(descriptor);
    },
  };
}
