import assert from "node:assert/strict";
import { test } from "node:test";
import { allot, Demand } from "#infra/local/compute/demand.ts";

const MINUTE_MS = 60_000;

const ask = (wanted: number, sizeBytes = 10) => ({ wanted, sizeBytes });

/** A demand whose refills take 100 ms each. */
function demand(): Demand {
  const it = new Demand();
  for (let i = 0; i < 100; i++) it.refilled(100);
  return it;
}

test("what nobody asks for is not wanted", () => {
  assert.equal(demand().wanted(0), 0);
});

test("takes further apart than a refill want one", () => {
  const it = demand();
  for (let at = 0; at < 5000; at += 150) it.took(at);
  assert.equal(it.wanted(5000), 1);
});

test("takes at once want as many, and those that a refill serves meanwhile are not counted", () => {
  const burst = demand();
  for (let i = 0; i < 20; i++) burst.took(1000);
  assert.equal(burst.wanted(1000), 20);
  const stream = demand();
  for (let i = 0; i < 20; i++) stream.took(1000 + i * 50);
  // Each take outruns half a refill.
  assert.equal(stream.wanted(1950), 11);
});

test("slower refills want more for the same takes", () => {
  const slow = demand();
  for (let i = 0; i < 100; i++) slow.refilled(1000);
  for (let i = 0; i < 20; i++) slow.took(i * 50);
  assert.ok(slow.wanted(1000) > 18);
});

test("a burst is remembered for minutes, fading, and then forgotten", () => {
  const it = demand();
  for (let i = 0; i < 64; i++) it.took(0);
  assert.equal(it.wanted(MINUTE_MS), 46);
  assert.equal(it.wanted(2 * MINUTE_MS), 32);
  assert.equal(it.wanted(10 * MINUTE_MS), 2);
  assert.equal(it.wanted(20 * MINUTE_MS), 0);
});

test("a small demand does not take a great one's memory away", () => {
  const it = demand();
  for (let i = 0; i < 32; i++) it.took(0);
  it.took(10_000);
  assert.equal(it.wanted(10_000), 31);
});

test("a demand without end does not grow without end", () => {
  const it = demand();
  for (let i = 0; i < 100_000; i++) it.took(i / 100);
  assert.equal(it.wanted(1000), 1000);
});

test("who comes first gets what is wanted, the next what is left", () => {
  assert.deepEqual(allot([ask(3), ask(4), ask(5)], { instances: 100, bytes: 1000 }), [3, 4, 5]);
  assert.deepEqual(allot([ask(3), ask(4), ask(5)], { instances: 5, bytes: 1000 }), [3, 2, 0]);
  assert.deepEqual(allot([ask(3), ask(4, 30), ask(5)], { instances: 100, bytes: 95 }), [3, 2, 0]);
});

test("where nothing is left nobody gets anything", () => {
  assert.deepEqual(allot([{ wanted: 3, sizeBytes: 10 }], { instances: 0, bytes: 1000 }), [0]);
  assert.deepEqual(allot([{ wanted: 3, sizeBytes: 10 }], { instances: -2, bytes: 1000 }), [0]);
  assert.deepEqual(allot([{ wanted: 3, sizeBytes: 10 }], { instances: 10, bytes: -1000 }), [0]);
});
