import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { MCP_TOOLS } from "#contract/mcp.ts";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { allBoxes, makeBox } from "#support/box.ts";
import { type Door, newTenant, openDoor, type Tenant } from "#support/door.ts";
import { connectMcp, useTool } from "#support/mcp-client.ts";
import { endedSpans } from "#support/spans.ts";
import { until } from "#support/until.ts";

const TEMPLATE = "/templates/code-interpreter/mcp";
const BOUND = { timeout: 120_000 };
const OFFERED = [...MCP_TOOLS.code, ...MCP_TOOLS.terminal];
let door: Door;
let tenant: Tenant;

before(async () => {
  door = await openDoor();
  tenant = await newTenant(door);
  // The first sandbox of a server takes longer than a client waits on a busy machine.
  await using _first = await makeBox(await newTenant(door));
});
after(() => door[Symbol.asyncDispose]());

const living = async () => (await allBoxes(tenant)).filter(({ state }) => state === "ready");

test("a session has a sandbox of its own from the first tool on, which keeps its variables and ends with it", BOUND, async () => {
  const session = await connectMcp(door.origin, tenant, TEMPLATE);
  const { client } = session;
  const { tools } = await client.listTools();
  assert.deepEqual(
    tools.map(({ name }) => name),
    OFFERED,
  );
  assert.deepEqual(await living(), [], "to list is not to need one");
  assert.equal((await useTool(client, "run_code", { code: "x = 20" })).value["status"], "ok");
  const second = await useTool(client, "run_code", { code: "print('said'); x + 1" });
  assert.match(second.words, /^said\n\n?21$/);
  assert.deepEqual(second.value["results"], [{ text: "21", mediaTypes: ["text/plain"] }]);
  const [box, ...more] = await living();
  assert.ok(box);
  assert.equal(more.length, 0);
  const spans = await endedSpans(tenant, box.id, "tool", 2);
  for (const { name, status, input } of spans) assert.deepEqual([name, status, input?.digest?.length], ["run_code", "ok", 64]);
  await session[Symbol.asyncDispose]();
  assert.deepEqual(await living(), []);
  assert.equal((await tenant.json<{ endReason: string }>("GET", `/api/sandboxes/${box.id}`)).endReason, "deleted");
});

test("two sessions do not meet", BOUND, async () => {
  await using one = await connectMcp(door.origin, tenant, TEMPLATE);
  await using other = await connectMcp(door.origin, tenant, TEMPLATE);
  await Promise.all([one, other].map(({ client }, at) => useTool(client, "write_file", { path: "mine", content: `${at}` })));
  assert.equal((await useTool(one.client, "read_file", { path: "mine" })).value["content"], "0");
  assert.equal((await useTool(other.client, "read_file", { path: "mine" })).value["content"], "1");
  assert.equal((await living()).length, 2);
});

test("a figure is an image, and what is no image is none, whatever it is called", BOUND, async () => {
  await using box = await makeBox(tenant);
  await using session = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`);
  const drawn = await useTool(session.client, "run_code", {
    code: "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.savefig('plot.png')\nplt.show()",
  });
  assert.equal(drawn.images.length, 1);
  assert.equal(drawn.images[0]?.mimeType, "image/png");
  assert.match(drawn.images[0]?.data ?? "", /^iVBORw0KGgo/);
  const shown = await useTool(session.client, "read_file", { path: "plot.png" });
  assert.equal(shown.images[0]?.mimeType, "image/png");
  const posed = await useTool(session.client, "run_code", {
    code: "from IPython.display import display\nclass P:\n  def _repr_png_(self): return b'not a png at all'\nP()",
  });
  assert.deepEqual(posed.images, []);
});

test("files are written, listed, described, moved, brought in pieces and removed", BOUND, async () => {
  await using box = await makeBox(tenant);
  await using session = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`);
  const use = (name: string, args: Record<string, unknown>) => useTool(session.client, name, args);
  assert.equal((await use("write_file", { path: "a/b.txt", content: "grüße" })).value["size"], 7);
  assert.match((await use("file_system_list", { path: "a" })).words, /\/home\/user\/a\/b\.txt \(7 bytes\)/);
  assert.equal(((await use("file_system_stat", { path: "a/b.txt" })).value["entry"] as { type: string }).type, "file");
  const first = await use("read_file", { path: "a/b.txt", limit: 3 });
  assert.equal(first.value["content"], "gr", "a piece ends with a whole character");
  const rest = await use("read_file", { path: "a/b.txt", offset: first.value["next"] });
  assert.equal(rest.value["content"], "üße");
  assert.equal((await use("read_file", { path: "a/b.txt", offset: 7 })).value["content"], "");
  await use("file_system_upload", { path: "bytes", content: Buffer.from([0, 255, 1, 254]).toString("base64") });
  const brought = await use("file_system_download", { path: "bytes", offset: 1, length: 2 });
  const part = brought.content.find((one) => one.type === "resource");
  assert.ok(part?.type === "resource" && "blob" in part.resource);
  assert.deepEqual([...Buffer.from(part.resource.blob, "base64")], [255, 1]);
  assert.equal(brought.value["next"], 3);
  assert.match((await use("read_file", { path: "bytes" })).words, /is not text.*file_system_download/s);
  await use("file_system_mkdir", { path: "c" });
  await use("file_system_move", { source: "bytes", destination: "c/bytes" });
  await use("file_system_remove", { path: "c" });
  const gone = await use("read_file", { path: "c/bytes" });
  assert.ok(gone.isError);
  assert.equal(gone.problem?.code, "file_not_found");
});

test("interpreters and processes are made, read and ended", BOUND, async () => {
  await using box = await makeBox(tenant);
  await using session = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`);
  const use = (name: string, args: Record<string, unknown> = {}) => useTool(session.client, name, args);
  assert.equal((await use("health")).value["status"], "ok");
  const { id } = (await use("create_context", { language: "javascript" })).value;
  assert.match((await use("run_code", { contextId: id, code: "const y = 2; y * 21" })).words, /42/);
  assert.equal((await use("get_context", { contextId: id })).value["language"], "javascript");
  assert.ok(((await use("list_contexts")).value["contexts"] as { id: string }[]).some((context) => context.id === id));
  assert.equal((await use("delete_context", { contextId: id })).value["deleted"], true);
  const failing = await use("process_exec_cmd", { command: "echo out; echo err >&2; exit 3" });
  assert.ok(!failing.isError, "a number other than 0 is an answer");
  assert.match(failing.words, /^out\n\n?\[stderr\]\nerr\n\n?\[exit code 3\]$/);
  const { processId } = (await use("process_exec_cmd", { command: "echo begun; sleep 100", background: true })).value;
  await until("its output is kept", async () => (await use("process_stat", { processId })).value["stdout"] === "begun\n");
  assert.ok(((await use("process_list")).value["items"] as { processId: string }[]).some((one) => one.processId === processId));
  assert.equal((await use("process_kill", { processId })).value["stopped"], true);
  assert.match((await use("process_tty", { command: "test -t 1 && tput cols", cols: 123 })).words, /123/);
});

test("what goes wrong in the work is a result that says what to do next", BOUND, async () => {
  await using box = await makeBox(tenant);
  await using session = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`);
  const raised = await useTool(session.client, "run_code", { code: "z = 1\n1/0" });
  assert.ok(raised.isError);
  assert.match(raised.words, /ZeroDivisionError[\s\S]*\[error\] Correct the code/);
  const slow = await useTool(session.client, "run_code", { code: "import time; time.sleep(60)", timeout: 0.5 });
  assert.ok(slow.isError);
  assert.match(slow.words, /\[timeout\].*Raise `timeout`/);
  const long = await useTool(session.client, "run_code", { code: "print('a' * 1_000_000)" });
  assert.match(long.words, /\[… \d+ characters left out …\]/);
  assert.ok(long.words.length < 100_000);
  const wrong = await useTool(session.client, "run_code", { kode: "1", timeout: -1 });
  assert.ok(wrong.isError);
  for (const named of [/code/, /kode/, /timeout/]) assert.match(wrong.words, named);
  await assert.rejects(useTool(session.client, "make_coffee"), /make_coffee/);
});

test("long work tells how it gets on, and a cancelled call stops it", BOUND, async () => {
  await using box = await makeBox(tenant);
  for (const sessions of [true, false]) {
    await using connected = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`, { sessions });
    const { client } = connected;
    const heard: { progress: number; message?: string | undefined }[] = [];
    const cancelled = new AbortController();
    const code = "import time\nfor i in range(1000):\n  print('step', i, flush=True)\n  time.sleep(0.05)";
    const run = useTool(
      client,
      "run_code",
      { code, timeout: 100 },
      {
        onprogress: (progress) => {
          heard.push(progress);
          if (heard.length === 3) cancelled.abort("enough");
        },
        signal: cancelled.signal,
      },
    );
    await assert.rejects(run);
    assert.ok(heard.length >= 3);
    assert.match(heard[0]?.message ?? "", /step 0/);
    assert.ok(heard.every(({ progress }, at) => at === 0 || progress > (heard[at - 1]?.progress ?? 0)));
    const startedAtMs = performance.now();
    assert.match((await useTool(client, "run_code", { code: "print('free', i < 900)" })).words, /free True/);
    assert.ok(performance.now() - startedAtMs < 20_000, "the interpreter was busy no more");
    const command = useTool(
      client,
      "process_exec_cmd",
      { command: "echo $$ > pid; sleep 60; touch finished", timeout: 100 },
      {
        signal: AbortSignal.timeout(1500),
      },
    );
    await assert.rejects(command);
    await until("the command has been ended", async () => {
      const { value } = await useTool(client, "process_exec_cmd", { command: "kill -0 $(cat pid) 2>&1" });
      return value["exitCode"] !== 0;
    });
  }
});

test(
  "without sessions a sandbox is made by a tool and named in each call, or one belongs to the key that a client sends",
  BOUND,
  async () => {
    await using named = await connectMcp(door.origin, tenant, TEMPLATE, { sessions: false });
    assert.equal(named.client.getNegotiatedProtocolVersion(), "2026-07-28");
    const missing = await useTool(named.client, "run_code", { code: "1" });
    assert.match(missing.words, /sandbox/);
    assert.ok(missing.isError);
    const { sandbox } = (await useTool(named.client, "create_sandbox")).value;
    await useTool(named.client, "run_code", { sandbox, code: "kept = 7" });
    assert.match((await useTool(named.client, "run_code", { sandbox, code: "kept" })).words, /7/);
    assert.equal((await useTool(named.client, "end_sandbox", { sandbox })).value["state"], "ended");
    const late = await useTool(named.client, "run_code", { sandbox, code: "kept" });
    assert.equal(late.problem?.code, "sandbox_ended");

    const headers = { "cleanroom-session": "conversation-1" };
    await using first = await connectMcp(door.origin, tenant, TEMPLATE, { sessions: false, headers });
    await using second = await connectMcp(door.origin, tenant, TEMPLATE, { sessions: true, headers });
    await useTool(first.client, "run_code", { code: "shared = 8" });
    assert.match((await useTool(second.client, "run_code", { code: "shared" })).words, /8/);
    assert.ok(!(await first.client.listTools()).tools.some(({ name }) => name === "create_sandbox"));
    const [box] = await living();
    await tenant.json("DELETE", `/api/sandboxes/${box?.id}`);
    const told = await useTool(first.client, "run_code", { code: "shared" });
    assert.match(told.words, /has ended \(deleted\).*fresh sandbox/s);
    assert.match((await useTool(first.client, "run_code", { code: "'shared' in globals()" })).words, /False/);
    for (const { id } of await living()) await tenant.json("DELETE", `/api/sandboxes/${id}`);
  },
);

test("a template's owner chooses its tools, stops its server and activates it again, by both APIs", BOUND, async () => {
  const { name } = await tenant.json<{ name: string }>("POST", "/api/templates", { name: "chosen" }, 201);
  const path = `/templates/${name}/mcp`;
  const shown = await tenant.json<{ active: boolean; tools: string[]; endpoint: string }>("GET", `/api/templates/${name}/mcp`);
  assert.ok(shown.active);
  assert.equal(shown.tools.length, OFFERED.length);
  await using session = await connectMcp(door.origin, tenant, path);
  await tenant.json("PATCH", `/2025-09-10/templates/${name}/mcp/activate`, { enabledTools: ["read_file"], transport: "streamable-http" });
  assert.deepEqual(
    (await session.client.listTools({}, { cacheMode: "refresh" })).tools.map((tool) => tool.name),
    ["read_file"],
  );
  await assert.rejects(useTool(session.client, "run_code", { code: "1" }), /run_code/);
  await using box = await makeBox(tenant, { template: name });
  await using inside = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`, { sessions: false });
  await assert.rejects(useTool(inside.client, "run_code", { code: "1" }), /run_code/);
  const answer = await tenant.json<{ data: { mcpState: { status: string; accessEndpoint: string }; mcpOptions: object } }>(
    "PATCH",
    `/2025-09-10/templates/${name}/mcp/stop`,
  );
  assert.equal(answer.data.mcpState.status, "STOPPED");
  assert.equal(answer.data.mcpState.accessEndpoint, shown.endpoint);
  await assert.rejects(connectMcp(door.origin, tenant, path), /stopped.*Activate it/s);
  await assert.rejects(inside.client.listTools({}, { cacheMode: "refresh" }), /stopped/);
  await tenant.json("PATCH", `/api/templates/${name}/mcp`, { active: true, enabledTools: null });
  assert.equal((await session.client.listTools({}, { cacheMode: "refresh" })).tools.length, OFFERED.length);
  const unknown = await tenant.send("PATCH", `/api/templates/${name}/mcp`, { enabledTools: ["read_file", "make_coffee"] });
  assert.equal(unknown.status, 400);
  assert.match(await unknown.text(), /make_coffee/);
});

test("the command line serves the same tools to an agent of this machine, in both revisions; its sandbox ends with it", BOUND, async () => {
  const agent = await newTenant(door);
  for (const mode of ["legacy", { pin: "2026-07-28" }] as const) {
    const client = new Client({ name: "agent", version: "1" }, { versionNegotiation: { mode } });
    const env = { PATH: process.env["PATH"] ?? "", CLEANROOM_URL: door.origin, CLEANROOM_API_KEY: agent.key.apiKey };
    await client.connect(new StdioClientTransport({ command: process.execPath, args: ["cli/main.ts", "mcp"], env, stderr: "inherit" }));
    assert.equal((await client.listTools()).tools.length, OFFERED.length);
    await useTool(client, "run_code", { code: "here = 5" });
    assert.match((await useTool(client, "run_code", { code: "here" })).words, /5/);
    assert.equal((await allBoxes(agent, "&state=ready")).length, 1);
    const cancelled = new AbortController();
    const heard = () => cancelled.abort();
    const code = "import time\nwhile True:\n  print('on', flush=True)\n  time.sleep(0.1)";
    await assert.rejects(useTool(client, "run_code", { code, timeout: 100 }, { onprogress: heard, signal: cancelled.signal }));
    assert.match((await useTool(client, "run_code", { code: "here" })).words, /5/, "what was cancelled runs no more");
    await client.close();
    await until("its sandbox has ended", async () => (await allBoxes(agent, "&state=ready")).length === 0);
  }
});

test("a refusal reaches the agent at the command line as an answer", BOUND, async () => {
  const client = new Client({ name: "agent", version: "1" });
  const env = { PATH: process.env["PATH"] ?? "", CLEANROOM_URL: door.origin, CLEANROOM_API_KEY: tenant.key.apiKey };
  const transport = new StdioClientTransport({ command: process.execPath, args: ["cli/main.ts", "mcp", "--template", "none-such"], env });
  await assert.rejects(client.connect(transport), /none-such not found/);
  await client.close();
});
