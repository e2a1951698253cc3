import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { LIMITS } from "#contract/limits.ts";
import { Trace } from "#contract/span.ts";
import { SENDER } from "#support/otlp-sender.ts";
import { until } from "#support/until.ts";
import { proves, type Range } from "#support/range.ts";

const cli = ({ door, tenant }: Range, given: string[]) =>
  promisify(execFile)(process.execPath, ["cli/main.ts", ...given], {
    env: { ...process.env, CLEANROOM_URL: door.origin, CLEANROOM_API_KEY: tenant.key.apiKey },
  });

proves("R1", "a stranger and a token for one sandbox read neither traces nor the audit log", async (range) => {
  const { tenant, sandboxId, stranger, door, send } = range;
  await send("POST", "/processes/cmd", { command: "echo our-own-doing" });
  const paths = [
    `/api/tasks/${sandboxId}/trace`,
    `/api/tasks/${sandboxId}/replay`,
    `/api/spans?sandboxId=${sandboxId}`,
    `/api/spans?taskId=${sandboxId}`,
  ];
  const other = await stranger();
  for (const path of paths) {
    assert.match(await (await tenant.send("GET", path)).text(), /runCommand/, "the owner sees it");
    const answer = await other.send("GET", path);
    assert.equal(answer.status, 404, path);
    assert.doesNotMatch(await answer.text(), /runCommand/);
  }
  assert.equal((await other.send("DELETE", `/api/tasks/${sandboxId}/trace`)).status, 404);
  // Who tried in vain finds its own trying, with what it asked for; who did not finds nothing.
  const third = await stranger();
  for (const path of ["/api/audit", "/api/audit/export", "/api/spans"]) {
    assert.match(await (await tenant.send("GET", path)).text(), new RegExp(sandboxId), path);
    assert.doesNotMatch(await (await third.send("GET", path)).text(), new RegExp(sandboxId), path);
  }
  const minted = await tenant.json<{ data: { accessToken: string } }>(
    "GET",
    `/2025-09-10/agents/accessToken?resourceType=sandbox&resourceId=${sandboxId}`,
  );
  const token = minted.data.accessToken;
  const ask = (path: string) => fetch(door.origin + path, { headers: { "agentrun-access-token": token } });
  assert.equal((await ask(`/sandboxes/${sandboxId}/files?path=/etc/hostname`)).status, 200, "the token is good for its sandbox");
  for (const path of [...paths, "/api/audit", "/api/audit/export", "/api/audit/head", "/api/audit/anchors", "/api/spans"])
    assert.equal((await ask(path)).status, 403, path);
  assert.match(
    await (await tenant.send("GET", "/api/audit?decision=deny")).text(),
    /exportAudit/,
    "what was tried in vain is written down",
  );
});

proves("R2", "no header makes a record of somebody else's doing, and text in one does nothing", async ({ tenant, stranger }) => {
  const other = await stranger();
  const lie = '{"seq":1,"prev":"0"}<script>';
  const headers = {
    "cleanroom-on-behalf-of": lie,
    "x-forwarded-for": "203.0.113.9",
    traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
    "x-cleanroom-actor": other.key.accessKeyId,
    "x-request-id": "forged",
  };
  await (await tenant.send("POST", "/api/tasks", { id: "one" }, headers)).text();
  const { items } = await tenant.json<{ items: Record<string, unknown>[] }>("GET", "/api/audit?action=createTask");
  assert.equal(items.length, 2);
  for (const record of items) {
    assert.deepEqual(record["actor"], { kind: "key", id: tenant.key.accessKeyId });
    assert.equal(record["onBehalfOf"], lie, "its word is kept as its word");
    assert.notEqual(record["requestId"], "forged");
    assert.notEqual(record["remoteAddress"], "203.0.113.9");
  }
  assert.doesNotMatch(await (await other.send("GET", "/api/audit")).text(), /createTask/);
});

const FORGED = (other: { traceId: string; spanId: string }) => `
mine = own_place()
print(send([
    span("1" * 16, name="honest"),
    span("2" * 16, name="of another task", traceId="${other.traceId}", parentSpanId="${other.spanId}"),
    span("3" * 16, name="of nobody", parentSpanId="9" * 16),
    span("4" * 16, name="circle", parentSpanId="5" * 16), span("5" * 16, name="circle", parentSpanId="4" * 16),
    span(mine["parentSpanId"], name="in its place"),
    span("6" * 16, name="long ago", startTimeUnixNano="1", endTimeUnixNano=str(2**62)),
    span("7" * 16, name="\\x1b]0;owned\\x07<script>\\u202e{{7*7}}' OR 1=1 --", attributes=[{"key": "__proto__", "value": {"stringValue": "x"}}, {"key": "cleanroom.source", "value": {"stringValue": "platform"}}]),
]))`;

proves("R3", "what a sandbox says of itself is never taken for what was measured, nor for anything of another task", async (range) => {
  const { tenant, sandboxId, neighbour, send } = range;
  const theirs = await neighbour();
  await theirs.inside("true");
  const traceOf = async (id: string) => Trace.parse(await tenant.json("GET", `/api/tasks/${id}/trace`));
  const theirCommand = (await traceOf(theirs.sandboxId)).spans.find(({ kind }) => kind === "command") ?? assert.fail();
  await send("POST", "/contexts/execute", { code: SENDER + FORGED(theirCommand) });
  const trace = await traceOf(sandboxId);
  const life = trace.spans.find(({ kind, name }) => kind === "sandbox" && name.startsWith("sandbox "));
  const execute = trace.spans.find(({ kind }) => kind === "execute") ?? assert.fail();
  const said = new Map(trace.spans.filter(({ source }) => source === "sandbox").map((span) => [span.name, span]));
  assert.equal(said.get("honest")?.parentSpanId, execute.spanId, "what does not lie is where it says");
  for (const [name, ...notes] of [
    ["of another task", "trace_foreign", "parent_unknown"],
    ["of nobody", "parent_unknown"],
  ] as const) {
    assert.equal(said.get(name)?.parentSpanId, life?.spanId, name);
    assert.deepEqual(said.get(name)?.notes, notes);
  }
  assert.ok(said.get("circle")?.parentSpanId);
  assert.deepEqual(said.get("in its place")?.notes, ["id_taken"]);
  assert.equal(execute.name, "execute", "what was measured stands");
  assert.deepEqual(said.get("long ago")?.notes, ["time_moved"]);
  const hostile = [...said.values()].find(({ name }) => name.includes("<script>"));
  assert.equal(hostile?.attributes["cleanroom.source"], undefined);
  for (const span of said.values()) {
    assert.equal(span.traceId, execute.traceId, "whichever trace it names");
    assert.ok(Date.parse(span.startedAt) >= Date.parse(life?.startedAt ?? ""));
    assert.equal(span.kind, "program");
  }
  assert.deepEqual(
    (await traceOf(theirs.sandboxId)).spans.filter(({ source }) => source === "sandbox"),
    [],
  );
  const { stdout } = await cli(range, ["trace", sandboxId]);
  assert.match(stdout, /\(said inside\)/);
  for (const control of ["\u001B", "\u202E"]) assert.ok(!stdout.includes(control));
});

proves("R4", "a flood of spans is thinned out by count, hides nothing that was measured, and leaves the sandbox in use", async (range) => {
  const { tenant, sandboxId, send, inside } = range;
  const flood = `
import concurrent.futures
sent = 0
def burst(n):
    return send([span("%016x" % (1 + n * 1000 + i), name="noise" * 40) for i in range(1000)])[0]
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sorted(set(pool.map(burst, range(20)))))`;
  const answer = await send("POST", "/contexts/execute", { code: SENDER + flood });
  assert.match(await answer.text(), /"status":"ok"/);
  assert.equal((await inside("echo still-there")).stdout, "still-there\n");
  const read = async () => Trace.parse(await tenant.json("GET", `/api/tasks/${sandboxId}/trace`));
  let trace = await read();
  // A sandbox on a busy machine answers late, and what it has to say is not lost with one asking.
  await until("what is left of it is there", async () => (trace = await read()).spans.some(({ source }) => source === "sandbox"), 60_000);
  const said = trace.spans.filter(({ source }) => source === "sandbox").length;
  assert.ok(said > 0 && said <= LIMITS.saidSpansPerSandbox, `${said} are kept`);
  assert.ok(trace.dropped > 0, "the others are counted");
  for (const kind of ["task", "sandbox", "execute", "command"])
    assert.ok(
      trace.spans.some((span) => span.kind === kind),
      kind,
    );
  assert.equal(trace.truncated, false);
});
