import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMITS as BOUNDS } from "#contract/limits.ts";
import { Problem, problemBody } from "#contract/problem.ts";
import type { RecordingPage } from "#contract/recording.ts";
import { openBytes } from "#core/artifact-links.ts";
import { deleteArtifact, getArtifact } from "#core/artifacts.ts";
import { withDuration } from "#core/matroska.ts";
import { openRecorders } from "#core/recorder.ts";
import { addChunk, beginRecording, deleteRecording, listRecordings, openRecording } from "#core/recordings.ts";
import { ownRow } from "#core/sandbox-rows.ts";
import { createSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";
import { until } from "#support/until.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const ALL = { page: 1, page_size: 50 };
const LEASE_MS = 61_000;

/** What a workspace does about its display: each video is a stream that a test writes into and that ends when it is told to. */
function recordable(core: Core) {
  const videos: ReadableStreamDefaultController<Uint8Array>[] = [];
  let refusal: Problem | undefined;
  core.engine.workspace = ({ method, url }) => {
    if (!url.endsWith("/recording")) return Response.json({ status: "ok" });
    if (method === "DELETE") {
      videos.at(-1)?.close();
      return new Response(null, { status: 204 });
    }
    if (refusal) return Response.json(problemBody(refusal, "r"), { status: refusal.status });
    return new Response(new ReadableStream({ start: (video) => void videos.push(video) }));
  };
  return { videos, refuse: (problem: Problem | undefined) => void (refusal = problem) };
}

async function openWithSandbox(): Promise<Core> {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  return core;
}

const list = (core: Core): Promise<RecordingPage> => listRecordings(core.platform, ONE, "mine-1", ALL);
const bytesOf = async (core: Core, filename: string) => {
  const opened = await openRecording(core.platform, ONE, "mine-1", filename);
  return new Response(opened instanceof ReadableStream ? opened : await openBytes(core.platform, opened)).text();
};
const recorded = (core: Core, many = 1) =>
  until("it was kept", async () => {
    const { recordings } = await list(core);
    return recordings.length === many && recordings.every(({ state }) => state === "recorded");
  });
const begin = async (core: Core) => beginRecording(core.platform, (await ownRow(core.platform, ONE, "mine-1")).value, core.clock.now());

test("a video goes on while somebody wants it, and is an artifact once nobody does", async () => {
  const core = await openWithSandbox();
  const { videos } = recordable(core);
  const recorders = openRecorders(core.platform);
  const [first, second] = [await recorders.hold(ONE, "mine-1"), await recorders.hold(ONE, "mine-1")];
  assert.equal(videos.length, 1, "one video for all who want it");
  videos[0]?.enqueue(Buffer.from("frames"));
  first();
  first();
  videos[0]?.enqueue(Buffer.from(" and more"));
  second();
  await recorded(core);
  const { recordings, total } = await list(core);
  const [one] = recordings;
  assert.equal(total, 1);
  assert.match(one?.filename ?? "", /^vnc_global_20260101_000000_seg001\.mkv$/);
  assert.equal(one?.size, "frames and more".length);
  assert.equal(await bytesOf(core, one.filename), "frames and more");
  const artifact = await getArtifact(core.platform, ONE, one.artifactId ?? "");
  assert.deepEqual([artifact.name, artifact.mediaType, artifact.sandboxId], [one.filename, "video/x-matroska", "mine-1"]);
  assert.deepEqual(await core.platform.objects.list("recordings/", { limit: 10 }), [], "nothing of it is kept twice");
});

test("who comes back records another video, and one that ends by itself is followed by the next", async () => {
  const core = await openWithSandbox();
  const { videos } = recordable(core);
  await using recorders = openRecorders(core.platform);
  for (const at of [0, 1]) {
    const release = await recorders.hold(ONE, "mine-1");
    videos[at]?.enqueue(Buffer.from(`video ${at}`));
    release();
  }
  await recorded(core, 2);
  const last = await recorders.hold(ONE, "mine-1");
  videos[2]?.enqueue(Buffer.from("third"));
  videos[2]?.close();
  await until("a fourth is made", () => videos.length === 4);
  videos[3]?.enqueue(Buffer.from("fourth"));
  last();
  await recorded(core, 4);
  const { recordings } = await list(core);
  assert.deepEqual(await Promise.all(recordings.map(({ filename }) => bytesOf(core, filename))), ["video 0", "video 1", "third", "fourth"]);
});

test("a door that closes keeps what was recorded until then", async () => {
  const core = await openWithSandbox();
  const { videos } = recordable(core);
  const recorders = openRecorders(core.platform);
  await recorders.hold(ONE, "mine-1");
  videos[0]?.enqueue(Buffer.from("frames"));
  await recorders[Symbol.asyncDispose]();
  assert.deepEqual(
    (await list(core)).recordings.map(({ state }) => state),
    ["recorded"],
  );
});

test("a sandbox that is lost leaves its video as far as it had come, and is not asked again", async () => {
  const core = await openWithSandbox();
  const { videos } = recordable(core);
  await using recorders = openRecorders(core.platform);
  await recorders.hold(ONE, "mine-1");
  videos[0]?.enqueue(Buffer.from("until here"));
  await until("it was read", () => (videos[0]?.desiredSize ?? 0) > 0);
  core.engine.end([...core.engine.sessions.keys()][0] ?? "", "crashed");
  videos[0]?.error(new Error("gone"));
  await recorded(core);
  assert.equal(await bytesOf(core, (await list(core)).recordings[0]?.filename ?? ""), "until here");
});

test("who asks for a recording that cannot be made is told why; where another door makes it, it is made", async () => {
  const core = await openWithSandbox();
  const { refuse, videos } = recordable(core);
  await using recorders = openRecorders(core.platform);
  refuse(new Problem("display_unavailable", { detail: "No display" }));
  await assert.rejects(recorders.hold(ONE, "mine-1"), isProblem("display_unavailable"));
  await assert.rejects(recorders.hold(OTHER, "mine-1"), isProblem("sandbox_not_found"));
  refuse(new Problem("conflict"));
  const release = await recorders.hold(ONE, "mine-1");
  release();
  refuse(undefined);
  (await recorders.hold(ONE, "mine-1"))();
  await until("its own turn has come", () => videos.length === 1);
  assert.deepEqual((await list(core)).recordings, [], "a video without a frame is none");
});

test("what a killed door left open is finished by the sweep, once nobody goes on with it, wherever that is cut short", async () => {
  for (let failing = 0; failing < 6; failing += 1) {
    const core = await openWithSandbox();
    let row = await begin(core);
    for (const part of ["one ", "two ", "three"]) row = await addChunk(core.platform, row, Buffer.from(part));
    await sweep(core.platform, LIMITS);
    assert.deepEqual(
      (await list(core)).recordings.map(({ state, size }) => [state, size]),
      [["recording", 13]],
    );
    assert.equal(await bytesOf(core, row.value.filename), "one two three", "what there is can be seen");
    await assert.rejects(deleteRecording(core.platform, ONE, "mine-1", row.value.filename), isProblem("conflict"));
    core.clock.advance(LEASE_MS);
    let step = 0;
    core.tables.before = (_operation, table) => {
      if (/recordings|artifacts|blobs/.test(table) && step++ === failing) throw new Error("killed here");
    };
    await sweep(core.platform, LIMITS);
    core.tables.before = () => {};
    core.clock.advance(LEASE_MS);
    await sweep(core.platform, LIMITS);
    assert.equal((await list(core)).recordings[0]?.state, "recorded", `cut short at step ${failing}`);
    assert.equal(await bytesOf(core, row.value.filename), "one two three");
    assert.deepEqual(await core.platform.objects.list("recordings/", { limit: 10 }), []);
    assert.deepEqual(await core.platform.tables.range("recordings-open", "", { limit: 10 }), []);
    await assert.rejects(addChunk(core.platform, row, Buffer.from("late")), isProblem("conflict"));
  }
});

test("a video is its project's own; with its artifact it is gone, and deleting it deletes both", async () => {
  const core = await openWithSandbox();
  const { videos } = recordable(core);
  await using recorders = openRecorders(core.platform);
  for (const at of [0, 1]) {
    const release = await recorders.hold(ONE, "mine-1");
    videos[at]?.enqueue(Buffer.from(`video ${at}`));
    release();
    await recorded(core, at + 1);
  }
  const [first, second] = (await list(core)).recordings;
  assert.ok(first && second);
  await assert.rejects(listRecordings(core.platform, OTHER, "mine-1", ALL), isProblem("sandbox_not_found"));
  await assert.rejects(openRecording(core.platform, OTHER, "mine-1", first.filename), isProblem("sandbox_not_found"));
  for (const name of ["../x", "nothing.mkv", "", first.filename.slice(1)])
    await assert.rejects(openRecording(core.platform, ONE, "mine-1", name), isProblem("recording_not_found"));
  await deleteArtifact(core.platform, ONE, first.artifactId ?? "");
  assert.deepEqual(
    (await list(core)).recordings.map(({ filename }) => filename),
    [second.filename],
  );
  for (const { filename } of [first, second]) await deleteRecording(core.platform, ONE, "mine-1", filename);
  await assert.rejects(getArtifact(core.platform, ONE, second.artifactId ?? ""), isProblem("artifact_not_found"));
  await assert.rejects(deleteRecording(core.platform, ONE, "mine-1", second.filename), isProblem("recording_not_found"));
});

test("the videos of a sandbox have a bound, and who would exceed it is told", async () => {
  const core = await openWithSandbox();
  recordable(core);
  await using recorders = openRecorders(core.platform);
  const row = await begin(core);
  await core.platform.tables.put("recordings", row.key, { ...row.value, sizeBytes: BOUNDS.recordingsBytes });
  await assert.rejects(recorders.hold(ONE, "mine-1"), isProblem("quota_exceeded"));
});

test("a duration is written where a place was left for it, and nowhere else", () => {
  const place = Buffer.concat([Buffer.from("head"), Buffer.from([0x44, 0x89, 0x88]), Buffer.alloc(8), Buffer.from("rest")]);
  const written = Buffer.from(withDuration(place, 12_345));
  assert.equal(written.readDoubleBE(7), 12_345);
  assert.deepEqual(written.subarray(15), Buffer.from("rest"));
  assert.equal(place.readDoubleBE(7), 0, "what was given stays as it was");
  for (const other of [Buffer.from("nothing"), place.subarray(0, 9), Buffer.concat([Buffer.alloc(2000), place])])
    assert.deepEqual(Buffer.from(withDuration(other, 1)), other);
});
