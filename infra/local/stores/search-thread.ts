import { rmSync, existsSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { asProblem, Problem } from "#contract/problem.ts";
import { openSpace, type Space } from "./search-space.ts";

// The thread in which the embedded search works: SQLite answers synchronously, and the door must not wait for it.

/** What the thread is asked. */
export interface Asked {
  number: number;
  operation: keyof Space | "drop";
  space: string;
  rest: readonly unknown[];
}

export type Answered = { number: number; value: unknown } | { number: number; code: string; facts: Record<string, unknown>; stack: string };

const OPEN_AT_ONCE = 16;
const IDLE_MS = 10_000;
const LOOK_MS = 2_000;

const { dir } = workerData as { dir: string };
const open = new Map<string, { space: Space; usedAtMs: number }>();

/** What a space that was never written answers. */
const NOTHING: Record<Exclude<keyof Space, "index" | "close">, unknown> = {
  get: [],
  query: [],
  nearest: [],
  list: [],
  forget: [],
  expired: [],
  values: [],
  size: { docs: 0, bytes: 0 },
};

parentPort?.on("message", (asked: Asked | "close") => {
  if (asked === "close") {
    for (const name of open.keys()) closeOne(name);
    clearInterval(look);
    parentPort?.close();
    return;
  }
  parentPort?.postMessage(answer(asked));
});

// A file that nobody reads any more is let go, so that what was dropped elsewhere leaves the disk.
const look = setInterval(() => {
  for (const [name, { usedAtMs }] of open) if (Date.now() - usedAtMs > IDLE_MS) closeOne(name);
}, LOOK_MS);

function answer({ number, operation, space, rest }: Asked): Answered {
  try {
    return { number, value: perform(operation, space, rest) };
  } catch (error) {
    const { code, facts } = asProblem(error);
    return { number, code, facts, stack: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

function perform(operation: Asked["operation"], name: string, rest: readonly unknown[]): unknown {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$/.test(name))
    throw new Problem("invalid_request", { detail: "A space's name is letters, digits, `.`, `_` and `-`." });
  const path = join(dir, `${name}.db`);
  if (operation === "drop") {
    closeOne(name);
    for (const file of [path, `${path}-wal`, `${path}-shm`]) rmSync(file, { force: true });
    return undefined;
  }
  if (operation !== "index" && !existsSync(path)) {
    closeOne(name);
    return NOTHING[operation as keyof typeof NOTHING];
  }
  const method = opened(name, path)[operation] as (...given: readonly unknown[]) => unknown;
  return method(...rest);
}

function opened(name: string, path: string): Space {
  const known = open.get(name);
  open.delete(name);
  if (known) {
    open.set(name, { ...known, usedAtMs: Date.now() });
    return known.space;
  }
  const [oldest] = open.keys();
  if (open.size >= OPEN_AT_ONCE && oldest !== undefined) closeOne(oldest);
  const space = openSpace(path);
  open.set(name, { space, usedAtMs: Date.now() });
  return space;
}

function closeOne(name: string): void {
  open.get(name)?.space.close();
  open.delete(name);
}
