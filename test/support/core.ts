import { generateKeyPairSync } from "node:crypto";
import type { Project, Quota } from "#contract/project.ts";
import { CreateSandbox } from "#contract/sandbox.ts";
import type { Limits } from "#core/limits.ts";
import { composePlatform } from "#core/platform.ts";
import type { Models } from "#core/model-port.ts";
import type { Outside, Platform, Tables } from "#core/ports.ts";
import { FakeEngine } from "./fake-engine.ts";
import { type FixedClock, fixedClock } from "./fixed-clock.ts";
import { memoryObjects } from "./memory-objects.ts";
import { memoryQueue } from "./memory-queue.ts";
import { memorySearch } from "./memory-search.ts";
import { memoryTables } from "./memory-tables.ts";

export const CORE_LIMITS: Limits = {
  idleMinMs: 60_000,
  idleMaxMs: 21_600_000,
  idleDefaultMs: 600_000,
  lifeMaxMs: 21_600_000,
  quota: { sandboxes: 10, cpu: 1000, memoryMiB: 1_000_000, artifacts: 1000, artifactMiB: 1000 },
  scaling: { minPrepared: 2, maxPrepared: 64 },
  usageIntervalMs: 60_000,
  workspaceFunction: "workspace",
};

const NO_MODELS: Models = { ask: undefined, embed: undefined, name: "" };

export interface Core {
  platform: Platform;
  engine: FakeEngine;
  clock: FixedClock;
  tables: FailingTables;
  events: { name: string; facts: Record<string, unknown> }[];
  /** What was posted outside, and what is answered to it. */
  posts: { url: string; headers: Record<string, string>; body: string }[];
  outside: FakeOutside;
}

interface FakeOutside extends Outside {
  answer: (url: string) => number | Promise<number>;
}

/** The core on stores in memory, an engine of a map and a clock that a test moves. */
export function openCore(): Core {
  const clock = fixedClock();
  const engine = new FakeEngine();
  const tables = failingTables();
  const events: Core["events"] = [];
  const { privateKey } = generateKeyPairSync("ed25519");
  const signingKey = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  const log = { event: (name: string, facts: Record<string, unknown>) => void events.push({ name, facts }) };
  const objects = memoryObjects(clock.now);
  const queue = memoryQueue({ maxAttempts: 3, now: clock.now });
  const posts: Core["posts"] = [];
  const outside: FakeOutside = {
    answer: () => 200,
    async post(url, headers, body) {
      posts.push({ url, headers, body });
      return outside.answer(url);
    },
  };
  const parts = { engine, tables, objects, queue, search: memorySearch(), models: { ...NO_MODELS }, outside, clock, log };
  return { platform: composePlatform(parts, signingKey), engine, clock, tables, events, outside, posts };
}

export function projectOf(id: string, sandboxes = 10, quota: Partial<Quota> = {}): Project {
  return { id, name: id, quota: { ...CORE_LIMITS.quota, sandboxes, ...quota }, createdAt: "2026-01-01T00:00:00.000Z" };
}

export function spec(fields: Record<string, unknown> = {}): CreateSandbox {
  return CreateSandbox.parse(fields);
}

/** Tables in memory that a test can make fail, or hold up, before and after each operation. */
export interface FailingTables extends Tables {
  before: (operation: "put" | "add" | "remove", table: string, key: string) => void | Promise<void>;
  afterGet: (table: string, key: string) => void | Promise<void>;
}

function failingTables(): FailingTables {
  const inner = memoryTables();
  const tables: FailingTables = {
    ...inner,
    before: () => {},
    afterGet: () => {},
    async get(table, key) {
      const row = await inner.get<never>(table, key);
      await tables.afterGet(table, key);
      return row;
    },
    async range(table, prefix, page) {
      const rows = await inner.range<never>(table, prefix, page);
      await tables.afterGet(table, prefix);
      return rows;
    },
    async put(table, key, value, condition) {
      await tables.before("put", table, key);
      return inner.put(table, key, value, condition);
    },
    async add(table, key, by, bound) {
      await tables.before("add", table, key);
      return inner.add(table, key, by, bound);
    },
    async remove(table, key, condition) {
      await tables.before("remove", table, key);
      return inner.remove(table, key, condition);
    },
  };
  return tables;
}

/** Makes every step of the core take a few turns, other ones for each seed, so that what runs at once meets in other orders. */
export function shuffle(core: Core, seed: number): void {
  let state = seed * 2_654_435_761 + 1;
  const turns = async (): Promise<void> => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    for (let left = (state >>> 16) % 5; left > 0; left -= 1) await new Promise(setImmediate);
  };
  core.tables.before = turns;
  core.tables.afterGet = turns;
  core.engine.before = turns;
  const { objects } = core.platform;
  const { move, remove } = objects;
  Object.assign(objects, {
    move: async (from: string, to: string) => {
      await turns();
      return move(from, to);
    },
    // A removal that comes late is the one that could take what another has put there since.
    remove: async (key: string) => {
      for (let late = 0; late < 5; late += 1) await turns();
      return remove(key);
    },
  });
}
