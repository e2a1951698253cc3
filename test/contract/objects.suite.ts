import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import type { Objects } from "#core/ports.ts";
import { breaking, stalling, streamOf } from "#support/bodies.ts";
import { put, readAll, textOf } from "#support/object-text.ts";
import type { Place } from "#support/place.ts";
import { isProblem } from "#support/problem.ts";
import { namePromises } from "./objects-names.suite.ts";

export type ObjectsPlace = Place<() => Objects & AsyncDisposable>;

const BOUND = { maxBytes: 64 * 1024 * 1024, mediaType: "application/octet-stream" };

/** What every Objects keeps, whatever it stands on. */
export function objectsSuite(name: string, make: () => Promise<ObjectsPlace>): void {
  const promise: Promised = (title, proof) => {
    test(title, async () => {
      await using place = await make();
      await using objects = place.open();
      await proof(objects);
    });
  };

  describe(`${name}: putting and getting`, () => bytePromises(promise));
  describe(`${name}: whole or not at all`, () => wholePromises(promise));
  describe(`${name}: ranges`, () => rangePromises(promise));
  describe(`${name}: keys and lists`, () => namePromises(promise));
  describe(`${name}: moving and removing`, () => movePromises(promise));
}

export type Promised = (title: string, proof: (objects: Objects) => Promise<void>) => void;

function bytePromises(promise: Promised): void {
  promise("bytes come back as they went in, with their size and hash", async (objects) => {
    for (const sizeBytes of [0, 1, 65_536, 300_001]) {
      const bytes = randomBytes(sizeBytes);
      assert.deepEqual(await objects.put("k", streamOf(bytes), BOUND), { sizeBytes, sha256: sha256(bytes) });
      assert.ok(bytes.equals(await readAll(objects, "k")));
      assert.equal((await objects.head("k"))?.sizeBytes, sizeBytes);
    }
  });

  promise("a body of many parts and of odd pieces is one object", async (objects) => {
    const bytes = randomBytes(20 * 1024 * 1024 + 17);
    const pieces = [1, 7 * 1024 * 1024, 3, 9 * 1024 * 1024 + 1, 0, bytes.byteLength];
    let offset = 0;
    const body = streamOf(...pieces.map((size) => bytes.subarray(offset, (offset += size))));
    assert.deepEqual(await objects.put("k", body, BOUND), { sizeBytes: bytes.byteLength, sha256: sha256(bytes) });
    assert.equal(sha256(await readAll(objects, "k")), sha256(bytes));
  });

  promise("an object that is not there is undefined", async (objects) => {
    assert.equal(await objects.get("none"), undefined);
    assert.equal(await objects.get("none", { start: 5, end: 1 }), undefined);
    assert.equal(await objects.head("none"), undefined);
  });

  promise("putting again replaces all of what was there", async (objects) => {
    await put(objects, "k", "a long first version");
    await put(objects, "k", "short");
    assert.equal(await textOf(objects, "k"), "short");
  });

  promise("a body that is not wanted any more may be left unread", async (objects) => {
    await objects.put("k", streamOf(randomBytes(3_000_000)), BOUND);
    for (let n = 0; n < 60; n++) {
      const reader = (await objects.get("k"))?.body.getReader();
      assert.ok((await reader?.read())?.value);
      await reader?.cancel();
    }
    assert.equal((await readAll(objects, "k")).byteLength, 3_000_000);
  });

  promise("the time of the last put is told", async (objects) => {
    const beforeMs = Date.now() - 2_000;
    await put(objects, "k", "a");
    const info = await objects.head("k");
    assert.ok(info && info.modifiedAtMs >= beforeMs && info.modifiedAtMs <= Date.now() + 2_000);
    const got = await objects.get("k", { start: 0 });
    await got?.body.cancel();
    assert.deepEqual(got?.info, info);
  });
}

function wholePromises(promise: Promised): void {
  promise("a body of exactly the bound is kept, and one byte more leaves nothing", async (objects) => {
    for (const maxBytes of [0, 100, 8 * 1024 * 1024, 17 * 1024 * 1024]) {
      const bytes = Buffer.alloc(maxBytes + 1, "x");
      await assert.rejects(objects.put("k", streamOf(bytes), { ...BOUND, maxBytes }), isProblem("body_too_large"));
      assert.equal(await objects.head("k"), undefined);
      await objects.put("k", streamOf(bytes.subarray(1)), { ...BOUND, maxBytes });
      assert.equal((await objects.head("k"))?.sizeBytes, maxBytes);
      await objects.remove("k");
    }
    assert.deepEqual(await objects.list("", { limit: 9 }), []);
  });

  promise("a refused or broken body leaves what was there before", async (objects) => {
    await put(objects, "k", "before");
    await assert.rejects(objects.put("k", streamOf(Buffer.alloc(101)), { ...BOUND, maxBytes: 100 }), isProblem("body_too_large"));
    for (const sizeBytes of [10, 9 * 1024 * 1024, 17 * 1024 * 1024]) {
      await assert.rejects(objects.put("k", breaking(sizeBytes), BOUND), /the sender broke/);
    }
    assert.equal(await textOf(objects, "k"), "before");
    assert.equal((await objects.list("", { limit: 9 })).length, 1);
  });

  promise("an abort leaves nothing, rejects with its reason and lets the sender go", async (objects) => {
    for (const sizeBytes of [10, 17 * 1024 * 1024]) {
      const abort = new AbortController();
      const sender = stalling(sizeBytes);
      const putting = objects.put("k", sender.body, BOUND, abort.signal);
      await sender.stalled;
      abort.abort(new Error("the caller left"));
      await assert.rejects(putting, /the caller left/);
      await sender.cancelled;
      assert.equal(await objects.head("k"), undefined);
    }
    assert.deepEqual(await objects.list("", { limit: 9 }), []);
  });

  promise("an abort that came before leaves nothing either", async (objects) => {
    await assert.rejects(
      objects.put("k", streamOf(Buffer.from("a")), BOUND, AbortSignal.abort(new Error("the caller left"))),
      /the caller left/,
    );
    assert.equal(await objects.head("k"), undefined);
  });

  promise("a sender whose body is too large is let go", async (objects) => {
    const sender = stalling(1000);
    await assert.rejects(objects.put("k", sender.body, { ...BOUND, maxBytes: 999 }), isProblem("body_too_large"));
    await sender.cancelled;
  });

  promise("of several puts to one key at once one is kept whole", async (objects) => {
    const texts = Array.from({ length: 8 }, (_, n) => String(n).repeat(200_000));
    await Promise.all(texts.map((text) => put(objects, "k", text)));
    assert.ok(texts.includes(await textOf(objects, "k")));
  });

  promise("who began to read reads to the end what was there then", async (objects) => {
    const before = randomBytes(4 * 1024 * 1024);
    await objects.put("k", streamOf(before), BOUND);
    const reader = (await objects.get("k"))?.body.getReader();
    const chunks: Uint8Array[] = [];
    let next = await reader?.read();
    await put(objects, "k", "after");
    for (; next && !next.done; next = await reader?.read()) chunks.push(next.value);
    assert.equal(sha256(Buffer.concat(chunks)), sha256(before));
    assert.equal(await textOf(objects, "k"), "after");
  });
}

function rangePromises(promise: Promised): void {
  promise("a range is inclusive and ends with the object", async (objects) => {
    await put(objects, "k", "0123456789");
    const cases: [{ start: number; end?: number }, string][] = [
      [{ start: 0, end: 0 }, "0"],
      [{ start: 2, end: 4 }, "234"],
      [{ start: 7 }, "789"],
      [{ start: 9, end: 9 }, "9"],
      [{ start: 5, end: 1000 }, "56789"],
      [{ start: 0 }, "0123456789"],
    ];
    for (const [range, expected] of cases) {
      assert.equal(await textOf(objects, "k", range), expected);
      const got = await objects.get("k", range);
      await got?.body.cancel();
      assert.equal(got?.info.sizeBytes, 10);
    }
  });

  promise("a range with no byte in it is refused and says how many bytes there are", async (objects) => {
    await put(objects, "k", "0123456789");
    for (const range of [{ start: 10 }, { start: 10, end: 20 }, { start: -1 }, { start: 5, end: 4 }]) {
      await assert.rejects(
        objects.get("k", range),
        (error) => isProblem("range_not_satisfiable")(error) && (error as { facts: { sizeBytes: number } }).facts.sizeBytes === 10,
      );
    }
    await put(objects, "empty", "");
    await assert.rejects(objects.get("empty", { start: 0 }), isProblem("range_not_satisfiable"));
  });
}

function movePromises(promise: Promised): void {
  promise("a moved object is there under its new key and nowhere else", async (objects) => {
    await put(objects, "incoming/ü 1+%", "a");
    await put(objects, "kept/2", "old");
    assert.equal(await objects.move("incoming/ü 1+%", "kept/2"), true);
    assert.equal(await objects.head("incoming/ü 1+%"), undefined);
    assert.equal(await textOf(objects, "kept/2"), "a");
    assert.equal((await objects.list("", { limit: 9 })).length, 1);
  });

  promise("a copied object is there under both keys, and neither is the other", async (objects) => {
    await put(objects, "from", "a");
    await put(objects, "to/ü 1+%", "old");
    assert.equal(await objects.copy("from", "to/ü 1+%"), true);
    await put(objects, "from", "b");
    assert.deepEqual([await textOf(objects, "from"), await textOf(objects, "to/ü 1+%")], ["b", "a"]);
    await objects.remove("from");
    assert.equal(await textOf(objects, "to/ü 1+%"), "a");
    assert.equal(await objects.copy("from", "to/ü 1+%"), false);
    assert.equal(await objects.copy("to/ü 1+%", "to/ü 1+%"), true);
    assert.equal(await textOf(objects, "to/ü 1+%"), "a");
  });

  promise("moving what is not there says so and touches nothing", async (objects) => {
    await put(objects, "to", "a");
    assert.equal(await objects.move("from", "to"), false);
    assert.equal(await textOf(objects, "to"), "a");
  });

  promise("moving an object onto itself keeps it", async (objects) => {
    await put(objects, "k", "a");
    assert.equal(await objects.move("k", "k"), true);
    assert.equal(await textOf(objects, "k"), "a");
  });

  promise("removing twice is one removal", async (objects) => {
    await put(objects, "a/b", "a");
    await put(objects, "a", "b");
    await objects.remove("a/b");
    await objects.remove("a/b");
    assert.equal(await objects.head("a/b"), undefined);
    assert.equal(await textOf(objects, "a"), "b");
  });

  promise("putting and removing side by side disturb each other nowhere", async (objects) => {
    await Promise.all(
      Array.from({ length: 30 }, async (_, n) => {
        await put(objects, `deep/er/${n}/x`, String(n));
        if (n % 2) await objects.remove(`deep/er/${n}/x`);
      }),
    );
    assert.equal((await objects.list("deep/er/", { limit: 99 })).length, 15);
  });
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
