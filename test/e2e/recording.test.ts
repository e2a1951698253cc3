import assert from "node:assert/strict";
import { after, test } from "node:test";
import { chromium } from "playwright-core";
import { RecordingPage } from "#contract/recording.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { openRfb } from "#support/rfb.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const LIMIT = { timeout: 400_000 };
const SLOW_MS = 90_000;
/** A browser starts, and then its recorder. */
const CONNECT_MS = 180_000;

const list = async (box: Box, query = "") => RecordingPage.parse(await tenant.json("GET", `/sandboxes/${box.id}/recordings${query}`));
const inPath = (box: Box) => `${door.origin}/k/${tenant.key.apiKey}/sandboxes/${box.id}`;
const recorded = (box: Box, many = 1) =>
  until(
    "what was recorded is kept",
    async () => {
      const { recordings } = await list(box);
      return recordings.length === many && recordings.every(({ state }) => state === "recorded");
    },
    SLOW_MS,
  );

/** What a stock player makes of a video: its streams' facts, and how many pictures of it differ. */
async function play(box: Box, video: Uint8Array) {
  const upload = await box.inside("PUT", "/files/content?path=/tmp/seen.mkv", video);
  assert.ok(upload.ok);
  const probe = "ffprobe -v error -show_entries stream=codec_name,width,height:format=format_name,duration -of json /tmp/seen.mkv";
  const { result } = await box.command(probe, { timeout: 60 });
  assert.equal(result?.exitCode, 0, result?.stderr);
  const { streams, format } = JSON.parse(result.stdout) as {
    streams: { codec_name: string; width: number; height: number }[];
    format: { format_name: string; duration: string };
  };
  // Small pictures in few colours: compression alone makes two that look the same differ.
  const hashes =
    `ffmpeg -v error -i /tmp/seen.mkv -vf "scale=16:10,format=gray,lutyuv='y=trunc(val/64)*64'" -f framehash - | ` +
    "grep -v '#' | awk '{print $NF}' | sort -u | wc -l";
  const frames = await box.command(hashes, { timeout: 60 });
  assert.equal(frames.result?.stderr, "");
  return { stream: streams[0], format, different: Number(frames.result?.stdout) };
}

test("a browser session with recording=true is a video of what was to be seen, kept beyond the sandbox", LIMIT, async () => {
  const box = await makeBox(tenant, { template: "all-in-one", environment: { CLEANROOM_DISPLAY_SIZE: "801x601" } });
  const browser = await chromium.connectOverCDP(`${inPath(box)}?tenantId=7&recording=true`, { timeout: CONNECT_MS });
  assert.equal((await list(box)).recordings[0]?.state, "recording");
  const page = browser.contexts()[0]?.pages()[0] ?? (await browser.newPage());
  for (const colour of ["black", "white"]) {
    await page.setContent(`<body style="background:${colour}">`);
    // Twice, as the first of them may have been about to be kept before the page was so.
    for (const what of ["what was before", colour]) {
      const size = (await list(box)).recordings[0]?.size ?? 0;
      await until(`${what} is kept`, async () => ((await list(box)).recordings[0]?.size ?? 0) > size, SLOW_MS);
    }
  }
  const [live] = (await list(box)).recordings;
  const soFar = await tenant.send("GET", `/sandboxes/${box.id}/recordings/${live?.filename}`);
  assert.equal(soFar.status, 200);
  assert.ok((await soFar.arrayBuffer()).byteLength > 0, "one that goes on can be looked at");
  await refused(tenant.send("DELETE", `/sandboxes/${box.id}/recordings/${live?.filename}`), "conflict");
  await browser.close();
  await recorded(box);

  const { recordings, total } = await list(box, "?page=1&page_size=5&tenantId=7");
  const [recording] = recordings;
  assert.ok(recording);
  assert.equal(total, 1);
  assert.deepEqual((await list(box, "?page=2")).recordings, []);
  assert.match(recording.filename, /^vnc_global_\d{8}_\d{6}_seg001\.mkv$/);
  const path = `/sandboxes/${box.id}/recordings/${recording.filename}`;
  const whole = await tenant.send("GET", path);
  const video = new Uint8Array(await whole.arrayBuffer());
  assert.equal(whole.headers.get("content-type"), "video/x-matroska");
  assert.match(whole.headers.get("content-disposition") ?? "", /^attachment; .*seg001\.mkv$/);
  assert.equal(video.byteLength, recording.size);
  const part = await tenant.send("GET", path, undefined, { range: "bytes=4-9" });
  assert.equal(part.status, 206);
  assert.deepEqual(new Uint8Array(await part.arrayBuffer()), video.subarray(4, 10));

  const { stream, format, different } = await play(box, video);
  assert.deepEqual(stream, { codec_name: "h264", width: 802, height: 602 });
  assert.match(format.format_name, /^matroska/);
  assert.ok(Number(format.duration) > 0 && Number(format.duration) < 240, format.duration);
  assert.ok(different >= 2, "the page changed, and so does the picture");

  await box[Symbol.asyncDispose]();
  assert.deepEqual(new Uint8Array(await (await tenant.send("GET", path)).arrayBuffer()), video, "it outlives its sandbox");
  const artifacts = await tenant.json<{ items: { id: string }[] }>("GET", `/api/artifacts?sandboxId=${box.id}`);
  assert.ok(artifacts.items.some(({ id }) => id === recording.artifactId));
  assert.equal((await tenant.send("DELETE", path)).status, 204);
  await refused(tenant.send("GET", path), "recording_not_found");
  assert.deepEqual((await list(box)).recordings, []);
});

test("a view can be recorded too; a sandbox that ends meanwhile leaves a video that plays", LIMIT, async () => {
  await using other = await makeBox(tenant);
  const box = await makeBox(tenant);
  const url = (query: string, credential = `/k/${tenant.key.apiKey}`) =>
    `${door.origin.replace("http", "ws")}${credential}/sandboxes/${box.id}/ws/livestream?${query}`;
  using view = await openRfb(url("recording=true"));
  await view.frame();
  using second = await openRfb(url("recording=1&tenantId=7"));
  await second.frame();
  assert.equal((await list(box)).total, 1, "one recorder for all who want it");
  await until("there is something of it", async () => ((await list(box)).recordings[0]?.size ?? 0) > 0, SLOW_MS);
  await box[Symbol.asyncDispose]();
  await recorded(box);
  const { filename = "" } = (await list(box)).recordings[0] ?? {};
  const video = new Uint8Array(await (await tenant.send("GET", `/sandboxes/${box.id}/recordings/${filename}`)).arrayBuffer());
  const { stream } = await play(other, video);
  assert.deepEqual(stream, { codec_name: "h264", width: 1280, height: 800 });
});

test("nonsense is refused: on the connection and in the list", LIMIT, async () => {
  await using box = await makeBox(tenant);
  const view = (query: string, credential = `/k/${tenant.key.apiKey}`) =>
    openRfb(`${door.origin.replace("http", "ws")}${credential}/sandboxes/${box.id}/ws/liveview?${query}`);
  await assert.rejects(view("recording=maybe"), /refused/);
  await assert.rejects(view("recording=true&recording=false"), /refused/);
  for (const query of ["?page=0", "?page_size=100000", "?page=x"])
    await refused(tenant.send("GET", `/sandboxes/${box.id}/recordings${query}`), "invalid_request");
  await refused(tenant.send("GET", `/sandboxes/${box.id}/recordings/..%2fetc%2fpasswd`), "recording_not_found");
  assert.equal((await list(box)).total, 0);
});
