import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import * as z from "zod";
import { AgentrunSandbox } from "#contract/agentrun-sandbox.ts";
import { Context, Execution } from "#contract/context.ts";
import { FileContent, FileEntry } from "#contract/file.ts";
import { CommandAnswer, Process, ProcessDetail } from "#contract/process.ts";
import { checkHealth } from "#contract/workspace.ts";
import {
  bodyOf,
  controlWire,
  dataOf,
  dataWire,
  failureOf,
  sendWire,
  uploadForm,
  type Answer,
  type Credential,
  type Wire,
} from "#support/agentrun-client.ts";
import { newTenant, openDoor } from "#support/door.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const { key } = await newTenant(door);

const Written = z.object({ path: z.string(), size: z.int() });
const Listing = z.object({ path: z.string(), entries: z.array(FileEntry) });
const Entry = z.object({ entry: FileEntry });
const CREDENTIALS: [string, Credential][] = [
  ["an access token", { token: key.apiKey }],
  ["a signature", { signature: key }],
  ["the key in the endpoint's path and an empty token", { prefix: key.apiKey }],
  ["a signature over a path with the key in it", { signature: key, prefix: key.apiKey }],
];

const by = (credential: Credential) => (method: string, path: string, body?: unknown) =>
  sendWire(dataWire(door, credential, method, path, body));
const call = by({ signature: key });

type Call = (method: string, path: string, body?: unknown) => Promise<Answer>;

/** A sandbox of the test's own, and calls below it; deleted when the test is over. */
async function ownSandbox(send: Call = call) {
  const { sandboxId: id } = dataOf(
    AgentrunSandbox,
    await send("POST", "/sandboxes", { templateName: "code-interpreter", sandboxIdleTimeoutSeconds: 600 }),
  );
  const inside: Call = (method, path, body) => send(method, `/sandboxes/${id}${path}`, body);
  return { id, inside, [Symbol.asyncDispose]: async () => void (await send("DELETE", `/sandboxes/${id}`)) };
}

for (const [what, credential] of CREDENTIALS) {
  test(`with ${what} a sandbox is made, used, stopped and deleted as the SDKs do it`, async () => {
    const send = by(credential);
    const made = dataOf(
      AgentrunSandbox,
      await send("POST", "/sandboxes", { templateName: "code-interpreter", sandboxIdleTimeoutSeconds: 600 }),
    );
    assert.partialDeepStrictEqual(made, {
      templateName: "code-interpreter",
      templateType: "CodeInterpreter",
      status: "READY",
      sandboxIdleTimeoutInSeconds: 600,
    });
    const path = `/sandboxes/${made.sandboxId}`;
    assert.equal(dataOf(AgentrunSandbox, await send("GET", path)).sandboxId, made.sandboxId);
    assert.equal(bodyOf(checkHealth.returns, await send("GET", `${path}/health`)).status, "ok");
    assert.equal(bodyOf(Execution, await send("POST", `${path}/contexts/execute`, { code: "print(6 * 7)" })).stdout, "42\n");
    const stopped = dataOf(AgentrunSandbox, await send("POST", `${path}/stop`));
    assert.equal(stopped.status, "TERMINATED");
    assert.deepEqual(dataOf(AgentrunSandbox, await send("POST", `${path}/stop`)), stopped);
    assert.ok(failureOf(await send("GET", `${path}/health`)).status >= 400);
    assert.equal(dataOf(AgentrunSandbox, await send("DELETE", path)).sandboxId, made.sandboxId);
  });
}

test("both planes share one table of sandboxes", async () => {
  const made = dataOf(AgentrunSandbox, await sendWire(controlWire(door, key, "POST", "/sandboxes", { templateName: "code-interpreter" })));
  assert.deepEqual(dataOf(AgentrunSandbox, await call("GET", `/sandboxes/${made.sandboxId}`)), made);
  dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${made.sandboxId}`));
  assert.equal(failureOf(await sendWire(controlWire(door, key, "GET", `/sandboxes/${made.sandboxId}`))).status, 404);
});

test("a trailing slash is tolerated where the Node SDK sends one", async () => {
  const made = dataOf(
    AgentrunSandbox,
    await call("POST", "/sandboxes/", { templateName: "code-interpreter", sandboxId: `e2e-${Date.now()}` }),
  );
  assert.match(made.sandboxId, /^e2e-/);
  dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${made.sandboxId}`));
});

test("a missing, a deleted and another project's sandbox are all missing, in a phrase the Python SDK reads as a client error", async () => {
  const other = by({ signature: (await newTenant(door)).key });
  await using living = await ownSandbox();
  const { sandboxId: deleted } = dataOf(AgentrunSandbox, await call("POST", "/sandboxes", { templateName: "code-interpreter" }));
  dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${deleted}`));
  const cases: [Call, string][] = [
    [call, "nonexistent-sandbox-xyz-12345"],
    [call, deleted],
    [other, living.id],
  ];
  for (const [send, id] of cases) {
    for (const [method, rest] of [
      ["GET", ""],
      ["POST", "/stop"],
      ["DELETE", ""],
    ] as const) {
      const missing = failureOf(await send(method, `/sandboxes/${id}${rest}`));
      assert.deepEqual([missing.status, missing.code, missing.message], [404, "ERR_NOT_FOUND", `sandbox not exist: ${id}`]);
      assert.doesNotMatch(missing.message, /not found|does not exist/);
    }
  }
  const reached = failureOf(await other("POST", `/sandboxes/${living.id}/contexts/execute`, { code: "1" }));
  assert.equal(reached.status, 404);
  assert.equal(dataOf(AgentrunSandbox, await call("GET", `/sandboxes/${living.id}`)).status, "READY");
});

test("a template that does not exist makes no sandbox", async () => {
  const refused = failureOf(await call("POST", "/sandboxes", { templateName: "none-such" }));
  assert.deepEqual([refused.status, refused.message], [404, "template not exist: none-such"]);
});

test("contexts keep their state apart, and an id of the client's own makes one", async () => {
  await using box = await ownSandbox();
  const made = bodyOf(Context, await box.inside("POST", "/contexts", { language: "python", cwd: "/home/user" }));
  assert.partialDeepStrictEqual(made, { language: "python", cwd: "/home/user" });
  const run = async (code: string, fields: object) =>
    bodyOf(Execution, await box.inside("POST", "/contexts/execute", { code, timeout: 30, ...fields }));
  await run("x = 41", { contextId: made.id });
  const kept = await run("x + 1", { contextId: made.id });
  assert.equal(kept.contextId, made.id);
  const result = kept.results.find((item) => item.type === "result");
  assert.deepEqual([result?.text, result?.data["text/plain"]], ["42", "42"]);
  assert.partialDeepStrictEqual(kept.results.at(-1), { type: "endOfExecution", status: "ok" });
  assert.equal((await run("x = 'preserved'; print(x)", { contextId: "ctx-a" })).stdout, "preserved\n");
  assert.equal((await run("console.log(1 + 1)", { language: "javascript" })).stdout, "2\n");

  const listed = bodyOf(z.array(Context), await box.inside("GET", "/contexts"));
  for (const id of [made.id, "ctx-a"]) assert.ok(listed.some((context) => context.id === id));
  assert.deepEqual(bodyOf(Context, await box.inside("GET", `/contexts/${made.id}`)), made);
  const deleted = await box.inside("DELETE", `/contexts/${made.id}`);
  assert.deepEqual([deleted.status, deleted.bytes.length], [204, 0]);
  assert.equal(failureOf(await box.inside("GET", `/contexts/${made.id}`)).status, 404);
});

test("code that fails is a result and no failure of the call", async () => {
  await using box = await ownSandbox();
  const failed = bodyOf(
    Execution,
    await box.inside("POST", "/contexts/execute", { code: "import sys\nprint('a')\nprint('b', file=sys.stderr)\n1/0" }),
  );
  assert.deepEqual(
    failed.results.map((item) => item.type),
    ["stdout", "stderr", "error", "endOfExecution"],
  );
  assert.partialDeepStrictEqual(failed.results.at(-1), { status: "error" });
  assert.equal(failed.stdout, "a\n");
  assert.notEqual(failed.exitCode, 0);
});

test("code is cut off at its time-out, and the call says so", async () => {
  await using box = await ownSandbox();
  const cut = bodyOf(
    Execution,
    await box.inside("POST", "/contexts/execute", { code: "import time\nprint('in', flush=True)\ntime.sleep(60)", timeout: 1 }),
  );
  assert.partialDeepStrictEqual(cut.results.at(-1), { type: "endOfExecution", status: "timeout" });
  assert.equal(cut.stdout, "in\n");
});

test("files are written and read at the root and at home, as text and as bytes", async () => {
  await using box = await ownSandbox();
  for (const path of [`/test-file-${Date.now()}.txt`, `/workflow-${Date.now()}/data.txt`, "/home/user/.т x.bin"]) {
    const written = bodyOf(
      Written,
      await box.inside("POST", "/files", { path, content: "héllo", mode: "644", encoding: "utf-8", createDir: true }),
    );
    assert.deepEqual(written, { path, size: 6 });
    const read = bodyOf(FileContent, await box.inside("GET", `/files?path=${encodeURIComponent(path)}`));
    assert.partialDeepStrictEqual(read, { path, type: "file", size: 6, content: "héllo", encoding: "utf-8" });
  }
  const bytes = randomBytes(1000).toString("base64");
  bodyOf(Written, await box.inside("POST", "/files", { path: "/home/user/b", content: bytes, encoding: "base64" }));
  assert.partialDeepStrictEqual(bodyOf(FileContent, await box.inside("GET", "/files?path=/home/user/b")), {
    content: bytes,
    encoding: "base64",
  });
  const missing = failureOf(await box.inside("GET", "/files?path=/home/user/none-such"));
  assert.equal(missing.status, 404);
});

test("directories are made, listed, described, moved and removed, twice as well as once", async () => {
  await using box = await ownSandbox();
  const path = `/dir-${Date.now()}`;
  const entry = async (action: string, body: object) =>
    bodyOf(Entry.partial(), await box.inside("POST", `/filesystem/${action}`, body)).entry;
  for (const _ of [1, 2])
    assert.partialDeepStrictEqual(await entry("mkdir", { path: `${path}/a/b`, parents: true, mode: "0755" }), { type: "directory" });
  const listed = bodyOf(Listing, await box.inside("GET", `/filesystem?depth=2&path=${encodeURIComponent(path)}`));
  assert.deepEqual(listed.entries.map((one) => one.path).toSorted(), [`${path}/a`, `${path}/a/b`]);
  assert.partialDeepStrictEqual(await entry("move", { source: `${path}/a/b`, destination: `${path}/c` }), { path: `${path}/c` });
  assert.equal(bodyOf(Entry, await box.inside("GET", `/filesystem/stat?path=${path}/c`)).entry.name, "c");
  for (const _ of [1, 2]) await entry("remove", { path });
  assert.equal(failureOf(await box.inside("GET", `/filesystem/stat?path=${path}`)).status, 404);
});

test("what is uploaded by form is what is downloaded", async () => {
  await using box = await ownSandbox();
  const content = randomBytes(1_000_000);
  const form = uploadForm("/home/user/up load.bin", "up load.bin", content);
  const wire = dataWire(door, { signature: key }, "POST", `/sandboxes/${box.id}/filesystem/upload`, form.body);
  wire.headers["content-type"] = form.contentType;
  assert.deepEqual(bodyOf(Written, await sendWire(wire)), { path: "/home/user/up load.bin", size: content.length });
  const down = await box.inside("GET", "/filesystem/download?path=%2Fhome%2Fuser%2Fup+load.bin");
  assert.equal(down.status, 200);
  assert.match(String(down.headers["content-disposition"]), /up/);
  assert.ok(down.bytes.equals(content));
});

test("commands run, are cut off at their time-out, and processes are listed, read and ended", async () => {
  await using box = await ownSandbox();
  const run = async (body: object) => bodyOf(CommandAnswer, await box.inside("POST", "/processes/cmd", { cwd: "/home/user", ...body }));
  const done = await run({ command: "echo out; echo err >&2; pwd; exit 3", timeout: 30 });
  assert.equal(done.status, "completed");
  assert.partialDeepStrictEqual(done.result, { exitCode: 3, stdout: "out\n/home/user\n", stderr: "err\n", cwd: "/home/user" });
  const cut = await run({ command: "echo in; sleep 60", timeout: 1 });
  assert.partialDeepStrictEqual(cut, { status: "timeout", result: { exitCode: 124, stdout: "in\n" } });

  const { processId } = await run({ command: "sleep 300", background: true });
  const listed = bodyOf(z.object({ items: z.array(Process), total: z.int() }), await box.inside("GET", "/processes"));
  assert.ok(listed.items.some((item) => item.processId === processId));
  assert.equal(bodyOf(ProcessDetail, await box.inside("GET", `/processes/${processId}`)).working_dir, "/home/user");
  assert.equal(bodyOf(ProcessDetail, await box.inside("GET", "/processes/1")).processId, "1");
  assert.equal(
    bodyOf(z.object({ pid: z.string(), stopped: z.boolean() }), await box.inside("DELETE", `/processes/${processId}`)).stopped,
    true,
  );
});

const signed = (now = Date.now()) => dataWire(door, { signature: key }, "GET", "/sandboxes/none-such?path=/a", undefined, now);
const FORGED: [string, () => Wire, number][] = [
  ["another secret", () => dataWire(door, { signature: { ...key, accessKeySecret: "another" } }, "GET", "/sandboxes/none-such"), 403],
  ["an altered path", () => ({ ...signed(), path: "/sandboxes/none-such?path=/b" }), 403],
  ["another method", () => ({ ...signed(), method: "DELETE" }), 403],
  ["a date 16 minutes ago", () => signed(Date.now() - 960_000), 403],
  ["a date 16 minutes ahead", () => signed(Date.now() + 960_000), 403],
  ["an unknown key", () => dataWire(door, { signature: { ...key, accessKeyId: "nobody" } }, "GET", "/sandboxes/none-such"), 401],
  ["an empty token without more", () => dataWire(door, { token: "" }, "GET", "/sandboxes/none-such"), 401],
  ["a token that nobody gave", () => dataWire(door, { token: "cr_nobody_secret" }, "GET", "/sandboxes/none-such"), 401],
  ["a wrong key in the path", () => dataWire(door, { prefix: "cr_nobody_secret" }, "GET", "/sandboxes/none-such"), 401],
];
for (const [what, wire, status] of FORGED) {
  test(`${what} does not pass on the data plane`, async () => {
    const refused = failureOf(await sendWire(wire()));
    assert.equal(refused.status, status, refused.message);
    assert.equal(refused.code, status === 401 ? "InvalidAccessKey" : "ERR_FORBIDDEN");
  });
}

test("an error under a sandbox is said where both SDKs look for it", async () => {
  await using box = await ownSandbox();
  const failure = failureOf(await box.inside("GET", "/files?path=/home/user/none-such"));
  assert.partialDeepStrictEqual(failure, { status: 404, code: "file_not_found" });
  assert.match(failure.message, /none-such/);
  assert.match(failure.requestId, /./);
});
