import assert from "node:assert/strict";
import { after, test } from "node:test";
import { build } from "esbuild";
import { Trace } from "#contract/span.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { SENDER } from "#support/otlp-sender.ts";
import { endedSpans } from "#support/spans.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const traceOf = async (taskId: string) => Trace.parse(await tenant.json("GET", `/api/tasks/${taskId}/trace`));
const saidIn = (trace: Trace) => trace.spans.filter(({ source }) => source === "sandbox");
const python = async (box: Box, code: string) => {
  const { stdout, stderr, end } = await box.execute(SENDER + code);
  assert.equal(end.status, "ok", stderr);
  return stdout;
};

test("a program's own spans join the tree below the execute and the command that ran them, marked as its own word", async () => {
  await using box = await makeBox(tenant);
  await python(
    box,
    `send([span("a" * 16, name="plan", attributes=[{"key": "step", "value": {"intValue": "3"}}, {"key": "ratio", "value": {"doubleValue": 0.5}}, {"key": "deep", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}}]),
      span("b" * 16, name="call", parentSpanId="a" * 16, status={"code": 2, "message": "it failed"})])`,
  );
  await box.inside("PUT", "/files/content?path=tell.py", `${SENDER}\nprint(send([span("c" * 16, name="in a command")]))`);
  const { result } = await box.command("python3 tell.py");
  assert.match(result?.stdout ?? "", /^\(200, \{\}\)/);
  const trace = await traceOf(box.id);
  const execute = trace.spans.find(({ kind }) => kind === "execute");
  const command = trace.spans.find(({ kind }) => kind === "command");
  const [plan, call, inCommand] = ["plan", "call", "in a command"].map((name) => trace.spans.find((span) => span.name === name));
  assert.partialDeepStrictEqual(plan, {
    source: "sandbox",
    kind: "program",
    parentSpanId: execute?.spanId,
    sandboxId: box.id,
    attributes: { step: 3, ratio: 0.5, "service.name": "agent", "otel.scope.name": "by hand" },
    notes: [],
  });
  assert.partialDeepStrictEqual(call, { parentSpanId: "a".repeat(16), status: "error", statusMessage: "it failed", source: "sandbox" });
  assert.equal(inCommand?.parentSpanId, command?.spanId);
  assert.ok((plan?.durationMs ?? 0) > 1);
  assert.equal(execute?.source, "platform");
});

test("OpenTelemetry's own exporter tells with no settings but its environment, and its spans join the tree", async () => {
  const entry = new URL("../support/telling-agent.ts", import.meta.url).pathname;
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, write: false, platform: "node", format: "esm", minify: true });
  await using box = await makeBox(tenant);
  assert.equal((await box.inside("PUT", "/files/content?path=agent.mjs", outputFiles[0]?.contents)).status, 200);
  const { result } = await box.command("node agent.mjs");
  assert.deepEqual([result?.stdout, result?.stderr], ["told\n", ""]);
  const trace = await traceOf(box.id);
  const command = trace.spans.find(({ kind }) => kind === "command");
  const [plan, call] = ["plan", "call"].map((name) => trace.spans.find((span) => span.name === name));
  assert.partialDeepStrictEqual(plan, {
    source: "sandbox",
    kind: "program",
    traceId: command?.traceId,
    parentSpanId: command?.spanId,
    sandboxId: box.id,
    status: "unknown",
    attributes: { step: 3, ratio: 0.5, done: true, "otel.scope.name": "telling-agent" },
    notes: [],
  });
  assert.partialDeepStrictEqual(call, {
    parentSpanId: plan?.spanId,
    status: "error",
    statusMessage: "it failed",
    source: "sandbox",
    notes: [],
  });
  assert.deepEqual([saidIn(trace).length, trace.dropped], [2, 0]);
});

test("what a sandbox said is there after it has ended, though nobody asked for it meanwhile", async () => {
  const box = await makeBox(tenant);
  await python(box, `send([span("a" * 16, name="last word")])`);
  await box[Symbol.asyncDispose]();
  assert.deepEqual(
    saidIn(await traceOf(box.id)).map(({ name }) => name),
    ["last word"],
  );
});

test("what a program goes on to say is found without anybody reading its trace", async () => {
  await using box = await makeBox(tenant);
  await python(box, `send([span("a" * 16, name="told by itself")])`);
  const found = await endedSpans(tenant, box.id, "program");
  assert.deepEqual(
    found.map(({ name, source }) => [name, source]),
    [["told by itself", "sandbox"]],
  );
});

test("the place in the trace is in the environment of code, commands and terminals, and where to send to beside it", async () => {
  await using box = await makeBox(tenant);
  const names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"];
  const shell = `echo "$TRACEPARENT ${names.map((name) => `$${name}`).join(" ")}"`;
  const line = /00-[0-9a-f]{32}-[0-9a-f]{16}-01 http:\/\/127\.0\.0\.1:4318 http\/json/;
  assert.match((await box.command(shell)).result?.stdout ?? "", line);
  assert.match(
    await python(box, `import os; print(os.environ["TRACEPARENT"], *(os.environ[name] for name in ${JSON.stringify(names)}))`),
    line,
  );
  const javascript = `console.log([process.env.TRACEPARENT, ${names.map((name) => `process.env.${name}`).join(", ")}].join(" "))`;
  assert.match((await box.execute(javascript, { language: "javascript" })).stdout, line);
});

test("what is no JSON, too large, packed too well or not a trace is refused with what to do", async () => {
  await using box = await makeBox(tenant);
  const said = await python(
    box,
    `
big = json.dumps(document([span("a" * 16, name="x" * (1 << 20))])).encode()
for status, answer in [
    post(b"\\x0a\\x00", content_type="application/x-protobuf"),
    post(b"{", content_type="application/json"),
    post(b"[" * 100000, content_type="application/json"),
    post(b'{"resourceSpans": 7}'),
    post(b"{}", path="/v1/metrics"),
    post(big),
    post(gzip.compress(b" " * (2 << 20)), content_encoding="gzip"),
    post(b"{}", content_encoding="br"),
    post(gzip.compress(json.dumps(document([span("d" * 16, name="packed")])).encode()), content_encoding="gzip"),
    send([{"spanId": "no"}, span("e" * 16), span("0" * 16), 7]),
]:
    print(status, json.dumps(answer))`,
  );
  const lines = said.trim().split("\n");
  assert.deepEqual(
    lines.map((line) => Number(line.split(" ", 1)[0])),
    [415, 400, 400, 400, 404, 413, 413, 415, 200, 200],
  );
  assert.match(lines[0] ?? "", /OTEL_EXPORTER_OTLP_PROTOCOL=http\/json/);
  assert.match(lines[9] ?? "", /"rejectedSpans": "3"/);
  const trace = await traceOf(box.id);
  assert.deepEqual(
    saidIn(trace).map(({ name }) => name),
    ["packed", "work"],
  );
  assert.equal(trace.dropped, 0, "what was refused and said so is not what was dropped");
});

test("the address is the workspace's own: nobody sends there from outside", async () => {
  await using box = await makeBox(tenant);
  const answer = await box.inside("POST", "/ports/4318/v1/traces", { resourceSpans: [] });
  assert.equal(answer.status, 403);
  assert.equal((await box.inside("POST", "/said", {})).status, 404);
});
