import assert from "node:assert/strict";
import { test } from "node:test";
import type { Made } from "#infra/local/compute/isolated.ts";
import { Pool } from "#infra/local/compute/pool.ts";
import type { FunctionRecord } from "#infra/local/compute/functions.ts";
import { until } from "#support/until.ts";

const definition = {};
const record = { name: "ws", definition } as FunctionRecord;

/** A pool whose one instance takes a second to answer, and then still works until it is told to rest. */
function poolOfOne() {
  let at = 0;
  let cpuMs = 0;
  let isBusy = true;
  const instance = { ended: new Promise(() => {}), usage: async () => ({ cpuMs: isBusy ? (cpuMs += 50) : cpuMs, memoryBytes: 1 }) };
  const made = { instance, upstream: {} } as unknown as Made;
  const asked: (Promise<void> | undefined)[] = [];
  const pool = new Pool("ws", {
    make: async (_record, _id, _signal, wanted) => {
      asked.push(wanted);
      at += 1000;
      return made;
    },
    now: () => at,
    log: { event: () => {} },
    changed: () => {},
  });
  return { pool, made, asked, rest: () => (isBusy = false), looks: () => cpuMs / 50 };
}

test("an instance that answers is ready once it has done what it begins with", async () => {
  const { pool, rest, looks } = poolOfOne();
  pool.prepare(record);
  await until("it was looked at and worked", () => looks() >= 3);
  assert.deepEqual([pool.ready, pool.making], [0, 1]);
  rest();
  await until("it is ready", () => pool.ready === 1);
  assert.equal(pool.making, 0);
});

test("who wants one that is not at rest yet is given it at once, and from then on it is wanted", async () => {
  const { pool, made, asked, looks } = poolOfOne();
  pool.prepare(record);
  await until("it was looked at and worked", () => looks() >= 2);
  const lease = pool.take(record.definition, new AbortController().signal);
  assert.equal(await lease?.made, made);
  await asked[0];
  assert.deepEqual([pool.ready, pool.making], [0, 0]);
});
