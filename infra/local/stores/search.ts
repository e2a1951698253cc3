import { mkdirSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { Problem, type ProblemCode } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import type { Search } from "#core/ports.ts";
import type { Answered, Asked } from "./search-thread.ts";

/** How many calls may wait for the thread: beyond, callers are told to ask less at once. */
const WAITING = 1000;

interface Waiting {
  resolve(value: never): void;
  reject(error: unknown): void;
}

/**
 * Opens the documents kept in a folder, one SQLite file for each space. A thread of its own works on them, started when it
 * is first asked: however long a search takes, the process goes on answering.
 */
export function createSearch(dir: string): Search & AsyncDisposable {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const waiting = new Map<number, Waiting>();
  let thread: Worker | undefined;
  let calls = 0;

  function started(): Worker {
    if (thread) return thread;
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "mjs";
    const worker = new Worker(new URL(`./search-thread.${extension}`, import.meta.url), { workerData: { dir } });
    worker.on("message", (answered: Answered) => settle(answered));
    worker.on("error", (error) => lost(worker, error));
    worker.once("exit", () => lost(worker, new Error("The search thread ended")));
    thread = worker;
    return worker;
  }

  function settle(answered: Answered): void {
    const one = waiting.get(answered.number);
    waiting.delete(answered.number);
    if (waiting.size === 0) thread?.unref();
    if ("value" in answered) one?.resolve(answered.value as never);
    else one?.reject(problemOf(answered));
  }

  /** What waits when the thread dies fails; the next call starts another. */
  function lost(worker: Worker, error: unknown): void {
    if (thread !== worker) return;
    thread = undefined;
    for (const one of waiting.values()) one.reject(new Problem("internal", {}, error));
    waiting.clear();
  }

  function ask<T>(operation: Asked["operation"], space: string, ...rest: unknown[]): Promise<T> {
    if (waiting.size >= WAITING)
      return Promise.reject(new Problem("rate_limited", { detail: "Memory is asked too much at once", retryAfterMs: 1000 }));
    const number = (calls += 1);
    return new Promise<T>((resolve, reject) => {
      const worker = started();
      worker.ref();
      waiting.set(number, { resolve, reject });
      worker.postMessage({ number, operation, space, rest } satisfies Asked);
    });
  }

  return {
    index: (space, docs) => ask("index", space, docs),
    get: (space, ids) => ask("get", space, ids),
    query: (space, query) => ask("query", space, query),
    nearest: (space, query) => ask("nearest", space, query),
    list: (space, page) => ask("list", space, page),
    forget: (space, ids) => ask("forget", space, ids),
    expired: (space, nowMs, limit) => ask("expired", space, nowMs, limit),
    values: (space, facet, page) => ask("values", space, facet, page),
    size: (space) => ask("size", space),
    drop: (space) => ask("drop", space),
    async [Symbol.asyncDispose]() {
      const worker = thread;
      if (!worker) return;
      worker.ref();
      const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
      worker.postMessage("close");
      await ended;
    },
  };
}

function problemOf({ code, facts, stack }: Extract<Answered, { code: string }>): Problem {
  const known = code in PROBLEMS ? (code as ProblemCode) : "internal";
  return new Problem(known, facts, new Error(stack));
}
