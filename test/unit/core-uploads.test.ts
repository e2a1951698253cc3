import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { CreateUpload } from "#contract/upload.ts";
import { checkPart, signPart } from "#core/artifact-links.ts";
import { reconcileArtifacts, usageOf } from "#core/artifact-quotas.ts";
import { collectIntents, deleteArtifact, listArtifacts } from "#core/artifacts.ts";
import { abortUpload, collectUploads, completeUpload, createUpload, getUpload, linkPart, listUploads, putPart } from "#core/uploads.ts";
import { streamOf } from "#support/bodies.ts";
import { type Core, openCore, projectOf } from "#support/core.ts";
import { put, textOf } from "#support/object-text.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const DAY_MS = 86_400_000;

const begin = (core: Core, fields: object, by = ONE) =>
  createUpload(core.platform, by, CreateUpload.parse({ name: "whole.txt", ...fields }));
const send = (core: Core, uploadId: string, part: number, text: string) =>
  putPart(core.platform, ONE.id, { uploadId, part }, streamOf(Buffer.from(text)));
const complete = (core: Core, id: string, sha256?: string) => completeUpload(core.platform, ONE, id, { sha256 });
const objects = async (core: Core) => (await core.platform.objects.list("", { limit: 100 })).map(({ key }) => key);
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

test("parts that come in any order, and again, become one artifact in their order", async () => {
  const core = openCore();
  const { id, artifactId } = await begin(core, { sizeBytes: 9 });
  await send(core, id, 3, "ghi");
  await send(core, id, 1, "xxx");
  await send(core, id, 2, "def");
  await send(core, id, 1, "abc");
  assert.equal((await objects(core)).length, 3, "what was replaced is gone");
  const { parts, receivedBytes } = await getUpload(core.platform, ONE, id);
  assert.deepEqual(parts[0], { part: 1, sizeBytes: 3, sha256: sha256("abc") });
  assert.equal(receivedBytes, 9);
  const made = await complete(core, id, sha256("abcdefghi"));
  assert.partialDeepStrictEqual(made, { id: artifactId, name: "whole.txt", mediaType: "text/plain", sizeBytes: 9, version: 1 });
  assert.deepEqual(await objects(core), [`blobs/p1/${made.sha256}`]);
  assert.equal(await textOf(core.platform.objects, `blobs/p1/${made.sha256}`), "abcdefghi");
  assert.deepEqual(await complete(core, id), made, "completing again answers the same");
  await assert.rejects(send(core, id, 1, "abc"), isProblem("upload_not_found"));
  await assert.rejects(abortUpload(core.platform, ONE, id), isProblem("upload_not_found"));
  assert.partialDeepStrictEqual(await usageOf(core.platform, ONE), { artifacts: 1, sizeBytes: 9 });
});

test("completed many times at once is one artifact", async () => {
  const core = openCore();
  const { id } = await begin(core, { sizeBytes: 6 });
  await send(core, id, 1, "abc");
  await send(core, id, 2, "def");
  const made = await Promise.allSettled([1, 2, 3].map(() => complete(core, id)));
  const ids = made.flatMap((one) => (one.status === "fulfilled" ? one.value.id : []));
  assert.ok(ids.length > 0 && new Set(ids).size === 1);
  assert.equal((await listArtifacts(core.platform, ONE, { limit: 9 })).items.length, 1);
  assert.equal((await complete(core, id)).id, ids[0]);
});

test("what is missing, too much or other than it was said to be is no artifact, and can be mended", async () => {
  const core = openCore();
  const { id } = await begin(core, { sizeBytes: 6 });
  await assert.rejects(complete(core, id), isProblem("upload_incomplete"));
  await send(core, id, 2, "def");
  await assert.rejects(complete(core, id), isProblem("upload_incomplete"));
  await send(core, id, 1, "ab");
  await assert.rejects(complete(core, id), isProblem("upload_incomplete"));
  await assert.rejects(send(core, id, 1, "abcdefg"), isProblem("body_too_large"));
  await send(core, id, 1, "abx");
  await assert.rejects(complete(core, id, sha256("abcdef")), isProblem("upload_incomplete"));
  assert.deepEqual((await listArtifacts(core.platform, ONE, { limit: 9 })).items, []);
  await send(core, id, 1, "abc");
  assert.equal((await complete(core, id, sha256("abcdef"))).sizeBytes, 6);
});

test("all parts together are never more than the upload said, however many come at once", async () => {
  const core = openCore();
  const { id } = await begin(core, { sizeBytes: 6 });
  const sent = await Promise.allSettled([1, 2, 3, 4, 5].map((part) => send(core, id, part, "abc")));
  for (const one of sent) if (one.status === "rejected") assert.ok(isProblem("body_too_large")(one.reason));
  assert.ok((await getUpload(core.platform, ONE, id)).receivedBytes <= 6);
  assert.ok((await objects(core)).length <= 2);
  await assert.rejects(linkPart(core.platform, ONE, { uploadId: id, part: 9, sizeBytes: 7 }, 1000), isProblem("body_too_large"));
});

test("nothing at all is one part, or none", async () => {
  const core = openCore();
  const { id } = await begin(core, { sizeBytes: 0 });
  assert.equal((await complete(core, id)).sha256, sha256(""));
});

test("an upload takes its share of the quotas when it begins, and gives it back when it is given up", async () => {
  const core = openCore();
  const poor = projectOf("p1", 10, { artifactMiB: 1, artifacts: 1 });
  const { id } = await begin(core, { sizeBytes: 1_048_576 }, poor);
  await assert.rejects(begin(core, { sizeBytes: 1 }, poor), isProblem("quota_exceeded"));
  assert.equal((await listUploads(core.platform, poor, { limit: 9 })).items.length, 1);
  await send(core, id, 1, "abc");
  await abortUpload(core.platform, ONE, id);
  assert.deepEqual(await objects(core), []);
  await assert.rejects(complete(core, id), isProblem("upload_not_found"));
  assert.partialDeepStrictEqual(await usageOf(core.platform, poor), { artifacts: 0, sizeBytes: 0 });
  await begin(core, { sizeBytes: 1 }, poor);
});

test("an upload that nobody completes is given up in the end, with all that came", async () => {
  const core = openCore();
  const { id } = await begin(core, { sizeBytes: 6 });
  await send(core, id, 1, "abc");
  core.clock.advance(6 * DAY_MS);
  assert.equal(await collectUploads(core.platform, 100), 0);
  core.clock.advance(2 * DAY_MS);
  assert.equal(await collectUploads(core.platform, 100), 1);
  assert.deepEqual(await objects(core), []);
  for (const table of ["uploads", "upload-parts", "upload-dues"])
    assert.deepEqual(await core.platform.tables.range(table, "", { limit: 9 }), [], table);
  assert.partialDeepStrictEqual(await usageOf(core.platform, ONE), { artifacts: 0, sizeBytes: 0 });
});

test("another project's upload does not exist, and a task must", async () => {
  const core = openCore();
  const { id } = await begin(core, { sizeBytes: 3 });
  const attempts = [
    getUpload(core.platform, OTHER, id),
    completeUpload(core.platform, OTHER, id, {}),
    abortUpload(core.platform, OTHER, id),
    putPart(core.platform, OTHER.id, { uploadId: id, part: 1 }, streamOf(Buffer.from("abc"))),
  ];
  for (const attempt of attempts) await assert.rejects(attempt, isProblem("upload_not_found"));
  assert.deepEqual(await listUploads(core.platform, OTHER, { limit: 9 }), { items: [] });
  await assert.rejects(begin(core, { sizeBytes: 3, taskId: "none" }), isProblem("task_not_found"));
});

test("whatever step of an upload fails or is cut short, it goes on from there, and nothing is left for good", async () => {
  for (const cut of [false, true]) {
    for (let step = 1; ; step += 1) {
      const core = openCore();
      let writes = 0;
      core.tables.before = () => {
        writes += 1;
        if (cut ? writes >= step : writes === step) throw new Error("the store failed");
      };
      const tries = async () => {
        const { id } = await begin(core, { sizeBytes: 6 });
        begun = id;
        await send(core, id, 1, "abc");
        await send(core, id, 2, "def");
        await complete(core, id);
      };
      let begun: string | undefined;
      const done = await tries().then(
        () => true,
        () => false,
      );
      core.tables.before = () => {};
      if (begun !== undefined) {
        const { parts } = await getUpload(core.platform, ONE, begun).catch(() => ({ parts: [{ part: 1 }, { part: 2 }] }));
        for (const [at, text] of ["abc", "def"].entries())
          if (!parts.some(({ part }) => part === at + 1)) await send(core, begun, at + 1, text);
        const made = await complete(core, begun);
        const blob = (await objects(core)).find((key) => key.startsWith(`blobs/p1/${made.sha256}`)) ?? "";
        assert.equal(await textOf(core.platform.objects, blob), "abcdef", `step ${step}`);
        await deleteArtifact(core.platform, ONE, made.id);
      }
      core.clock.advance(8 * DAY_MS);
      await collectIntents(core.platform, 100);
      await collectUploads(core.platform, 100);
      assert.deepEqual(await objects(core), [], `step ${step}`);
      await reconcileArtifacts(core.platform, ONE.id);
      assert.partialDeepStrictEqual(await usageOf(core.platform, ONE), { artifacts: 0, sizeBytes: 0 }, `step ${step}`);
      if (done) break;
    }
  }
});

test("where the store has a door, a part goes straight there, and counts once it is there whole", async () => {
  const core = openCore();
  const promised: string[] = [];
  core.platform.objects.uploadLink = (key) => {
    promised.push(key);
    return { method: "PUT", url: "https://store/", headers: {} };
  };
  const { id } = await begin(core, { sizeBytes: 6 });
  await send(core, id, 1, "abc");
  const { url } = await linkPart(core.platform, ONE, { uploadId: id, part: 2, sizeBytes: 3 }, 1000);
  assert.equal(url, "https://store/");
  await assert.rejects(complete(core, id), isProblem("upload_incomplete"));
  await put(core.platform.objects, promised[0] ?? "", "de");
  await assert.rejects(complete(core, id), isProblem("upload_incomplete"));
  await put(core.platform.objects, promised[0] ?? "", "def");
  assert.deepEqual((await getUpload(core.platform, ONE, id)).parts[1], { part: 2, sizeBytes: 3 });
  assert.equal((await complete(core, id)).sha256, sha256("abcdef"));
  assert.equal((await objects(core)).length, 1);
});

test("a part's link is for one part of one size, to be sent until a moment", async () => {
  const core = openCore();
  const part = { uploadId: "U", part: 1, sizeBytes: 3 };
  const query = new URL(signPart(core.platform, "p1", part, 1000).path, "http://door").searchParams;
  const link = { expires: query.get("expires") ?? "", ticket: query.get("ticket") ?? "" };
  assert.equal(checkPart(core.platform, part, link), "p1");
  const others = [
    { ...part, sizeBytes: 4 },
    { ...part, part: 2 },
    { ...part, uploadId: "V" },
  ];
  for (const other of others) assert.throws(() => checkPart(core.platform, other, link), isProblem("link_not_valid"));
  assert.throws(() => checkPart(core.platform, part, { ...link, expires: `${Number(link.expires) + 1}` }), isProblem("link_not_valid"));
  core.clock.advance(1001);
  assert.throws(() => checkPart(core.platform, part, link), isProblem("link_not_valid"));
});
