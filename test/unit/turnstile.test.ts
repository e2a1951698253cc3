import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { Problem } from "#contract/problem.ts";
import { openTurnstile } from "#gateway/turnstile.ts";
import { isProblem } from "#support/problem.ts";

const PACES = { sandbox: { perSecond: 10, atOnce: 3 }, streamPerSecond: 1000, controlPerSecond: 5 };

function openAt(startMs = 1000) {
  let nowMs = startMs;
  const turnstile = openTurnstile(PACES, () => nowMs);
  /** Asks so many times at this moment, each over before the next, and answers how many were let in. */
  const ask = (count: number, project = "p", sandbox = "s") =>
    Array.from({ length: count }, () => isIn(() => turnstile.enter(project, sandbox, undefined))).filter(Boolean).length;
  const control = (count: number, project = "p") =>
    Array.from({ length: count }, () => isIn(() => turnstile.control(project))).filter(Boolean).length;
  return { turnstile, ask, control, pass: (ms: number) => (nowMs += ms) };
}

function isIn(enter: () => void): boolean {
  try {
    enter();
    return true;
  } catch (error) {
    assert.ok(error instanceof Problem && error.code === "rate_limited");
    return false;
  }
}

test("a burst of two seconds' worth is let in, then as many as a second brings, however long it rested", () => {
  const { ask, pass } = openAt();
  assert.equal(ask(50), 20);
  pass(1000);
  assert.equal(ask(50), 10);
  pass(50);
  assert.equal(ask(50), 0);
  pass(50);
  assert.equal(ask(50), 1);
  pass(3_600_000);
  assert.equal(ask(50), 20);
});

test("a sandbox is asked so many things at once; one that ends makes room for one", () => {
  const { turnstile } = openAt();
  const passing = Array.from({ length: 3 }, () => new EventEmitter());
  for (const one of passing) turnstile.enter("p", "s", one);
  const more = new EventEmitter();
  assert.throws(() => turnstile.enter("p", "s", more), isProblem("rate_limited"));
  passing[0]?.emit("close");
  turnstile.enter("p", "s", more);
  assert.throws(() => turnstile.enter("p", "s", new EventEmitter()), isProblem("rate_limited"));
  // What closes twice has left once.
  passing[0]?.emit("close");
  assert.throws(() => turnstile.enter("p", "s", new EventEmitter()), isProblem("rate_limited"));
});

test("one sandbox's requests are not counted to another, nor to one of the same id elsewhere, nor to control routes", () => {
  const { ask, control } = openAt();
  assert.deepEqual([ask(50), ask(50, "p", "other"), ask(50, "q", "s")], [20, 20, 20]);
  assert.deepEqual([control(50), control(50, "q")], [10, 10]);
});

test("whom it forgets comes back with no more than it would have had", () => {
  const { turnstile, ask, pass } = openAt();
  const long = new EventEmitter();
  turnstile.enter("p", "held", long);
  for (let round = 0; round < 5; round += 1) {
    assert.equal(ask(50), 20);
    pass(11_000);
  }
  // Two more fit beside the one that is under way all along.
  turnstile.enter("p", "held", new EventEmitter());
  turnstile.enter("p", "held", new EventEmitter());
  assert.throws(() => turnstile.enter("p", "held", new EventEmitter()), isProblem("rate_limited"));
});

test("a clock that goes back gives nothing", () => {
  const { ask, pass } = openAt(100_000);
  assert.equal(ask(50), 20);
  pass(-50_000);
  assert.equal(ask(50), 0);
});

test("the refusal says when to come again, and what the bound is", () => {
  const { turnstile, ask } = openAt();
  ask(50);
  assert.throws(
    () => turnstile.enter("p", "s", undefined),
    (error) => {
      assert.ok(error instanceof Problem);
      assert.deepEqual([error.status, error.facts["perSecond"], error.facts["retryAfterMs"]], [429, 10, 100]);
      return true;
    },
  );
});
