import { write, writeSync } from "node:fs";
import type { Log } from "#core/ports.ts";

const TOGETHER_MS = 20;

/**
 * Events as lines of JSON, written beside the work and not in it: who fills the disk, or keeps it busy, would otherwise
 * hold up every request. What a process says while it ends is written before it has ended.
 */
export function openLineLog(descriptor: number, now: () => Date = () => new Date()): Log & Disposable {
  let waiting = "";
  let timer: NodeJS.Timeout | undefined;
  let writing = false;

  function flush(): void {
    timer = undefined;
    if (writing || waiting === "") return;
    const bytes = Buffer.from(waiting);
    waiting = "";
    writing = true;
    put(bytes, 0);
  }

  function put(bytes: Buffer, from: number): void {
    write(descriptor, bytes, from, bytes.length - from, null, (error, written) => {
      // A log that cannot be written is no reason to stop; what was in it is lost.
      if (!error && from + written < bytes.length) {
        put(bytes, from + written);
        return;
      }
      writing = false;
      if (waiting !== "") later();
    });
  }

  function later(): void {
    timer ??= setTimeout(flush, TOGETHER_MS).unref();
  }

  function last(): void {
    if (waiting !== "") writeSync(descriptor, waiting);
    waiting = "";
  }

  process.once("exit", last);
  return {
    event(name, facts) {
      waiting += `${JSON.stringify({ at: now().toISOString(), event: name, ...facts })}\n`;
      later();
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      process.off("exit", last);
      last();
    },
  };
}
