import assert from "node:assert/strict";
import type { RecordingPage } from "#contract/recording.ts";
import { proves, type Range } from "#support/range.ts";
import { openRfb } from "#support/rfb.ts";
import { until } from "#support/until.ts";

const SLOW_MS = 60_000;
const SCRIPT = "<script>alert(document.domain)</script>";

const list = async ({ tenant, sandboxId }: Range) =>
  (await tenant.json<RecordingPage>("GET", `/sandboxes/${sandboxId}/recordings`)).recordings;
const viewUrl = ({ door, sandboxId }: Range, query: string) =>
  `${door.origin.replace("http", "ws")}/sandboxes/${sandboxId}/ws/liveview?${query}&recording=true`;
const ticketFor = async ({ tenant, sandboxId }: Range, purpose: string) =>
  (await tenant.json<{ ticket: string }>("POST", `/api/sandboxes/${sandboxId}/tickets`, { purpose }, 201)).ticket;

proves(
  "V6",
  "code inside can spoil a recording, and do nothing else with it: what it writes is a download that no page shows",
  async (range) => {
    const { tenant, sandboxId, inside, send } = range;
    {
      using view = await openRfb(viewUrl(range, `Authorization=${tenant.key.apiKey}`));
      await view.frame();
      const recorder = "$(pgrep -x ffmpeg)";
      assert.equal((await inside(`test -d /proc/${recorder}`)).exitCode, 0, "code sees who records it");
      await inside(`printf '%s' '${SCRIPT}' > /proc/${recorder}/fd/1; kill -STOP ${recorder}; kill -CONT ${recorder}`);
      await until("something was kept", async () => ((await list(range))[0]?.size ?? 0) > 0, SLOW_MS);
      // Whoever records is ended, and nobody who looks at the display loses it for that.
      await inside(`kill -9 ${recorder}`);
      await until("another goes on in its place", async () => (await inside("pgrep -x ffmpeg")).exitCode === 0, SLOW_MS);
      await view.frame();
    }
    await until("all was kept", async () => (await list(range)).every(({ state }) => state === "recorded"), SLOW_MS);
    for (const { filename } of await list(range)) {
      assert.match(filename, /^vnc_global_\d{8}_\d{6}_seg\d{3}\.mkv$/);
      const answer = await send("GET", `/recordings/${filename}`);
      assert.equal(answer.headers.get("content-type"), "video/x-matroska");
      assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
      assert.match(answer.headers.get("content-disposition") ?? "", /^attachment;/);
      assert.match(answer.headers.get("content-security-policy") ?? "", /^sandbox/);
      await answer.body?.cancel();
    }
    // Files of such names inside are nobody's recordings.
    await inside("mkdir -p /home/user/recordings && touch /home/user/recordings/vnc_global_20260101_000000_seg001.mkv");
    assert.equal((await send("GET", "/recordings/vnc_global_20260101_000000_seg001.mkv")).status, 404);
    assert.equal((await tenant.send("GET", `/sandboxes/${sandboxId}/recordings`)).status, 200);
  },
);

proves(
  "V7",
  "a recording is begun and seen by who has a key of its project: not by a ticket, not by another project, nor past the door",
  async (range) => {
    const { door, tenant, sandboxId, send, stranger } = range;
    for (const purpose of ["view:watch", "view:control"])
      await assert.rejects(openRfb(viewUrl(range, `ticket=${await ticketFor(range, purpose)}`)), /refused/);
    assert.deepEqual(await list(range), []);
    {
      using view = await openRfb(viewUrl(range, `Authorization=${tenant.key.apiKey}`));
      await view.frame();
    }
    const other = await stranger();
    for (const path of ["", "/vnc_global_20260101_000000_seg001.mkv"]) {
      assert.equal((await other.send("GET", `/sandboxes/${sandboxId}/recordings${path}`)).status, 404);
      assert.equal((await fetch(`${door.origin}/sandboxes/${sandboxId}/recordings${path}`)).status, 401);
    }
    // What the core asks of a workspace is no route of a client's.
    for (const method of ["GET", "DELETE"]) {
      assert.equal((await send(method, "/recording", undefined, { "cleanroom-inner": "1" })).status, 404);
      assert.equal((await send(method, "/recording/", undefined, { "cleanroom-inner": "1" })).status, 404);
    }
  },
);
