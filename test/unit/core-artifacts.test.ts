import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Problem, problemBody } from "#contract/problem.ts";
import { linkArtifact, linkedArtifact, openBytes } from "#core/artifact-links.ts";
import { reconcileArtifacts, usageOf } from "#core/artifact-quotas.ts";
import { collectIntents, deleteArtifact, getArtifact, keepArtifact, listArtifacts } from "#core/artifacts.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const HOUR_MS = 3_600_000;

/** A core with one sandbox whose every file holds what `content` says. */
async function openWithFiles(content: (path: string) => string = (path) => `content of ${path}`): Promise<Core> {
  const core = openCore();
  core.engine.workspace = (passage) => new Response(content(new URL(passage.url, "http://w").searchParams.get("path") ?? ""));
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", taskId: "task-1" }));
  return core;
}

const keep = (core: Core, path: string) => keepArtifact(core.platform, ONE, "mine-1", { path });
const objects = async (core: Core) => (await core.platform.objects.list("", { limit: 100 })).map((info) => info.key);

const PNG = Buffer.from("89504e470d0a1a0a0000000d4948445200000010000000100802000000", "hex");

/** A picture of that size as far as its header says. */
function jpegOf(width: number, height: number): Buffer {
  const bytes = Buffer.alloc(30);
  bytes.write("ffd8ffc0001108", "hex");
  bytes.writeUInt16BE(height, 7);
  bytes.writeUInt16BE(width, 9);
  return bytes;
}

/** A workspace whose every file is an image, of which it answers such a picture. */
function withPicture(picture: Buffer | Response, file = PNG): Core["engine"]["workspace"] {
  return ({ url }) => {
    const isPicture = new URL(url, "http://w").pathname === "/picture";
    return isPicture && picture instanceof Response ? picture : new Response(new Uint8Array(isPicture ? (picture as Buffer) : file));
  };
}

async function follow(core: Core, path: string): Promise<string> {
  const url = new URL(path, "http://door");
  const [, , id = ""] = url.pathname.split("/");
  const row = await linkedArtifact(core.platform, id, {
    expires: url.searchParams.get("expires") ?? "",
    ticket: url.searchParams.get("ticket") ?? "",
  });
  return new Response(await openBytes(core.platform, row)).text();
}

test("a kept file outlives its sandbox, with its hash, size, type and origin", async () => {
  const core = await openWithFiles();
  const kept = await keep(core, "/home/user/summary.md");
  await endSandbox(core.platform, ONE, "mine-1", "deleted");
  const sha256 = createHash("sha256").update("content of /home/user/summary.md").digest("hex");
  const { id: _id, createdAt: _at, traceId = "", spanId = "", ...facts } = await getArtifact(core.platform, ONE, kept.id);
  assert.match(`${traceId} ${spanId}`, /^[0-9a-f]{32} [0-9a-f]{16}$/);
  assert.deepEqual(facts, {
    name: "summary.md",
    version: 1,
    kind: "file",
    hold: false,
    sizeBytes: 32,
    sha256,
    mediaType: "text/markdown",
    sandboxId: "mine-1",
    taskId: "task-1",
    path: "/home/user/summary.md",
  });
  const { path } = await linkArtifact(core.platform, ONE, kept.id, 1000);
  assert.equal(await follow(core, path), "content of /home/user/summary.md");
  assert.deepEqual(await objects(core), [`blobs/p1/${sha256}`]);
});

test("equal bytes are kept once and go with the last that has them", async () => {
  const core = await openWithFiles(() => "same");
  const [a, b] = await Promise.all([keep(core, "/a"), keep(core, "/b")]);
  assert.equal((await objects(core)).length, 1);
  await deleteArtifact(core.platform, ONE, a.id);
  assert.equal(await follow(core, (await linkArtifact(core.platform, ONE, b.id, 1000)).path), "same");
  await deleteArtifact(core.platform, ONE, b.id);
  assert.deepEqual(await objects(core), []);
  assert.deepEqual(await listArtifacts(core.platform, ONE, { limit: 10 }), { items: [] });
});

test("deleted twice at once is one deletion", async () => {
  const core = await openWithFiles();
  const { id } = await keep(core, "/a");
  const results = await Promise.allSettled([1, 2, 3].map(() => deleteArtifact(core.platform, ONE, id)));
  assert.deepEqual(results.map((result) => result.status).toSorted(), ["fulfilled", "rejected", "rejected"]);
  assert.deepEqual(await objects(core), []);
  await assert.rejects(deleteArtifact(core.platform, ONE, id), isProblem("artifact_not_found"));
});

test("keeping and deleting the same bytes at once never loses what is kept", async () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const core = await openWithFiles(() => "same");
    const old = await keep(core, "/old");
    shuffle(core, seed);
    const [kept] = await Promise.all([keep(core, "/new"), deleteArtifact(core.platform, ONE, old.id)]);
    assert.equal(await follow(core, (await linkArtifact(core.platform, ONE, kept.id, 1000)).path), "same", `seed ${seed}`);
    await deleteArtifact(core.platform, ONE, kept.id);
    assert.deepEqual(await objects(core), []);
  }
});

test("a link that is expired, altered or of another artifact opens nothing", async () => {
  const core = await openWithFiles();
  const [a, b] = [await keep(core, "/a"), await keep(core, "/b")];
  const { path } = await linkArtifact(core.platform, ONE, a.id, 1000);
  const later = path.replace(/expires=(\d+)/, (_all, at: string) => `expires=${Number(at) + 1000}`);
  const attempts = [
    later,
    path.replace(a.id, b.id),
    path.replace("ticket=p1.", "ticket=p1.A"),
    path.replace(/ticket=.*/, "ticket=p1."),
    `${path}.more`,
    path.replace("expires=", "expires=x"),
  ];
  for (const attempt of attempts) await assert.rejects(follow(core, attempt), isProblem("link_not_valid"), attempt);
  assert.equal(await follow(core, path), "content of /a");
  core.clock.advance(1001);
  await assert.rejects(follow(core, path), isProblem("link_not_valid"));
});

test("what another project kept does not exist", async () => {
  const core = await openWithFiles();
  const { id } = await keep(core, "/a");
  const attempts = [
    getArtifact(core.platform, OTHER, id),
    linkArtifact(core.platform, OTHER, id, 1000),
    deleteArtifact(core.platform, OTHER, id),
  ];
  for (const attempt of attempts) await assert.rejects(attempt, isProblem("artifact_not_found"));
  await assert.rejects(keepArtifact(core.platform, OTHER, "mine-1", { path: "/a" }), isProblem("sandbox_not_found"));
  assert.deepEqual(await listArtifacts(core.platform, OTHER, { limit: 10 }), { items: [] });
});

const names = (page: { items: { name: string }[] }) => page.items.map((item) => item.name);

test("a list is newest first, in pages, by sandbox and task", async () => {
  const core = await openWithFiles();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-2" }));
  for (const path of ["/1", "/2", "/3"]) {
    await keep(core, path);
    core.clock.advance(10);
  }
  await keepArtifact(core.platform, ONE, "mine-2", { path: "/4", name: "four.csv" });
  const first = await listArtifacts(core.platform, ONE, { limit: 2 });
  assert.deepEqual(names(first), ["four.csv", "3"]);
  assert.deepEqual(names(await listArtifacts(core.platform, ONE, { limit: 9, after: first.next })), ["2", "1"]);
  assert.deepEqual(names(await listArtifacts(core.platform, ONE, { limit: 9, taskId: "task-1" })), ["3", "2", "1"]);
});

test("whatever step of keeping fails or is cut short, no bytes are left for good", async () => {
  for (const cut of [false, true]) {
    for (let step = 1; ; step += 1) {
      const core = await openWithFiles();
      core.engine.workspace = withPicture(jpegOf(8, 8));
      let writes = 0;
      core.tables.before = () => {
        writes += 1;
        if (cut ? writes >= step : writes === step) throw new Error("the store failed");
      };
      const kept = await keep(core, "/a").then(
        () => true,
        () => false,
      );
      core.tables.before = () => {};
      core.clock.advance(3 * HOUR_MS);
      await collectIntents(core.platform, 100);
      const { items } = await listArtifacts(core.platform, ONE, { limit: 10 });
      const keys = (await objects(core)).map((key) => key.split("/")[0]);
      assert.deepEqual(keys, items.length > 0 ? ["blobs", "pictures"] : [], `failed at write ${step}`);
      assert.deepEqual(await core.platform.tables.range("artifact-intents", "", { limit: 10 }), []);
      assert.equal(
        (await core.platform.tables.range("artifact-names", "", { limit: 10 })).length,
        items.length,
        "a name leads to what is there",
      );
      await reconcileArtifacts(core.platform, ONE.id);
      assert.equal((await usageOf(core.platform, ONE)).artifacts, items.length, "what is counted is what is there");
      if (kept) break;
    }
  }
});

test("a picture goes with its artifact; what a sandbox says is one and is none is not kept", async () => {
  const core = await openWithFiles();
  core.engine.workspace = withPicture(jpegOf(512, 1));
  const kept = await keep(core, "/a.png");
  assert.deepEqual(kept.picture, { width: 512, height: 1, sizeBytes: 30 });
  await deleteArtifact(core.platform, ONE, kept.id);
  assert.deepEqual(await objects(core), []);
  const wrong: [string, Buffer | Response][] = [
    ["a page", Buffer.from("<script>alert(1)</script>")],
    ["another kind", PNG],
    ["no size", jpegOf(0, 0)],
    ["too wide", jpegOf(513, 1)],
    ["too much", Buffer.concat([jpegOf(8, 8), Buffer.alloc(64 * 1024)])],
    ["a problem", Response.json(problemBody(new Problem("timeout"), "r"), { status: 504 })],
  ];
  for (const [what, picture] of wrong) {
    core.engine.workspace = withPicture(picture);
    assert.equal((await keep(core, "/a.png")).picture, undefined, what);
  }
  core.engine.workspace = withPicture(jpegOf(8, 8), Buffer.from("a text that calls itself a picture"));
  assert.equal((await keep(core, "/a.png")).picture, undefined, "of what is no picture none is asked for");
});

test("a file that is not there is the workspace's own problem", async () => {
  const core = await openWithFiles();
  core.engine.workspace = () => Response.json(problemBody(new Problem("file_not_found", { detail: "no /x" }), "r"), { status: 404 });
  await assert.rejects(keep(core, "/x"), isProblem("file_not_found"));
  assert.deepEqual(await objects(core), []);
});
