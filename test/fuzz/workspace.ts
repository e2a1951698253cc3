import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { localConfig } from "#infra/config.ts";
import { gatherWorkspace } from "#infra/gather.ts";
import { currentRoot } from "#infra/image/root.ts";
import { tempDir } from "#support/temp.ts";

const ANSWER_MS = 8_000;

/** What a parser of the workspace makes of a case. */
export type Answer<T> = { value: T } | { problem: string };

/** The parsers of the workspace, in a process that stays, in the sandbox's own root. */
export interface Parsers extends AsyncDisposable {
  /** What came of a case; a fault throws, and so does an answer that does not come in time. */
  ask<T>(work: string, facts: Record<string, unknown>): Promise<Answer<T>>;
}

/** Why the parsers cannot be asked on this machine. */
export function cannotParse(): string | undefined {
  if (process.getuid?.() !== 0) return "entering the sandbox's root needs root";
  return existsSync(join(currentRoot(localConfig()).root, "usr/bin/python3")) ? undefined : "the sandbox's root is not set up";
}

export async function openParsers(): Promise<Parsers> {
  const dir = await tempDir();
  await gatherWorkspace(dir.path);
  await chmod(dir.path, 0o755);
  let child: Child | undefined;
  return {
    async ask<T>(work: string, facts: Record<string, unknown>) {
      child ??= start(dir.path, import.meta.dirname);
      try {
        const answer = await child.ask({ do: work, ...facts });
        if ("fault" in answer) throw new Error(answer.fault);
        return answer as Answer<T>;
      } catch (error) {
        // One that does not answer would not answer the next case either.
        await child.close();
        child = undefined;
        throw error;
      }
    },
    async [Symbol.asyncDispose]() {
      await child?.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}

type Child = ReturnType<typeof start>;

function start(modules: string, cases: string) {
  const { root } = currentRoot(localConfig());
  const args = ["-I", join(cases, "parsers.py"), root, modules, cases];
  const child: ChildProcess = spawn("/usr/bin/python3", args, { stdio: ["pipe", "pipe", "inherit"], env: {} });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error("a child without streams");
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  stdin.on("error", () => {});
  return {
    async ask(asked: object): Promise<Answer<unknown> | { fault: string }> {
      stdin.write(`${JSON.stringify(asked)}\n`);
      const timer = setTimeout(() => child.kill("SIGKILL"), ANSWER_MS);
      const { value, done } = await lines.next();
      clearTimeout(timer);
      if (done) throw new Error("The parsers did not answer");
      return JSON.parse(value) as Answer<unknown> | { fault: string };
    },
    async close(): Promise<void> {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Bytes as a case carries them. */
export function base64(bytes: Uint8Array | string): string {
  return Buffer.from(bytes as Uint8Array).toString("base64");
}
