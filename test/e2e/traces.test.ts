import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { after, test } from "node:test";
import { TaskCost } from "#contract/cost.ts";
import { page } from "#contract/id.ts";
import { ReplayStep, Span, Trace } from "#contract/span.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const traceOf = async (taskId: string) => Trace.parse(await tenant.json("GET", `/api/tasks/${taskId}/trace`));
const named = (trace: Trace, name: string) =>
  trace.spans.find((span) => span.name === name) ?? assert.fail(`no span ${name}: ${trace.spans.map((span) => span.name).join(", ")}`);
const bodies = async (box: Box, text: string) => (await box.inside("POST", "/contexts/execute", { code: text })).text();

test("every invocation is a span of its sandbox's task, with how it went and digests of what went in and came out", async () => {
  await using box = await makeBox(tenant);
  await box.execute("print('hello')");
  await box.execute("1/0");
  await box.command("exit 3");
  await box.inside("PUT", "/files/content?path=notes/a.txt", "one file");
  const trace = await traceOf(box.id);
  const [task, ...rest] = trace.spans;
  assert.equal(task?.kind, "task");
  assert.equal(trace.dropped, 0);
  const life = named(trace, "sandbox code-interpreter");
  const executes = rest.filter(({ kind }) => kind === "execute");
  assert.deepEqual(
    executes.map(({ status, statusMessage }) => [status, statusMessage]),
    [
      ["ok", "ok"],
      ["error", "error"],
    ],
  );
  assert.deepEqual([named(trace, "runCommand").status, named(trace, "runCommand").statusMessage], ["error", "exit 3"]);
  const write = named(trace, "writeBytes");
  assert.partialDeepStrictEqual(write, { kind: "file", attributes: { path: "notes/a.txt" }, input: { bytes: 8 } });
  for (const span of [...executes, write]) {
    assert.equal(span.parentSpanId, life.spanId);
    assert.equal(span.traceId, task?.traceId);
    assert.match(span.input?.digest ?? "", /^[0-9a-f]{64}$/);
    assert.ok((span.durationMs ?? 0) > 0);
    assert.equal(span.input?.text, undefined, "content is not kept unless it is asked for");
  }
});

test("equal content has equal digests within a project and other ones in another", async () => {
  const other = await newTenant(door);
  await using box = await makeBox(tenant);
  await using theirs = await makeBox(other);
  for (const one of [box, box, theirs]) await bodies(one, "2 + 2");
  const digests = async (taskId: string, by = tenant) =>
    Trace.parse(await by.json("GET", `/api/tasks/${taskId}/trace`))
      .spans.filter(({ kind }) => kind === "execute")
      .map(({ input }) => input?.digest);
  const [first, second] = await digests(box.id);
  assert.ok(first);
  assert.equal(first, second);
  assert.notEqual((await digests(theirs.id, other))[0], first);
});

test("content is kept where a task's policy asks for it, as text and never as anything else", async () => {
  const { id } = await tenant.json<{ id: string }>("POST", "/api/tasks", { policy: { content: "text" } }, 201);
  await using box = await makeBox(tenant, { taskId: id });
  await box.execute("print('<script>alert(1)</script>')");
  const span = named(await traceOf(id), "execute");
  assert.match(span.input?.text ?? "", /<script>alert\(1\)<\/script>/);
  assert.match(span.output?.text ?? "", /endOfExecution/);
  const answer = await tenant.send("GET", `/api/tasks/${id}/trace`);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
  assert.equal(answer.headers.get("x-content-type-options"), "nosniff");
});

test("bodies pass whole, whatever is watched of them", async () => {
  await using box = await makeBox(tenant);
  for (const size of [0, 1, 65_536, 65_537, 1_048_576, 1_048_577, 5_000_000]) {
    const bytes = Buffer.alloc(size, "0123456789abcdef");
    assert.equal((await box.inside("PUT", "/files/content?path=f", bytes)).status, 200);
    const back = Buffer.from(await (await box.inside("GET", "/files/content?path=f")).arrayBuffer());
    assert.ok(back.equals(bytes), `${size} bytes`);
  }
  const streamed = await box.inside(
    "POST",
    "/contexts/execute",
    { code: "for n in range(20000): print(n)" },
    { accept: "text/event-stream" },
  );
  const text = await streamed.text();
  assert.match(text, /19999/);
  const trace = await traceOf(box.id);
  assert.equal(named(trace, "execute").statusMessage, "ok");
  assert.deepEqual(
    trace.spans.filter(({ name }) => name === "writeBytes").map(({ input }) => input?.bytes),
    [0, 1, 65_536, 65_537, 1_048_576, 1_048_577, 5_000_000],
  );
});

test("a caller's traceparent is honoured, and passed on into what runs inside", async () => {
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
  const { id } = (await (await tenant.send("POST", "/api/sandboxes", {}, { traceparent })).json()) as { id: string };
  const run = async (path: string, body: object, headers = {}) =>
    (await tenant.send("POST", `/sandboxes/${id}${path}`, body, headers)).text();
  const code = { code: "import os; print(os.environ.get('TRACEPARENT'))" };
  const own = await run("/contexts/execute", code);
  const command = await run("/processes/cmd", { command: "echo $TRACEPARENT" });
  const other = `00-${"c".repeat(32)}-${"d".repeat(16)}-00`;
  const foreign = await run("/contexts/execute", code, { traceparent: other });
  const trace = await traceOf(id);
  assert.equal(trace.task.traceId, traceId);
  assert.equal(trace.spans[0]?.parentSpanId, "00f067aa0ba902b7");
  const [first, second] = trace.spans.filter(({ kind }) => kind === "execute");
  assert.match(own, new RegExp(`00-${traceId}-${first?.spanId}-01`));
  assert.match(command, new RegExp(`00-${traceId}-${named(trace, "runCommand").spanId}-01`));
  assert.match(foreign, new RegExp(`00-${"c".repeat(32)}-${second?.spanId}-00`));
  assert.partialDeepStrictEqual(second, { traceId: "c".repeat(32), attributes: { "caller.span_id": "d".repeat(16) } });
  await run("/contexts/execute", code, { traceparent: "00-zz-x" });
  await tenant.json("DELETE", `/api/sandboxes/${id}`);
});

test("spans are found across tasks, replayed as a story, and erased", async () => {
  const own = await newTenant(door);
  await using box = await makeBox(own);
  await box.command("echo needle-7");
  await box.execute("raise ValueError('x')");
  const found = page(Span).parse(await own.json("GET", `/api/spans?kind=command&sandboxId=${box.id}`));
  assert.deepEqual(
    found.items.map(({ name }) => name),
    ["runCommand"],
  );
  assert.equal(page(Span).parse(await own.json("GET", "/api/spans?text=runcommand")).items.length, 1);
  const { steps } = await own.json<{ steps: unknown[] }>("GET", `/api/tasks/${box.id}/replay`);
  const story = steps.map((step) => ReplayStep.parse(step));
  assert.deepEqual(
    story.filter(({ depth }) => depth === 2).map(({ tried, ok }) => [tried, ok]),
    [
      ["create sandbox", true],
      ["runCommand", true],
      ["execute", false],
    ],
  );
  assert.equal((await own.send("DELETE", `/api/tasks/${box.id}/trace`)).status, 204);
  assert.deepEqual(page(Span).parse(await own.json("GET", "/api/spans")).items, []);
  await refused(own.send("GET", "/api/spans?text=" + "x".repeat(10_001)), "invalid_request");
  await refused(own.send("GET", "/api/spans?kind=nonsense"), "invalid_request");
});

test("`cleanroom trace` draws the tree with what it cost, and answers as JSON", async () => {
  const { id: taskId } = await tenant.json<{ id: string }>("POST", "/api/tasks", {}, 201);
  for (let count = 0; count < 2; count += 1) {
    await using box = await makeBox(tenant, { taskId });
    await box.execute("print(1)");
  }
  const run = promisify(execFile);
  const env = { ...process.env, CLEANROOM_URL: door.origin, CLEANROOM_API_KEY: tenant.key.apiKey };
  const { stdout } = await run(process.execPath, ["cli/main.ts", "trace", taskId], { env });
  assert.match(stdout, /└─ ✔ execute .* m?s {2}.*━/);
  // Both are gone, so that the bill is what it was when it was drawn.
  const bill = TaskCost.parse(await tenant.json("GET", `/api/tasks/${taskId}/cost`));
  assert.deepEqual([bill.final, bill.currency], [true, "USD"]);
  const lives = stdout.split("\n").filter((line) => /[├└]─ .* sandbox code-interpreter /.test(line));
  const drawn = lives.map((line) => / {2}(0\.\d+ USD) {2}/.exec(line)?.[1]);
  assert.deepEqual(drawn.toSorted(), bill.sandboxes.map(({ total }) => `${total} USD`).toSorted());
  assert.deepEqual([lives.length, bill.sandboxes.every(({ total }) => Number(total) > 0)], [2, true]);
  assert.match(stdout, new RegExp(`^Total ${bill.total} USD$`, "m"));
  assert.equal(stdout.match(/USD/g)?.length, 3, "what has no price of its own says none");
  const { stdout: json } = await run(process.execPath, ["cli/main.ts", "trace", taskId, "--json"], { env });
  const told: unknown = JSON.parse(json);
  assert.equal(Trace.parse(told).task.id, taskId);
  assert.equal(Trace.extend({ cost: TaskCost }).parse(told).cost.total, bill.total);
});
