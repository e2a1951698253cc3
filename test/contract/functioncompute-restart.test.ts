import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { isolated, openEngine, trusted } from "#support/engine.ts";
import { factsOf, textOf } from "#support/fc-answers.ts";
import { tempDir } from "#support/temp.ts";
import { until } from "#support/until.ts";
import { freePort } from "#infra/local/ports.ts";

test("an engine that is killed leaves no trusted process, and the next one says why its sessions ended", async () => {
  await using data = await tempDir();
  const child = spawn(process.execPath, [join(import.meta.dirname, "../support/engine-child.ts"), data.path], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve) => child.stdout.once("data", (text: Buffer) => resolve(text.toString())));
  const { isolatedPid, trustedPid } = JSON.parse(line) as { isolatedPid: number; trustedPid: number };
  child.kill("SIGKILL");
  await until("the trusted process is gone", () => !existsSync(`/proc/${trustedPid}`));
  process.kill(isolatedPid, "SIGKILL");

  await using e = await openEngine({ dataDir: data.path });
  const ended = await e.client.getSession("ws", "s");
  assert.deepEqual([ended.body.sessionStatus, factsOf(ended).endReason], ["Expired", "engine_restarted"]);
  assert.deepEqual(
    (await e.client.listFunctions()).body.functions?.map((it) => it.functionName),
    ["t", "ws"],
  );
  assert.equal((await fetch(`${e.origin}/door/t/health`)).status, 200);
  assert.equal((await e.client.createSession("ws", { sessionId: "s" })).body.sessionStatus, "Active");
});

test("an engine that ends ends its sessions, keeps its functions and its promises", async () => {
  await using data = await tempDir();
  {
    await using e = await openEngine({ dataDir: data.path, limits: { retryBackoffMs: 60_000 } });
    await e.client.createFunction(isolated("ws"));
    await e.client.createFunction(await trusted("t"));
    await e.client.createSession("ws", { sessionId: "s" });
    await e.client.invoke("t", "fail once", { async: true, headers: { "x-fc-async-task-id": "task" } });
    await until("the task waits for its second try", async () => (await e.client.getAsyncTask("t", "task")).body.status === "Retrying");
  }
  let clock = Date.now() + 120_000;
  await using e = await openEngine({ dataDir: data.path, limits: { retryBackoffMs: 1 }, now: () => (clock += 1) });
  await until("the promise is kept", async () => {
    const { status } = (await e.client.getAsyncTask("t", "task")).body;
    return status === "Succeeded";
  });
  assert.equal(factsOf(await e.client.getSession("ws", "s")).endReason, "engine_restarted");
});

test("a function with a port of its own listens on it from its deployment on, and again after a change", async () => {
  const port = await freePort();
  await using e = await openEngine({ doors: { gw: port } });
  await e.client.createFunction(await trusted("gw"));
  const url = `http://127.0.0.1:${port}`;
  const answers = () => fetch(`${url}/pid`).then(textOfAnswer, () => undefined);
  await until("it listens", async () => (await answers()) !== undefined);
  await e.engine.ready("gw");
  const first = await answers();
  await e.client.updateFunction("gw", { environmentVariables: { VERSION: "2" } });
  await until("the changed one listens", async () => ![undefined, first].includes(await answers()));
  assert.equal((JSON.parse(await textOf((await e.client.invoke("gw", "x")).body)) as { version: string }).version, "2");
});

async function textOfAnswer(answer: Response): Promise<string> {
  return answer.text();
}
