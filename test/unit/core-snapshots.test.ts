import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { test } from "node:test";
import { INNER_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem, problemBody } from "#contract/problem.ts";
import { linkArtifact, linkedArtifact, openBytes } from "#core/artifact-links.ts";
import { deleteArtifact, keepArtifact } from "#core/artifacts.ts";
import type { Passage } from "#core/ports.ts";
import { createSandbox, endSandbox, getSandbox, listSandboxes } from "#core/sandboxes.ts";
import { collectSnapshots } from "#core/snapshot-intents.ts";
import { reconcileBytes, SNAPSHOT_QUOTAS } from "#core/snapshot-quotas.ts";
import { createSnapshot, deleteSnapshot, forkSandbox, getSnapshot, listSnapshots } from "#core/snapshots.ts";
import { createTemplate } from "#core/templates.ts";
import { CORE_LIMITS as LIMITS_SET, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const HOUR_MS = 3_600_000;
const MIB = 1024 * 1024;

/** A core whose workspaces hold one text each, which stands for all their files. */
interface Files extends Core {
  held: Map<string, string>;
}

async function openWithFiles(content = "the files"): Promise<Files> {
  const core: Files = { ...openCore(), held: new Map() };
  core.engine.workspace = async (passage, ref) => {
    const { pathname } = new URL(passage.url, "http://w");
    if (pathname === "/files/content") return new Response(core.held.get(ref.sessionId) ?? content);
    if (pathname !== "/snapshot") return Response.json({});
    assert.equal(passage.headers.get(INNER_HEADER), "1");
    if (passage.method === "GET") return new Response(core.held.get(ref.sessionId) ?? content, { headers: { "snapshot-files": "3" } });
    core.held.set(ref.sessionId, await textOf(passage));
    return new Response(null, { status: 204 });
  };
  await make(core, "mine-1");
  return core;
}

async function textOf(passage: Passage): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of (passage.body ?? []) as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const make = (core: Core, id: string, more: object = {}) => createSandbox(core.platform, LIMITS_SET, ONE, spec({ id, ...more }));
const take = (core: Core, name: string, id = "mine-1") => createSnapshot(core.platform, ONE, id, { name });
const drop = (core: Core, name: string) => deleteSnapshot(core.platform, ONE, name);
const objects = async (core: Core) => (await core.platform.objects.list("", { limit: 1000 })).map((info) => info.key);
const rows = (core: Core, table: string) => core.platform.tables.range(table, "", { limit: 1000 });
const charged = async (core: Core) => (await core.platform.tables.get<number>(SNAPSHOT_QUOTAS, ONE.id))?.value ?? 0;
/** Text that no two places of are alike, the same for the same length. */
const noise = (bytes: number) =>
  createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(bytes)).toString("base64").slice(0, bytes);

test("what a snapshot kept is what a sandbox made from it starts with, after the first has ended", async () => {
  const core = await openWithFiles(noise(3 * MIB));
  const { id: _id, digest, createdAt: _at, ...facts } = await take(core, "first");
  assert.deepEqual(facts, {
    name: "first",
    sandboxId: "mine-1",
    taskId: "mine-1",
    template: "code-interpreter",
    sizeBytes: 3 * MIB,
    newBytes: 3 * MIB,
    files: 3,
    skipped: 0,
  });
  assert.match(digest, /^[0-9a-f]{64}$/);
  await endSandbox(core.platform, ONE, "mine-1", "lifetime");
  const { sandbox } = await make(core, "mine-2", { snapshot: "first" });
  assert.equal(sandbox.snapshot, "first");
  assert.equal(core.held.get("p1_mine-2"), noise(3 * MIB));
});

test("a second snapshot of the same files adds nothing, one of a change little", async () => {
  const core = await openWithFiles();
  core.held.set("p1_mine-1", noise(6 * MIB));
  const first = await take(core, "first");
  const again = await take(core, "again");
  assert.equal(again.newBytes, 0);
  assert.equal(again.digest, first.digest);
  core.held.set("p1_mine-1", `put before it ${noise(6 * MIB)}`);
  const changed = await take(core, "changed");
  assert.notEqual(changed.digest, first.digest);
  assert.ok(changed.newBytes > 0 && changed.newBytes <= 4 * MIB, String(changed.newBytes));
});

test("long runs of the same are kept once", async () => {
  const core = await openWithFiles();
  core.held.set("p1_mine-1", "0".repeat(40 * MIB));
  const { newBytes } = await take(core, "one");
  assert.ok(newBytes <= 8 * MIB, String(newBytes));
  await make(core, "mine-2", { snapshot: "one" });
  assert.equal(core.held.get("p1_mine-2"), core.held.get("p1_mine-1"));
});

test("bytes go with the last snapshot that has them, and not before", async () => {
  const core = await openWithFiles(noise(2 * MIB));
  await take(core, "first");
  const kept = await objects(core);
  await take(core, "second");
  await drop(core, "first");
  assert.deepEqual(await objects(core), kept);
  await make(core, "mine-2", { snapshot: "second" });
  assert.equal(core.held.get("p1_mine-2"), noise(2 * MIB));
  await drop(core, "second");
  assert.deepEqual(await objects(core), []);
  assert.deepEqual(await rows(core, "snapshot-chunks"), []);
  assert.equal(await charged(core), 0);
});

test("a snapshot and an artifact of the same bytes do not take them from each other", async () => {
  const core = await openWithFiles("same");
  await take(core, "first");
  const artifact = await keepArtifact(core.platform, ONE, "mine-1", { path: "/a" });
  assert.equal((await objects(core)).length, 1);
  await drop(core, "first");
  const { path } = await linkArtifact(core.platform, ONE, artifact.id, 1000);
  const url = new URL(path, "http://door");
  const link = { expires: url.searchParams.get("expires") ?? "", ticket: url.searchParams.get("ticket") ?? "" };
  assert.equal(await new Response(await openBytes(core.platform, await linkedArtifact(core.platform, artifact.id, link))).text(), "same");
  await deleteArtifact(core.platform, ONE, artifact.id);
  assert.deepEqual(await objects(core), []);
});

test("a name is taken once, also by two at the same moment", async () => {
  const core = await openWithFiles();
  const results = await Promise.allSettled([take(core, "one"), take(core, "one"), take(core, "one")]);
  assert.deepEqual(results.map((result) => result.status).toSorted(), ["fulfilled", "rejected", "rejected"]);
  await assert.rejects(take(core, "one"), isProblem("already_exists"));
  assert.equal(await charged(core), LIMITS.snapshotLeastBytes);
  await drop(core, "one");
  assert.equal((await take(core, "one")).name, "one");
});

test("deleted twice at once is one deletion", async () => {
  const core = await openWithFiles();
  await take(core, "one");
  const results = await Promise.allSettled([drop(core, "one"), drop(core, "one"), drop(core, "one")]);
  assert.deepEqual(results.map((result) => result.status).toSorted(), ["fulfilled", "rejected", "rejected"]);
  assert.deepEqual(await objects(core), []);
  assert.deepEqual(await rows(core, "snapshots"), []);
  assert.equal(await charged(core), 0);
});

test("taking and deleting the same bytes at once never loses what is kept", async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const core = await openWithFiles("same");
    await take(core, "old");
    shuffle(core, seed);
    await Promise.all([take(core, "new"), drop(core, "old")]);
    await make(core, "mine-2", { snapshot: "new" });
    assert.equal(core.held.get("p1_mine-2"), "same", `seed ${seed}`);
    await drop(core, "new");
    assert.deepEqual(await objects(core), []);
    assert.equal(await charged(core), 0);
  }
});

test("whatever step of taking fails or is cut short, no bytes, rows or quota are left for good", async () => {
  for (const cut of [false, true]) {
    for (let step = 1; ; step += 1) {
      const core = await openWithFiles();
      let writes = 0;
      core.tables.before = () => {
        writes += 1;
        if (cut ? writes >= step : writes === step) throw new Error("the store failed");
      };
      const kept = await take(core, "one").then(
        () => true,
        () => false,
      );
      const { calm } = await afterwards(core);
      const { items } = await listSnapshots(core.platform, ONE, { limit: 10 });
      assert.equal((await objects(core)).length, items.length, `failed at write ${step}`);
      assert.equal(await charged(core), items.length * LIMITS.snapshotLeastBytes, `failed at write ${step}`);
      if (kept && calm(writes, step)) break;
    }
  }
});

test("whatever step of deleting fails or is cut short, the next one finishes it", async () => {
  for (const cut of [false, true]) {
    for (let step = 1; ; step += 1) {
      const core = await openWithFiles();
      await take(core, "one");
      let writes = 0;
      core.tables.before = () => {
        writes += 1;
        if (cut ? writes >= step : writes === step) throw new Error("the store failed");
      };
      await drop(core, "one").catch(() => {});
      const { calm } = await afterwards(core);
      const { items } = await listSnapshots(core.platform, ONE, { limit: 10 });
      assert.equal((await objects(core)).length, items.length, `failed at write ${step}`);
      assert.equal((await rows(core, "snapshots")).length, items.length, `failed at write ${step}`);
      assert.equal(await charged(core), items.length * LIMITS.snapshotLeastBytes, `failed at write ${step}`);
      if (calm(writes, step)) break;
    }
  }
});

/** What the worker makes of a crash, hours later. */
async function afterwards(core: Core): Promise<{ calm: (writes: number, step: number) => boolean }> {
  core.tables.before = () => {};
  core.clock.advance(3 * HOUR_MS);
  await collectSnapshots(core.platform, 100);
  await reconcileBytes(core.platform, ONE.id);
  assert.deepEqual(await rows(core, "snapshot-intents"), []);
  return { calm: (writes, step) => writes < step };
}

test("all snapshots of a project together stay within its quota, and what is refused leaves nothing", async () => {
  const core = await openWithFiles();
  await core.platform.tables.add(SNAPSHOT_QUOTAS, ONE.id, LIMITS.snapshotsBytes - 100 * MIB);
  const results = await Promise.allSettled(["a", "b", "c"].map((name) => take(core, name)));
  const refused = results.flatMap((result) => (result.status === "rejected" ? [result.reason as Problem] : []));
  assert.deepEqual(
    refused.map(({ code }) => code),
    ["quota_exceeded", "quota_exceeded"],
  );
  assert.equal(await charged(core), LIMITS.snapshotsBytes - 100 * MIB + LIMITS.snapshotLeastBytes);
  assert.equal(await reconcileBytes(core.platform, ONE.id), true);
  assert.equal(await charged(core), LIMITS.snapshotLeastBytes);
});

test("a sandbox that goes away while it is read leaves nothing", async () => {
  const core = await openWithFiles();
  core.engine.workspace = () => {
    let sent = 0;
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (sent++ < 40) controller.enqueue(Buffer.alloc(MIB, noise(1000)));
          else controller.error(new Error("terminated"));
        },
      }),
    );
  };
  await assert.rejects(take(core, "one"), isProblem("sandbox_lost"));
  assert.deepEqual(await objects(core), []);
  assert.equal(await charged(core), 0);
});

test("what a workspace says that is no snapshot is refused, and its numbers are numbers", async () => {
  const core = await openWithFiles();
  core.engine.workspace = () => new Response("");
  await assert.rejects(take(core, "empty"), isProblem("sandbox_lost"));
  core.engine.workspace = () => Response.json(problemBody(new Problem("body_too_large"), "r"), { status: 413 });
  await assert.rejects(take(core, "large"), isProblem("body_too_large"));
  core.engine.workspace = () => new Response("../../x", { headers: { "snapshot-files": "1e999", "snapshot-skipped": "-5" } });
  const { files, skipped } = await take(core, "odd");
  assert.deepEqual({ files, skipped }, { files: 0, skipped: 0 });
  assert.ok((await objects(core)).every((key) => /^blobs\/p1\/[0-9a-f]{64}(\.\d+)?$/.test(key)));
});

test("a snapshot that cannot be put into its sandbox ends that sandbox and says why", async () => {
  const core = await openWithFiles();
  await take(core, "one");
  const { workspace } = core.engine;
  core.engine.workspace = (passage, ref) =>
    passage.method === "PUT" ? Response.json(problemBody(new Problem("disk_full"), "r"), { status: 507 }) : workspace(passage, ref);
  await assert.rejects(make(core, "mine-2", { snapshot: "one" }), isProblem("snapshot_too_large"));
  assert.partialDeepStrictEqual(await getSandbox(core.platform, ONE, "mine-2"), { state: "ended", endReason: "failed" });
  assert.deepEqual(core.engine.living, ["p1_mine-1"]);
  await assert.rejects(make(core, "mine-3", { snapshot: "none" }), isProblem("snapshot_not_found"));
});

test("bytes that are not what was kept are noticed before anybody works with them", async () => {
  const core = await openWithFiles();
  await take(core, "one");
  const [key = ""] = await objects(core);
  await core.platform.objects.put(key, new Blob(["other fil"]).stream(), { maxBytes: 100, mediaType: "x/y" });
  await assert.rejects(make(core, "mine-2", { snapshot: "one" }), isProblem("internal"));
  await core.platform.objects.remove(key);
  await assert.rejects(make(core, "mine-3", { snapshot: "one" }), isProblem("snapshot_not_found"));
  assert.deepEqual(core.engine.living, ["p1_mine-1"]);
});

test("the same id from the same snapshot twice is one sandbox, from another it is taken", async () => {
  const core = await openWithFiles();
  await take(core, "one");
  const made = await Promise.all([make(core, "mine-2", { snapshot: "one" }), make(core, "mine-2", { snapshot: "one" })]);
  assert.deepEqual(made.map((one) => one.made).toSorted(), [false, true]);
  await assert.rejects(make(core, "mine-2"), isProblem("already_exists"));
});

test("a sandbox that is made from a large snapshot has the time that takes", async () => {
  const core = await openWithFiles(noise(4 * MIB));
  await take(core, "one");
  core.engine.before = async (operation, ref) => {
    if (operation !== "request" || ref?.sessionId !== "p1_mine-2") return;
    core.clock.advance(60_500);
    assert.equal((await getSandbox(core.platform, ONE, "mine-2")).state, "creating");
  };
  await make(core, "mine-2", { snapshot: "one" });
});

test("without a template, a sandbox is of its snapshot's", async () => {
  const core = await openWithFiles();
  await createTemplate(core.platform, LIMITS_SET, ONE, { name: "small", type: "CodeInterpreter", diskMiB: 512 });
  await make(core, "mine-2", { template: "small" });
  await take(core, "one", "mine-2");
  assert.equal((await make(core, "mine-3", { snapshot: "one" })).sandbox.template, "small");
  assert.equal((await make(core, "mine-4", { snapshot: "one", template: "code-interpreter" })).sandbox.template, "code-interpreter");
});

test("a fork is so many sandboxes with the same files, and leaves nothing beside them", async () => {
  const core = await openWithFiles("mine");
  const { items } = await forkSandbox(core.platform, LIMITS_SET, ONE, "mine-1", { count: 5, environment: {} });
  assert.deepEqual(
    items.map(({ id }) => core.held.get(`p1_${id}`)),
    Array.from({ length: 5 }, () => "mine"),
  );
  assert.deepEqual(new Set(items.map(({ taskId }) => taskId)), new Set(["mine-1"]));
  assert.deepEqual(await objects(core), []);
  assert.equal(await charged(core), 0);
  assert.deepEqual((await listSnapshots(core.platform, ONE, { limit: 10 })).items, []);
});

test("a fork that cannot be whole is none", async () => {
  const core = await openWithFiles();
  const few = projectOf("p1", 4);
  await assert.rejects(forkSandbox(core.platform, LIMITS_SET, few, "mine-1", { count: 6, environment: {} }), isProblem("quota_exceeded"));
  assert.deepEqual(core.engine.living, ["p1_mine-1"]);
  const { items } = await listSandboxes(core.platform, ONE, { limit: 50, state: "ready" });
  assert.deepEqual(
    items.map(({ id }) => id),
    ["mine-1"],
  );
  assert.deepEqual(await objects(core), []);
});

test("what another project kept does not exist, and its bytes are not shared", async () => {
  const core = await openWithFiles("secret");
  await take(core, "one");
  await createSandbox(core.platform, LIMITS_SET, OTHER, spec({ id: "theirs" }));
  const attempts = [getSnapshot(core.platform, OTHER, "one"), deleteSnapshot(core.platform, OTHER, "one")];
  for (const attempt of attempts) await assert.rejects(attempt, isProblem("snapshot_not_found"));
  await assert.rejects(
    createSandbox(core.platform, LIMITS_SET, OTHER, spec({ id: "theirs-2", snapshot: "one" })),
    isProblem("snapshot_not_found"),
  );
  await assert.rejects(createSnapshot(core.platform, OTHER, "mine-1", { name: "x" }), isProblem("sandbox_not_found"));
  await assert.rejects(
    forkSandbox(core.platform, LIMITS_SET, OTHER, "mine-1", { count: 1, environment: {} }),
    isProblem("sandbox_not_found"),
  );
  assert.deepEqual(await listSnapshots(core.platform, OTHER, { limit: 10 }), { items: [] });
  // Whether somebody else has the same bytes already cannot be told.
  assert.equal((await createSnapshot(core.platform, OTHER, "theirs", { name: "one" })).newBytes, "secret".length);
});

test("of an ended sandbox there is no snapshot and no fork", async () => {
  const core = await openWithFiles();
  await endSandbox(core.platform, ONE, "mine-1", "deleted");
  await assert.rejects(take(core, "one"), isProblem("sandbox_ended"));
  await assert.rejects(forkSandbox(core.platform, LIMITS_SET, ONE, "mine-1", { count: 1, environment: {} }), isProblem("sandbox_ended"));
});

test("a list is by name, in pages", async () => {
  const core = await openWithFiles();
  for (const name of ["b", "a", "c"]) await take(core, name);
  const first = await listSnapshots(core.platform, ONE, { limit: 2 });
  assert.deepEqual([first.items.map(({ name }) => name), first.next], [["a", "b"], "b"]);
  const second = await listSnapshots(core.platform, ONE, { limit: 2, after: first.next });
  assert.deepEqual([second.items.map(({ name }) => name), second.next], [["c"], undefined]);
});
