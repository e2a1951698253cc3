import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Span } from "#contract/span.ts";
import { makeBox } from "#support/box.ts";
import { openCollector } from "#support/collector.ts";
import { newTenant, openDoor, startDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

/** Reads events until it has had enough, and leaves. */
async function follow(query: string, enough: (spans: Span[]) => boolean, meanwhile: () => Promise<unknown>): Promise<Span[]> {
  const stop = new AbortController();
  const answer = await fetch(`${door.origin}/api/spans/stream?${query}`, {
    headers: { authorization: `Bearer ${tenant.key.apiKey}` },
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(60_000)]),
  });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type") ?? "", /^text\/event-stream/);
  const spans: Span[] = [];
  let text = "";
  const acting = meanwhile();
  for await (const chunk of answer.body ?? []) {
    text += Buffer.from(chunk).toString();
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const data = /^event: span\ndata: (.*)$/s.exec(event)?.[1];
      if (data !== undefined) spans.push(Span.parse(JSON.parse(data)));
    }
    if (enough(spans)) break;
  }
  stop.abort();
  await acting;
  return spans;
}

test("spans are followed live, each once, also those that another process writes", async () => {
  const box = await makeBox(tenant);
  const spans = await follow(
    `taskId=${box.id}`,
    (found) => found.some(({ kind, name }) => kind === "sandbox" && name.startsWith("sandbox ")),
    async () => {
      await box.execute("print(1)");
      await box.command("true");
      await box[Symbol.asyncDispose]();
    },
  );
  const names = spans.map(({ name }) => name);
  for (const name of ["execute", "runCommand"]) assert.equal(names.filter((one) => one === name).length, 1, names.join(", "));
  assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, spans.length);
  await refused(tenant.send("GET", "/api/spans/stream?taskId=nosuch"), "task_not_found");
});

test("where spans go besides is the project's to say; headers are not shown again", async () => {
  const spec = { endpoint: "https://collector.example/v1/traces", headers: { "x-api-key": "a-secret" } };
  const shown = { endpoint: spec.endpoint, headers: ["x-api-key"] };
  assert.deepEqual(await tenant.json("PUT", "/api/trace-export", spec), shown);
  assert.deepEqual(await tenant.json("GET", "/api/trace-export"), { export: shown });
  assert.deepEqual(await (await newTenant(door)).json("GET", "/api/trace-export"), {});
  await tenant.json("DELETE", "/api/trace-export", undefined, 204);
  assert.deepEqual(await tenant.json("GET", "/api/trace-export"), {});
  for (const endpoint of ["ftp://x/", "file:///etc/passwd", "x"])
    await refused(tenant.send("PUT", "/api/trace-export", { endpoint }), "invalid_request");
  await refused(tenant.send("PUT", "/api/trace-export", { endpoint: "https://x/", headers: { "a b": "c" } }), "invalid_request");
});

test("spans reach the operator's collector and the project's own, as OTLP says them, also after it was away", async () => {
  await using operators = await openCollector();
  await using own = await openCollector();
  await using other = await startDoor({
    CLEANROOM_OTLP_ENDPOINT: operators.endpoint,
    CLEANROOM_OTLP_HEADERS: "x-operator=yes",
    CLEANROOM_OTLP_ALLOW_PRIVATE: "1",
    CLEANROOM_MIN_PREPARED: "1",
    CLEANROOM_MAX_PREPARED: "2",
  });
  const one = await newTenant(other);
  await one.json("PUT", "/api/trace-export", { endpoint: own.endpoint, headers: { "x-project": "mine" } });
  own.moods.push(503, 503);
  const box = await makeBox(one);
  await box.execute("print(1)");
  await box[Symbol.asyncDispose]();
  for (const collector of [operators, own]) {
    await until("the sandbox's life has arrived", () => collector.spans.some(({ name }) => name.startsWith("sandbox ")), 60_000);
    assert.deepEqual(collector.refused, []);
    assert.ok(
      collector.spans.some(
        ({ name, attributes }) =>
          name === "execute" &&
          attributes.some(
            ({ key, value }) => key === "gen_ai.operation.name" && "stringValue" in value && value.stringValue === "execute_tool",
          ),
      ),
    );
  }
  assert.equal(operators.requests[0]?.headers["x-operator"], "yes");
  assert.equal(operators.requests[0]?.headers["x-project"], undefined, "a project's header goes to its own collector alone");
  assert.equal(own.requests[0]?.headers["x-project"], "mine");
});
