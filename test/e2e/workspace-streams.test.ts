import assert from "node:assert/strict";
import { after, test } from "node:test";
import { eventsOf, execute, rssMiB, workspacePid, type Item } from "#support/executions.ts";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const run = (code: string, more: object = {}) => execute(box, code, more);

const stream = async (code: string, more: object = {}) => {
  const response = await box.open("POST", "/contexts/execute", JSON.stringify({ code, ...more }), { accept: "text/event-stream" });
  return { response, events: eventsOf(response) };
};

test("a flood is cut with a marker that says how much was dropped, and costs no memory", async () => {
  const pid = workspacePid(box);
  const atFirst = rssMiB(pid);
  const { json, end } = await run("import os\nfor _ in range(1600): os.write(1, b'x' * 65536)", { timeout: 60 });
  assert.equal(end.dropped?.stdout, 1600 * 65536 - 4 * 1024 * 1024);
  assert.ok(json.stdout.endsWith(`\n[... ${end.dropped?.stdout} bytes dropped ...]\n`));
  const forever = await run("import os\nos.system('yes')", { timeout: 0.5 });
  assert.equal(forever.end.status, "timeout");
  assert.ok((forever.end.dropped?.stdout ?? 0) > 0);
  assert.ok(rssMiB(pid) - atFirst < 100, `grew from ${atFirst} to ${rssMiB(pid)} MiB`);
});

test("streamed: items come as they happen, each under its type", async () => {
  const { response, events } = await stream("import time\nprint('one', flush=True)\ntime.sleep(0.2)\nprint('two')\n3");
  assert.match(response.headers["content-type"] ?? "", /text\/event-stream/);
  const seen: { type: string; atMs: number }[] = [];
  for await (const item of events) seen.push({ type: item.type, atMs: performance.now() });
  assert.deepEqual(
    seen.map((item) => item.type),
    ["stdout", "stdout", "result", "endOfExecution"],
  );
  assert.ok((seen[1]?.atMs ?? 0) - (seen[0]?.atMs ?? 0) > 100);
});

test("a reader who reads nothing stops the producer, and the time-out still ends it", async () => {
  const pid = workspacePid(box);
  const atFirst = rssMiB(pid);
  const { response, events } = await stream("import os\nwhile True: os.write(1, b'y' * 65536)", { timeout: 1, contextId: "unread" });
  response.pause();
  // The next execution has its turn once this one has ended, whether anyone has read it or not.
  assert.equal((await run("1", { contextId: "unread" })).result?.text, "1");
  assert.ok(rssMiB(pid) - atFirst < 60, `grew from ${atFirst} to ${rssMiB(pid)} MiB`);
  let last: Item | undefined;
  for await (const item of events) last = item;
  assert.equal(last?.status, "timeout");
  assert.ok((last?.dropped?.stdout ?? 0) > 0);
});

test("a caller who hangs up ends what it asked for; the state stays", async () => {
  await run("w = 9", { contextId: "hung" });
  const abort = new AbortController();
  const gone = box.open("POST", "/contexts/execute", JSON.stringify({ code: "while True: pass", contextId: "hung" }), {}, abort.signal);
  await run("1");
  abort.abort();
  await assert.rejects(gone);
  const next = await run("w", { contextId: "hung" });
  assert.equal(next.result?.text, "9");
});
