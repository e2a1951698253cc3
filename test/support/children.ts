import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

/** A process beside this one that does one job on a store. */
export interface Child extends AsyncDisposable {
  /** Lines that it said, its readiness aside; grows while it runs. */
  readonly lines: string[];
  go(): void;
  /** Resolves once it has said so many lines. */
  said(count: number): Promise<void>;
  finished(): Promise<string[]>;
  kill(): Promise<void>;
}

const SCRIPT = fileURLToPath(import.meta.resolve("#support/store-child.ts"));

/** Starts a child and waits until it has the store open. `before` is a command to start it under. */
export async function storeChild(job: string, path: string, rest: (string | number)[] = [], before: string[] = []): Promise<Child> {
  const [command = "", ...args] = [...before, process.execPath, SCRIPT, job, path, ...rest.map(String)];
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const heard = readline(child.stdout);
  await heard.until(1);
  return {
    get lines() {
      return heard.lines.slice(1);
    },
    go: () => void child.stdin.end("go\n"),
    said: (count) => heard.until(count + 1),
    async finished() {
      const [code] = await closed;
      if (code !== 0) throw new Error(`The child's job ${job} ended with ${code}`);
      return heard.lines.slice(1);
    },
    async kill() {
      child.kill("SIGKILL");
      await closed;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

function readline(output: Readable) {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  let ended = false;
  const wake = () => {
    for (const look of waiting) look();
  };
  const input = createInterface({ input: output });
  input.on("line", (line) => {
    lines.push(line);
    wake();
  });
  input.once("close", () => {
    ended = true;
    wake();
  });
  const until = (count: number) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (lines.length < count && !ended) return;
        waiting.delete(look);
        if (lines.length >= count) resolve();
        else reject(new Error(`The child ended after ${lines.length} lines`));
      };
      waiting.add(look);
      look();
    });
  return { lines, until };
}
