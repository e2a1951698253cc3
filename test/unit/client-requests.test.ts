import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "node:test";
import { Artifacts } from "#client/artifacts.ts";
import { Sandbox } from "#client/sandbox.ts";
import { Problem, problemBody } from "#contract/problem.ts";
import { bytes, events, fakeDoor, json, sandboxInfo, type Reply } from "#support/fake-door.ts";
import { isProblem } from "#support/problem.ts";
import { tempDir } from "#support/temp.ts";

const ID = "sandbox-1";
const LIFE: Record<string, Reply> = {
  "POST /api/sandboxes": json(201, sandboxInfo(ID)),
  [`DELETE /api/sandboxes/${ID}`]: json(200, sandboxInfo(ID, { state: "ended", endReason: "deleted" })),
};
const END = {
  type: "endOfExecution",
  status: "ok",
  executionCount: 3,
  durationMs: 1.5,
  dropped: { stdout: 0, stderr: 0 },
  stateKept: true,
};

test("a block that makes a sandbox destroys it, with the key on every request", async () => {
  await using door = await fakeDoor(LIFE);
  {
    await using box = await Sandbox.create({ url: `${door.url}/`, apiKey: "key-1", metadata: { job: "7" }, idleTimeoutMs: 60_000 });
    assert.equal(box.id, ID);
  }
  assert.deepEqual(
    door.received.map((one) => `${one.method} ${one.path}`),
    ["POST /api/sandboxes", `DELETE /api/sandboxes/${ID}`],
  );
  assert.ok(door.received.every((one) => one.headers["authorization"] === "Bearer key-1"));
  assert.deepEqual(JSON.parse(String(door.received[0]?.body)), { metadata: { job: "7" }, idleTimeoutMs: 60_000 });
});

test("code answers with its value, output, results and error, and each reaches its callback in order", async () => {
  const items = [
    { type: "stdout", text: "a" },
    { type: "stderr", text: "b" },
    { type: "stdout", text: "c" },
    { type: "result", text: "<Figure>", data: { "image/png": "iVBOR", "application/json": '{"x":1}' }, executionCount: 3, main: false },
    { type: "result", text: "42", data: { "text/plain": "42" }, executionCount: 3, main: true },
    { type: "error", name: "ValueError", value: "no", traceback: "Traceback…" },
    END,
  ];
  await using door = await fakeDoor({ ...LIFE, [`POST /sandboxes/${ID}/contexts/execute`]: events(items) });
  await using box = await Sandbox.create({ url: door.url, apiKey: "k" });
  const heard: string[] = [];
  const execution = await box.runCode("x", {
    language: "python",
    timeoutMs: 90_000,
    onStdout: async (text) => {
      await Promise.resolve();
      heard.push(`out ${text}`);
    },
    onStderr: (text) => {
      heard.push(`err ${text}`);
    },
    onResult: (result) => {
      heard.push(result.text);
    },
    onError: (error) => {
      heard.push(error.name);
    },
  });
  assert.deepEqual(heard, ["out a", "err b", "out c", "<Figure>", "42", "ValueError"]);
  assert.equal(execution.text, "42");
  assert.deepEqual(execution.logs, { stdout: ["a", "c"], stderr: ["b"] });
  assert.equal(execution.results[0]?.png, "iVBOR");
  assert.deepEqual(execution.results[0]?.json, { x: 1 });
  assert.equal(execution.error?.value, "no");
  assert.deepEqual(JSON.parse(String(door.received[1]?.body)), { code: "x", language: "python", timeout: 90 });
});

test("output that ends before the code did is sandbox_lost, and a problem on the way is that problem", async () => {
  const lost = problemBody(new Problem("sandbox_lost", { detail: "it died" }), "r1");
  const replies = [events([{ type: "stdout", text: "a" }]), events([{ type: "stdout", text: "a" }, lost])];
  await using door = await fakeDoor({
    ...LIFE,
    [`POST /sandboxes/${ID}/contexts/execute`]: (received, response) => replies.shift()?.(received, response),
  });
  await using box = await Sandbox.create({ url: door.url, apiKey: "k" });
  await assert.rejects(box.runCode("x"), isProblem("sandbox_lost"));
  await assert.rejects(box.runCode("x"), (error: Problem) => error.code === "sandbox_lost" && error.message === "it died");
});

test("who asks too fast is told when to ask again, in both envelopes", async () => {
  const hurried = problemBody(new Problem("rate_limited", { perSecond: 1000, retryAfterMs: 1 }), "r-1");
  const { code, message, details } = hurried;
  await using door = await fakeDoor({
    "GET /api/sandboxes/fast-1": json(429, hurried, { "retry-after": "1" }),
    "GET /api/sandboxes/fast-2": json(429, { ...hurried, error: { code, message, details } }, { "retry-after": "1" }),
  });
  for (const id of ["fast-1", "fast-2"])
    await assert.rejects(Sandbox.connect(id, { url: door.url, apiKey: "k" }), (error: Problem) => {
      assert.deepEqual([error.code, error.facts["perSecond"], error.facts["retryAfterMs"]], ["rate_limited", 1000, 1000]);
      assert.match(error.next, /ask less at once/);
      return true;
    });
});

test("a refusal is its Problem in our envelope and in AgentRun's, with what to do next", async () => {
  const refused = { ...problemBody(new Problem("quota_exceeded", { limit: 3 }), "r-9"), requestId: "r-9" };
  await using door = await fakeDoor({
    "POST /api/sandboxes": json(429, refused, { "retry-after": "2" }),
    "GET /api/sandboxes/gone-1": json(404, { code: "NOT_FOUND", requestId: "r-2", message: "sandbox not exist: gone-1" }),
    "GET /api/sandboxes/gone-2": json(410, { error: { code: "sandbox_ended", message: "it was idle", details: { reason: "idle" } } }),
  });
  const options = { url: door.url, apiKey: "k" };
  await assert.rejects(Sandbox.create(options), (error: Problem) => {
    assert.equal(error.code, "quota_exceeded");
    assert.deepEqual([error.facts["limit"], error.facts["requestId"], error.facts["retryAfterMs"]], [3, "r-9", 2000]);
    assert.match(error.next, /Retry-After/);
    return true;
  });
  await assert.rejects(
    Sandbox.connect("gone-1", options),
    (error: Problem) => error.status === 404 && error.message === "sandbox not exist: gone-1",
  );
  await assert.rejects(
    Sandbox.connect("gone-2", options),
    (error: Problem) => error.code === "sandbox_ended" && error.facts["reason"] === "idle",
  );
});

test("a refused key says where keys are looked for", async () => {
  await using door = await fakeDoor({ "POST /api/sandboxes": json(401, problemBody(new Problem("unauthenticated"), "r")) });
  await assert.rejects(Sandbox.create({ url: door.url, apiKey: "wrong" }), (error: Problem) => error.next.includes(door.url));
});

test("an address where nothing answers is engine_unavailable, named, with the command that starts it", async () => {
  const door = await fakeDoor({});
  await door[Symbol.asyncDispose]();
  await assert.rejects(Sandbox.create({ url: door.url }), (error: Problem) => {
    assert.equal(error.code, "engine_unavailable");
    assert.ok(error.message.includes(door.url));
    assert.match(error.next, /cleanroom up/);
    return true;
  });
});

test("an answer of another shape is refused, not passed on", async () => {
  await using door = await fakeDoor({ "POST /api/sandboxes": json(201, { id: 7 }) });
  await assert.rejects(Sandbox.create({ url: door.url, apiKey: "k" }), isProblem("internal"));
});

test("an aborted call rejects with the abort's reason and ends the request", async () => {
  let closed: Promise<unknown> | undefined;
  const stop = new AbortController();
  await using door = await fakeDoor({
    ...LIFE,
    [`POST /sandboxes/${ID}/processes/cmd`]: (_received, response) => {
      closed = once(response, "close");
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write('data: {"type":"start","processId":"9"}\n\n');
      response.write('data: {"type":"stdout","text":"x","offset":0}\n\n');
    },
  });
  await using box = await Sandbox.create({ url: door.url, apiKey: "k" });
  const reason = new Error("enough");
  await assert.rejects(box.commands.run("sleep 9", { signal: stop.signal, onStdout: () => stop.abort(reason) }), reason);
  await closed;
});

test("a listener that is slow holds the producer back", async () => {
  let sent = 0;
  const full = Promise.withResolvers<void>();
  const item = `data: ${JSON.stringify({ type: "stdout", text: "x".repeat(100_000) })}\n\n`;
  await using door = await fakeDoor({
    ...LIFE,
    [`POST /sandboxes/${ID}/contexts/execute`]: async (_received, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (; sent < 1000; sent += 1) {
        if (sent > 0 && response.writableNeedDrain) {
          full.resolve();
          await once(response, "drain");
        }
        response.write(item);
      }
      response.end(`data: ${JSON.stringify(END)}\n\n`);
    },
  });
  await using box = await Sandbox.create({ url: door.url, apiKey: "k" });
  const waits: number[] = [];
  const execution = await box.runCode("x", {
    onStdout: async () => {
      if (waits.length > 0) return;
      await full.promise;
      waits.push(sent);
    },
  });
  assert.ok((waits[0] ?? 1000) < 500, `the producer had sent ${waits[0]} of 1000 when the listener held it`);
  assert.equal(execution.logs.stdout.join("").length, 4 * 1024 * 1024);
  assert.equal(execution.dropped.stdout, 100_000_000 - 4 * 1024 * 1024);
});

test("a background command is a handle: waited for, read, written to, ended", async () => {
  const output = [
    { type: "stdout", text: "one", offset: 0 },
    { type: "stderr", text: "two", offset: 0 },
    { type: "end", status: "completed", exitCode: 4, executionTimeMs: 12, dropped: { stdout: 0, stderr: 0 } },
  ];
  await using door = await fakeDoor({
    ...LIFE,
    [`POST /sandboxes/${ID}/processes/cmd`]: json(200, { executionId: "e", processId: "41", status: "running", executionTimeMs: 0 }),
    [`GET /sandboxes/${ID}/processes/41/output`]: events(output),
    [`POST /sandboxes/${ID}/processes/41/stdin`]: json(204, undefined),
    [`DELETE /sandboxes/${ID}/processes/41`]: json(404, problemBody(new Problem("process_not_found"), "r")),
  });
  await using box = await Sandbox.create({ url: door.url, apiKey: "k" });
  const handle = await box.commands.run("serve", { background: true, env: { A: "1" } });
  await handle.sendStdin("hi\n", { close: true });
  assert.equal((await handle.wait()).exitCode, 4);
  assert.equal(await handle.wait(), await handle.wait());
  const read: string[] = [];
  for await (const { stream, text } of handle) read.push(`${stream} ${text}`);
  assert.deepEqual(read, ["stdout one", "stderr two"]);
  assert.equal(await handle.kill(), false);
  const stdin = door.received.find((one) => one.path.endsWith("/stdin"));
  assert.deepEqual([String(stdin?.body), stdin?.query], ["hi\n", { close: "true" }]);
});

test("files go up and come down as text, bytes, blob and stream", async () => {
  const binary = Uint8Array.from([0, 255, 10, 195, 40]);
  await using door = await fakeDoor({
    ...LIFE,
    [`GET /sandboxes/${ID}/files/content`]: bytes([binary.subarray(0, 2), binary.subarray(2)]),
    [`PUT /sandboxes/${ID}/files/content`]: (received, response) =>
      json(200, { path: "/home/user/f", size: received.body.length })(received, response),
  });
  await using box = await Sandbox.create({ url: door.url, apiKey: "k" });
  assert.deepEqual(await box.files.read("f", { format: "bytes" }), binary);
  assert.equal((await box.files.read("f", { format: "blob" })).size, 5);
  assert.deepEqual(await new Response((await box.files.read("f", { format: "stream" })) as never).bytes(), binary);
  assert.equal((await box.files.read("f")).length, 5);
  const streamed = new Blob([binary]).stream();
  for (const source of ["é", binary, new Blob([binary]), streamed]) {
    assert.ok((await box.files.write("/a b/ü", source)).size > 0);
  }
  const written = door.received.filter((one) => one.method === "PUT");
  assert.deepEqual(
    written.map((one) => one.body.length),
    [2, 5, 5, 5],
  );
  assert.equal(written[0]?.query["path"], "/a b/ü");
});

test("an artifact whose bytes are not what was kept is refused and no file appears", async () => {
  const about = {
    id: "a1",
    name: "s.md",
    version: 1,
    kind: "file",
    hold: false,
    sizeBytes: 5,
    mediaType: "text/markdown",
    sandboxId: ID,
    taskId: "t",
    path: "/s.md",
    createdAt: "2026-01-01T00:00:00.000Z",
  };
  const replies = (kept: string): Record<string, Reply> => ({
    "GET /api/artifacts/a1": json(200, { ...about, sha256: createHash("sha256").update(kept).digest("hex") }),
    "POST /api/artifacts/a1/link": json(201, { url: "/artifacts/a1/content?expires=1&ticket=t", expiresAt: about.createdAt }),
    "GET /artifacts/a1/content": bytes(["hel", "lo"]),
  });
  await using dir = await tempDir();
  await using right = await fakeDoor(replies("hello"));
  assert.equal(await Artifacts.download("a1", { url: right.url, apiKey: "k", format: "text" }), "hello");
  assert.equal(right.received.at(-1)?.headers["authorization"], undefined);
  await using wrong = await fakeDoor(replies("other"));
  const file = join(dir.path, "s.md");
  await assert.rejects(Artifacts.save("a1", file, { url: wrong.url, apiKey: "k" }), isProblem("internal"));
  await writeFile(file, "free", { flag: "wx" });
});

test("a list reads every page, and only as far as it is asked", async () => {
  const pages = [{ items: [sandboxInfo("box-1"), sandboxInfo("box-2")], next: "box-2" }, { items: [sandboxInfo("box-3")] }];
  await using door = await fakeDoor({
    "GET /api/sandboxes": (received, response) => json(200, received.query["after"] ? pages[1] : pages[0])(received, response),
  });
  const options = { url: door.url, apiKey: "k", state: "ready", metadata: { key: "job", value: "7" } } as const;
  const ids: string[] = [];
  for await (const info of Sandbox.list(options)) ids.push(info.id);
  assert.deepEqual(ids, ["box-1", "box-2", "box-3"]);
  assert.deepEqual(
    door.received.map((one) => one.query["after"]),
    [undefined, "box-2"],
  );
  assert.equal(door.received[0]?.query["metadata"], "job=7");
  for await (const info of Sandbox.list(options)) {
    assert.equal(info.id, "box-1");
    break;
  }
  assert.equal(door.received.length, 3);
});
