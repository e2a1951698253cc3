import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "#contract/problem.ts";
import { reconcileArtifacts, usageOf } from "#core/artifact-quotas.ts";
import { changeArtifact } from "#core/artifact-retention.ts";
import { deleteArtifact, keepArtifact, listArtifacts } from "#core/artifacts.ts";
import { createSandbox } from "#core/sandboxes.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const HOUR_MS = 3_600_000;

/** A core with one sandbox whose every file is what `answer` says. */
async function openWith(answer: (path: string) => string | Response): Promise<Core> {
  const core = openCore();
  core.engine.workspace = (passage) => {
    const said = answer(new URL(passage.url, "http://w").searchParams.get("path") ?? "");
    return said instanceof Response ? said : new Response(said, { headers: { "content-length": String(said.length) } });
  };
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  return core;
}

const keep = (core: Core, path: string, name?: string, by = ONE) =>
  keepArtifact(core.platform, by, "mine-1", name === undefined ? { path } : { path, name });
const objects = async (core: Core) => (await core.platform.objects.list("", { limit: 100 })).map((info) => info.key);

test("keeping a name again makes its next version, and each is found by its number, the newest by that", async () => {
  const core = await openWith((path) => path);
  const first = await keep(core, "/a", "ü/report");
  const second = await keep(core, "/b", "ü/report");
  await keep(core, "/other");
  const versions = async (query: object) =>
    (await listArtifacts(core.platform, ONE, { limit: 10, name: "ü/report", ...query })).items.map(({ version }) => version);
  assert.deepEqual([first.version, second.version], [1, 2]);
  assert.deepEqual(await versions({}), [2, 1]);
  assert.deepEqual(await versions({ version: 1 }), [1]);
  assert.deepEqual(await versions({ version: 3 }), []);
  assert.deepEqual(await versions({ version: "latest" }), [2]);
  const page = await listArtifacts(core.platform, ONE, { limit: 1, name: "ü/report" });
  assert.deepEqual(await versions({ after: page.next }), [1]);
  await deleteArtifact(core.platform, ONE, second.id);
  assert.deepEqual(await versions({ version: "latest" }), [1]);
  assert.equal((await keep(core, "/c", "ü/report")).version, 3);
  await assert.rejects(listArtifacts(core.platform, ONE, { limit: 1, version: 1 }), isProblem("invalid_request"));
});

test("what is retained or under a hold is not deleted, and a retention is never made shorter", async () => {
  const core = await openWith((path) => path);
  const { id } = await keep(core, "/a");
  const at = (ms: number) => new Date(core.clock.now() + ms).toISOString();
  const change = (asked: object) => changeArtifact(core.platform, ONE, id, asked);
  const refused = () => assert.rejects(deleteArtifact(core.platform, ONE, id), isProblem("artifact_retained"));
  await change({ retainUntil: at(2 * HOUR_MS) });
  await refused();
  await assert.rejects(change({ retainUntil: at(HOUR_MS) }), isProblem("artifact_retained"));
  await assert.rejects(change({ retainUntil: at(20 * 365 * 24 * HOUR_MS) }), isProblem("invalid_request"));
  assert.equal((await change({ hold: true })).hold, true);
  core.clock.advance(3 * HOUR_MS);
  await refused();
  await change({ hold: false });
  await deleteArtifact(core.platform, ONE, id);
  assert.deepEqual(await objects(core), []);
});

test("a hold that comes while it is being deleted keeps it, or comes too late: never half of both", async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const core = await openWith((path) => path);
    const { id } = await keep(core, "/a");
    shuffle(core, seed);
    const [deleted, held] = await Promise.allSettled([
      deleteArtifact(core.platform, ONE, id),
      changeArtifact(core.platform, ONE, id, { hold: true }),
    ]);
    const isThere = (await listArtifacts(core.platform, ONE, { limit: 9 })).items.length === 1;
    assert.equal(isThere, deleted.status === "rejected", `seed ${seed}`);
    if (held.status === "fulfilled") assert.ok(isThere, `seed ${seed}`);
    assert.equal((await objects(core)).length, isThere ? 1 : 0, `seed ${seed}`);
  }
});

test("a project's artifacts and their bytes are never more than its quotas, however many are kept at once", async () => {
  const core = await openWith(() => "x".repeat(300_000));
  const poor = projectOf("p1", 10, { artifactMiB: 1 });
  const results = await Promise.allSettled(["/1", "/2", "/3", "/4", "/5"].map((path) => keep(core, path, undefined, poor)));
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 3);
  for (const result of results) if (result.status === "rejected") assert.ok(isProblem("quota_exceeded")(result.reason));
  assert.partialDeepStrictEqual(await usageOf(core.platform, poor), { artifacts: 3, sizeBytes: 900_000, maxBytes: 1_048_576 });
  const { items } = await listArtifacts(core.platform, poor, { limit: 9 });
  await deleteArtifact(core.platform, poor, items[0]?.id ?? "");
  await keep(core, "/again", undefined, poor);
  await assert.rejects(keep(core, "/more", undefined, projectOf("p1", 10, { artifacts: 3 })), isProblem("quota_exceeded"));
  assert.equal(await reconcileArtifacts(core.platform, "p1"), false, "the counts were right");
});

test("bytes of unknown length end at the quota too", async () => {
  const core = await openWith(() => new Response("x".repeat(2_000_000)));
  await assert.rejects(keep(core, "/a", undefined, projectOf("p1", 10, { artifactMiB: 1 })), isProblem("quota_exceeded"));
  await keep(core, "/a", undefined, projectOf("p1", 10, { artifactMiB: 2 }));
  assert.partialDeepStrictEqual(await usageOf(core.platform, ONE), { artifacts: 1, sizeBytes: 2_000_000 });
});

test("a file that changes while it is sent, or ends before it said, is not kept", async () => {
  let tag = 0;
  const core = await openWith((path) => {
    if (path === "/short") return new Response("01234", { headers: { "content-length": "10" } });
    return new Response("0123456789", { headers: { etag: `"${tag++}"`, "content-length": "10" } });
  });
  await assert.rejects(keep(core, "/changing"), isProblem("file_changed"));
  await assert.rejects(keep(core, "/short"), isProblem("file_changed"));
  assert.deepEqual(await objects(core), []);
  assert.partialDeepStrictEqual(await usageOf(core.platform, ONE), { artifacts: 0, sizeBytes: 0 });
});

test("a store that fails half-way is a clear problem, and keeps nothing", async () => {
  for (const problem of [new Problem("disk_full"), new Problem("internal", { detail: "The object store refused." })]) {
    const core = await openWith((path) => path);
    core.platform.objects.put = async (_key, body) => {
      await body.getReader().read();
      throw problem;
    };
    await assert.rejects(keep(core, "/a"), isProblem(problem.code));
    assert.deepEqual(await listArtifacts(core.platform, ONE, { limit: 9 }), { items: [] });
    assert.partialDeepStrictEqual(await usageOf(core.platform, ONE), { artifacts: 0, sizeBytes: 0 });
  }
});
