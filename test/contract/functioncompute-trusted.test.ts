import assert from "node:assert/strict";
import { test } from "node:test";
import { HTTP_TRIGGER, KEY, openEngine, trusted } from "#support/engine.ts";
import { textOf } from "#support/fc-answers.ts";
import { until } from "#support/until.ts";

test("a trusted function is invoked with its code, its variables and the platform's", async () => {
  await using e = await openEngine();
  await e.client.createFunction(await trusted("t", { environmentVariables: { VERSION: "1" } }));
  const url = (await e.client.createTrigger("t", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  const answer = await e.client.invoke("t", "event");
  assert.equal(answer.failed, false);
  assert.deepEqual(JSON.parse(await textOf(answer.body)), { invocations: 1, body: "event", version: "1", controlPath: "/invoke" });
  const { env } = (await (await fetch(`${url}/headers`)).json()) as { env: Record<string, string> };
  assert.deepEqual(
    [env["ALIBABA_CLOUD_ACCESS_KEY_ID"], env["FC_SERVER_HOST"], env["FC_FUNCTION_NAME"]],
    [KEY.accessKeyId, "127.0.0.1", "t"],
  );
  const failed = await e.client.invoke("t", "fail");
  assert.equal(failed.failed, true);
  assert.match(await textOf(failed.body), /told to fail/);
});

test("a changed function takes over, and what the old one had begun comes to its end", async () => {
  await using e = await openEngine();
  await e.client.createFunction(await trusted("t", { environmentVariables: { VERSION: "1" } }));
  const url = (await e.client.createTrigger("t", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  const first = await (await fetch(`${url}/pid`)).text();
  const begun = await fetch(`${url}/stream`);
  await e.client.updateFunction("t", { environmentVariables: { VERSION: "2" } });
  await until(
    "the new one answers",
    async () => (JSON.parse(await textOf((await e.client.invoke("t", "x")).body)) as { version: string }).version === "2",
  );
  assert.notEqual(await (await fetch(`${url}/pid`)).text(), first);
  const reader = begun.body?.getReader();
  assert.equal(new TextDecoder().decode((await reader?.read())?.value), "first\n");
  await reader?.cancel();
});

test("a trusted function that falls is started again", async () => {
  await using e = await openEngine();
  await e.client.createFunction(await trusted("t"));
  const url = (await e.client.createTrigger("t", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  const first = await (await fetch(`${url}/pid`)).text();
  assert.equal((await fetch(`${url}/crash`)).status, 502);
  let second = "";
  await until("another one answers", async () => {
    const answer = await fetch(`${url}/pid`);
    second = await answer.text();
    return answer.status === 200;
  });
  assert.notEqual(second, first);
});

test("what is deployed again without a change goes on undisturbed", async () => {
  await using e = await openEngine();
  const body = await trusted("t", { environmentVariables: { VERSION: "1" } });
  const { lastModifiedTime } = (await e.client.createFunction(body)).body;
  const trigger = (await e.client.createTrigger("t", HTTP_TRIGGER)).body;
  const url = trigger.httpTrigger?.urlInternet ?? "";
  const pid = await (await fetch(`${url}/pid`)).text();
  assert.equal((await e.client.updateFunction("t", body)).body.lastModifiedTime, lastModifiedTime);
  assert.equal((await e.client.updateTrigger("t", "http", HTTP_TRIGGER)).body.lastModifiedTime, trigger.lastModifiedTime);
  assert.equal(await (await fetch(`${url}/pid`)).text(), pid);
});
