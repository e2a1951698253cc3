import assert from "node:assert/strict";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import * as fc from "fast-check";
import { SandboxId, Name } from "#contract/id.ts";
import { compareKeys, objectKey, prefixEnd, tableKey } from "#contract/key.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { pathOf } from "#infra/local/stores/object-names.ts";
import { createObjects } from "#infra/local/stores/objects.ts";
import { tempDir } from "#support/temp.ts";
import { segments, texts, wholeTexts } from "./hostile.ts";
import { hold, property } from "./property.ts";

const ROOT = "/store/keys";

const keys = fc.oneof(
  fc.array(segments, { maxLength: 6 }).map((parts) => parts.join("/")),
  fc
    .array(fc.constantFrom("a", "b", "=", "+", "=a", "+a", "A", "é", "e\u0301"), { minLength: 1, maxLength: 4 })
    .map((parts) => parts.join("/")),
  texts(),
  fc.tuple(fc.constantFrom("x", "é", "𝒳", "/x"), fc.nat(1200)).map(([text, times]) => text.repeat(times)),
);

/** What a function answers, or the code by which it refuses; anything else it throws is a fault. */
function orCode<T>(work: () => T): T | { code: string } {
  try {
    return work();
  } catch (error) {
    if (error instanceof Problem) return { code: error.code };
    throw error;
  }
}

async function bytesOf(found: { body: ReadableStream<Uint8Array> } | undefined): Promise<Buffer> {
  return Buffer.from(await new Response(found?.body).arrayBuffer());
}

await hold(import.meta.url, [
  property("an object's key is refused, or one file inside the store", keys, (key) => {
    const path = orCode(() => pathOf(ROOT, key));
    if (typeof path !== "string") return assert.equal(path.code, "invalid_request");
    assert.equal(resolve(path), path);
    assert.ok(path.startsWith(ROOT + sep));
    for (const name of path.slice(ROOT.length + 1).split(sep)) {
      assert.ok(Buffer.byteLength(name) <= 255, name);
      assert.match(name, /^[=+]./s);
    }
    assert.equal(Buffer.from(path).toString(), path);
    assert.doesNotMatch(path, /\0/);
  }),
  property("two keys are two files, and neither lies in the other's way", fc.tuple(keys, keys), ([one, other]) => {
    const paths = [one, other].map((key) => orCode(() => pathOf(ROOT, key)));
    const [a, b] = paths;
    if (one === other || typeof a !== "string" || typeof b !== "string") return;
    assert.notEqual(a, b);
    assert.ok(!b.startsWith(`${a}/`) && !a.startsWith(`${b}/`));
  }),
  property(
    "what is put into the store comes back under its own key, and nothing else on the disk changes",
    fc.uniqueArray(keys, { maxLength: 6 }),
    async (asked) => {
      await using dir = await tempDir();
      await writeFile(join(dir.path, "canary"), "canary");
      const store = join(dir.path, "a/b/store");
      await mkdir(dirname(store), { recursive: true });
      await using objects = createObjects(store);
      const kept: string[] = [];
      for (const key of asked) {
        const put = await objects
          .put(key, new Blob([key]).stream(), { maxBytes: 1 << 20, mediaType: "text/plain" })
          .catch((error: unknown) => {
            assert.ok(error instanceof Problem && error.code === "invalid_request", String(error));
          });
        if (put) kept.push(key);
      }
      const listed = await objects.list("", { limit: 100 });
      assert.deepEqual(
        listed.map(({ key }) => key),
        kept.toSorted(compareKeys),
      );
      for (const key of kept) assert.deepEqual(await bytesOf(await objects.get(key)), Buffer.from(key));
      for (const key of kept) await objects.remove(key);
      assert.deepEqual(await readdir(dir.path, { recursive: true }), [
        "a",
        "canary",
        "a/b",
        "a/b/store",
        "a/b/store/incoming",
        "a/b/store/keys",
      ]);
    },
    { cost: 8 },
  ),
  property("a row's key is refused or reads back as it was written", keys, (key) => {
    const same = orCode(() => tableKey(key));
    if (typeof same !== "string") return assert.equal(same.code, "invalid_request");
    assert.equal(Buffer.from(same).toString(), key);
    assert.ok(Buffer.byteLength(key) <= LIMITS.tableKeyBytes);
  }),
  property(
    "the end of a prefix lies above all of its keys and below all others above it",
    fc.tuple(wholeTexts(6), wholeTexts(6)),
    ([prefix, other]) => {
      const end = prefixEnd(prefix);
      const below = end === undefined || compareKeys(other, end) < 0;
      assert.equal(compareKeys(other, prefix) >= 0 && below, other.startsWith(prefix), JSON.stringify(end));
    },
  ),
  property("a name that the contract takes is one segment of every key, path and URL", texts(12), (text) => {
    for (const schema of [Name, SandboxId]) {
      if (!schema.safeParse(text).success) continue;
      assert.equal(
        orCode(() => objectKey(`a/${text}/b`)),
        `a/${text}/b`,
      );
      assert.equal(new URL(`http://h/a/${text}/b`).pathname, `/a/${text}/b`);
      assert.equal(encodeURIComponent(text), text);
    }
  }),
]);
