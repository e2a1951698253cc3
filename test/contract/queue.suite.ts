import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LIMITS } from "#contract/limits.ts";
import type { Queue } from "#core/ports.ts";
import { type Child, storeChild } from "#support/children.ts";
import { type FixedClock, fixedClock } from "#support/fixed-clock.ts";
import type { Place } from "#support/place.ts";
import { isProblem } from "#support/problem.ts";

type QueuePlace = Place<(options: { maxAttempts: number; now: () => number }) => Queue & AsyncDisposable>;

const HELD_MS = 30_000;
const MAX_ATTEMPTS = 3;

/** What every Queue keeps, whatever it stands on. */
export function queueSuite(name: string, make: () => Promise<QueuePlace>): void {
  const promise: Promised = (title, proof) => {
    test(title, async () => {
      await using place = await make();
      const clock = fixedClock();
      await using queue = place.open({ maxAttempts: MAX_ATTEMPTS, now: () => clock.now() });
      await proof(queue, clock);
    });
  };

  describe(`${name}: delivery`, () => deliveryPromises(promise));
  describe(`${name}: receipts`, () => receiptPromises(promise));
  describe(`${name}: dead letters`, () => deadLetterPromises(promise));
  describe(`${name}: several processes`, () => sharedPromises(make));
}

type Promised = (title: string, proof: (queue: Queue, clock: FixedClock) => Promise<void>) => void;

function deliveryPromises(promise: Promised): void {
  promise("what is sent is received once, as it was, until its time-out", async (queue) => {
    const body = '{"text":"日本 \u{1F980} \\u0000 \n"}';
    const id = await queue.send("q", body);
    const [held, ...more] = await take(queue);
    assert.deepEqual(more, []);
    assert.deepEqual({ id: held?.id, body: held?.body, attempts: held?.attempts }, { id, body, attempts: 1 });
    assert.deepEqual(await take(queue), []);
  });

  promise("an empty queue answers nothing", async (queue) => {
    assert.deepEqual(await take(queue), []);
    assert.deepEqual(await queue.deadLetters("q", 10), []);
  });

  promise("a message comes no sooner than its delay", async (queue, clock) => {
    await queue.send("q", "later", { delayMs: 5_000 });
    await queue.send("q", "now");
    assert.deepEqual(bodies(await take(queue)), ["now"]);
    clock.advance(4_999);
    assert.deepEqual(await take(queue), []);
    clock.advance(1);
    assert.deepEqual(bodies(await take(queue)), ["later"]);
  });

  promise("the oldest come first, and no more than asked for", async (queue) => {
    const sent = Array.from({ length: 25 }, (_, n) => `m${n}`);
    for (const body of sent) await queue.send("q", body);
    const got = [...(await take(queue, 10)), ...(await take(queue, 10)), ...(await take(queue, 10))];
    assert.deepEqual(bodies(got), sent);
    assert.equal(new Set(got.map(({ receipt }) => receipt)).size, sent.length);
  });

  promise("queues are apart", async (queue) => {
    await queue.send("one", "a");
    assert.deepEqual(await queue.receive("two", { max: 9, visibilityMs: HELD_MS }), []);
    const [held] = await queue.receive("one", { max: 9, visibilityMs: HELD_MS });
    assert.ok(held);
    assert.equal(await queue.acknowledge("two", held.receipt), false);
    assert.equal(await queue.release("two", held.receipt), false);
    assert.equal(await queue.acknowledge("one", held.receipt), true);
  });

  promise("a message as large as may be is carried, and a larger one refused", async (queue) => {
    const largest = "é".repeat(LIMITS.messageBytes / 2);
    await assert.rejects(queue.send("q", `${largest}x`), isProblem("body_too_large"));
    await queue.send("q", largest);
    assert.deepEqual(bodies(await take(queue)), [largest]);
  });

  promise("numbers that make no sense are refused", async (queue) => {
    await assert.rejects(queue.send("q", "\ud800"), isProblem("invalid_request"));
    await assert.rejects(queue.send("q", "a", { delayMs: -1 }), isProblem("invalid_request"));
    await assert.rejects(queue.send("q", "a", { delayMs: LIMITS.messageDelayMs + 1 }), isProblem("invalid_request"));
    await assert.rejects(queue.receive("q", { max: 0, visibilityMs: HELD_MS }), isProblem("invalid_request"));
    await assert.rejects(queue.receive("q", { max: 1, visibilityMs: 0 }), isProblem("invalid_request"));
    assert.deepEqual(await take(queue), []);
  });
}

function receiptPromises(promise: Promised): void {
  promise("what is acknowledged never comes again, and acknowledging twice is refused", async (queue, clock) => {
    const held = await takeOne(queue, "a");
    assert.equal(await queue.acknowledge("q", held.receipt), true);
    assert.equal(await queue.acknowledge("q", held.receipt), false);
    clock.advance(HELD_MS * 10);
    assert.deepEqual(await take(queue), []);
  });

  promise("what is not acknowledged comes again when its time-out ends, and not before", async (queue, clock) => {
    const held = await takeOne(queue, "a");
    clock.advance(HELD_MS - 1);
    assert.deepEqual(await take(queue), []);
    clock.advance(1);
    const [again] = await take(queue);
    assert.equal(again?.id, held.id);
    assert.equal(again.attempts, 2);
    assert.notEqual(again.receipt, held.receipt);
  });

  promise("an expired receipt is good for nothing, whether somebody else has the message or not", async (queue, clock) => {
    const held = await takeOne(queue, "a");
    clock.advance(HELD_MS);
    assert.equal(await queue.acknowledge("q", held.receipt), false);
    assert.equal(await queue.release("q", held.receipt), false);
    const [again] = await take(queue);
    assert.ok(again);
    assert.equal(await queue.acknowledge("q", held.receipt), false);
    assert.equal(await queue.acknowledge("q", again.receipt), true);
  });

  promise("what is released comes again at once, or after its delay", async (queue, clock) => {
    const first = await takeOne(queue, "a");
    assert.equal(await queue.release("q", first.receipt), true);
    assert.equal(await queue.acknowledge("q", first.receipt), false);
    const [second] = await take(queue);
    assert.equal(second?.attempts, 2);
    assert.equal(await queue.release("q", second.receipt, { delayMs: 1_000 }), true);
    assert.deepEqual(await take(queue), []);
    clock.advance(1_000);
    assert.equal((await take(queue))[0]?.attempts, 3);
  });

  promise("a receipt that nobody gave out is refused", async (queue) => {
    await takeOne(queue, "a");
    assert.equal(await queue.acknowledge("q", "made-up"), false);
    assert.equal(await queue.release("q", ""), false);
  });
}

function deadLetterPromises(promise: Promised): void {
  const failings: [string, (queue: Queue, clock: FixedClock, receipt: string) => Promise<unknown>][] = [
    ["released", (queue, _clock, receipt) => queue.release("q", receipt)],
    ["let go by its time-out", async (_queue, clock) => clock.advance(HELD_MS)],
  ];
  for (const [how, fail] of failings) {
    promise(`a message ${how} as often as may be goes to the dead letters`, async (queue, clock) => {
      const id = await queue.send("q", "poison");
      for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
        assert.deepEqual(await queue.deadLetters("q", 10), []);
        const [held] = await take(queue);
        assert.equal(held?.attempts, attempt);
        await fail(queue, clock, held.receipt);
      }
      assert.deepEqual(await queue.deadLetters("q", 10), [{ id, body: "poison", attempts: MAX_ATTEMPTS }]);
      assert.deepEqual(await take(queue), []);
      assert.deepEqual(await queue.deadLetters("other", 10), []);
    });
  }

  promise("the last attempt may still succeed", async (queue, clock) => {
    await queue.send("q", "a");
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      await take(queue);
      clock.advance(HELD_MS);
    }
    const [held] = await take(queue);
    assert.ok(held);
    assert.deepEqual(await queue.deadLetters("q", 10), []);
    assert.equal(await queue.acknowledge("q", held.receipt), true);
    clock.advance(HELD_MS);
    assert.deepEqual(await queue.deadLetters("q", 10), []);
  });

  promise("a dead letter holds up nobody, and comes again with all its attempts once redriven", async (queue) => {
    const id = await queue.send("q", "poison");
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) await queue.release("q", (await take(queue))[0]?.receipt ?? "");
    await queue.send("q", "fine");
    assert.deepEqual(bodies(await take(queue)), ["fine"]);
    assert.equal(await queue.redrive("other", id), false);
    assert.equal(await queue.redrive("q", id), true);
    assert.equal(await queue.redrive("q", id), false);
    assert.deepEqual(await queue.deadLetters("q", 10), []);
    const [again] = await take(queue);
    assert.deepEqual({ id: again?.id, attempts: again?.attempts }, { id, attempts: 1 });
  });

  promise("dead letters are listed in pages no larger than asked for", async (queue) => {
    for (let n = 0; n < 5; n++) await queue.send("q", `m${n}`);
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
      for (const { receipt } of await take(queue)) await queue.release("q", receipt);
    }
    assert.equal((await queue.deadLetters("q", 2)).length, 2);
    assert.equal((await queue.deadLetters("q", 9)).length, 5);
  });
}

function sharedPromises(make: () => Promise<QueuePlace>): void {
  const real = { maxAttempts: MAX_ATTEMPTS, now: Date.now };
  const later = { maxAttempts: MAX_ATTEMPTS, now: () => Date.now() + 3_600_000 };

  test("of four processes that receive at once no two hold one message, and together they get all", async (t) => {
    await using place = await make();
    const path = place.path;
    if (path === undefined) return t.skip("this store lives in one process");
    await using queue = place.open(real);
    const sent = new Set<string>();
    for (let n = 0; n < 1000; n++) sent.add(await queue.send("q", `m${n}`));
    await using stack = new AsyncDisposableStack();
    const children: Child[] = await Promise.all([0, 1, 2, 3].map(async () => stack.use(await storeChild("drain", path))));
    for (const child of children) child.go();
    const got = (await Promise.all(children.map((child) => child.finished()))).flat().filter((line) => line !== "done");
    assert.equal(got.length, sent.size);
    assert.deepEqual(new Set(got), sent);
  });

  test("a sender killed in the middle loses nothing that it was told is sent, and tears no message", async (t) => {
    await using place = await make();
    const path = place.path;
    if (path === undefined) return t.skip("this store lives in one process");
    await using child = await storeChild("send", path);
    child.go();
    await child.said(200);
    await child.kill();
    await using queue = place.open(real);
    const held = await queue.receive("q", { max: 100_000, visibilityMs: HELD_MS });
    for (const { body } of held) assert.match(body, /^(\d)\1{4999}$/);
    const ids = new Set(held.map(({ id }) => id));
    assert.deepEqual(
      child.lines.filter((id) => !ids.has(id)),
      [],
    );
  });

  test("what a killed consumer held comes again when its time-out ends", async (t) => {
    await using place = await make();
    const path = place.path;
    if (path === undefined) return t.skip("this store lives in one process");
    await using queue = place.open(real);
    for (let n = 0; n < 3; n++) await queue.send("q", `m${n}`);
    await using child = await storeChild("hold", path);
    child.go();
    await child.said(3);
    await child.kill();
    assert.deepEqual(await queue.receive("q", { max: 9, visibilityMs: HELD_MS }), []);
    await using afterwards = place.open(later);
    const again = await afterwards.receive("q", { max: 9, visibilityMs: HELD_MS });
    assert.deepEqual(
      again.map(({ body, attempts }) => [body, attempts]),
      [
        ["m0", 2],
        ["m1", 2],
        ["m2", 2],
      ],
    );
  });
}

function take(queue: Queue, max = 10) {
  return queue.receive("q", { max, visibilityMs: HELD_MS });
}

async function takeOne(queue: Queue, body: string) {
  await queue.send("q", body);
  const [held] = await take(queue);
  assert.ok(held);
  return held;
}

function bodies(held: { body: string }[]): string[] {
  return held.map(({ body }) => body);
}
