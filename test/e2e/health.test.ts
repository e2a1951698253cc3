import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { after, test } from "node:test";
import { getHealth } from "#contract/project.ts";
import { VERSION } from "#contract/version.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

test("the door says without a credential that it is open, of which version, and that its engine answers", async () => {
  const health = getHealth.returns.parse(await (await fetch(`${door.origin}/health`)).json());
  assert.partialDeepStrictEqual(health, { status: "ok", version: VERSION, engine: "ok" });
  assert.ok(Date.parse(health.startedAt) <= Date.now());
});

test("the door describes itself as its document in docs does", async () => {
  const said: unknown = await (await fetch(`${door.origin}/openapi.json`)).json();
  assert.deepEqual(said, JSON.parse(await readFile("docs/openapi.json", "utf8")));
});

test("every answer carries its request's id and the headers that keep browsers from guessing", async () => {
  const seen = new Set<string>();
  for (const path of ["/health", "/openapi.json", "/api/me", "/nothing"]) {
    const { headers, body } = await fetch(`${door.origin}${path}`);
    await body?.cancel();
    seen.add(headers.get("x-request-id") ?? "");
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("cache-control"), "no-store", path);
    assert.equal(headers.get("access-control-allow-origin"), null, path);
  }
  assert.equal(seen.size, 4);
});

/** The events of the server's log that name a text. */
async function told(text: string): Promise<Record<string, unknown>[]> {
  const log = await readFile(join(door.dataDir, "log/cleanroom.log"), "utf8");
  return log
    .split("\n")
    .filter((line) => line.includes(text))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test("the log tells each request once, without its query and without a credential", async () => {
  const { key } = await newTenant(door);
  const answer = await fetch(`${door.origin}/k/${key.apiKey}/api/me?hidden=${key.accessKeyId}-query`);
  await answer.body?.cancel();
  const requestId = answer.headers.get("x-request-id") ?? "none";
  await until("the request is told", async () => (await told(requestId)).length > 0);
  const [event, ...more] = await told(requestId);
  assert.partialDeepStrictEqual(event, { event: "request", method: "GET", path: "/api/me", status: 200 });
  assert.deepEqual(more, []);
  for (const secret of [key.accessKeySecret, `${key.accessKeyId}-query`, door.rootKey.accessKeySecret])
    assert.deepEqual(await told(secret), []);
});

test("the log tells the end of each sandbox once, with why and what it used", async () => {
  const tenant = await newTenant(door);
  const box = await makeBox(tenant);
  await Promise.all([1, 2, 3].map(() => tenant.json("DELETE", `/api/sandboxes/${box.id}`)));
  const ends = async () => (await told(box.id)).filter(({ event }) => event === "sandbox.ended");
  await until("the end is told", async () => (await ends()).length > 0);
  const [end, ...more] = await ends();
  assert.partialDeepStrictEqual(end, { sandboxId: box.id, projectId: tenant.projectId, reason: "deleted" });
  assert.ok(Number(end?.["cpuMs"]) > 0 && Number(end?.["lifeMs"]) > 0, JSON.stringify(end));
  assert.deepEqual(more, []);
});

test("the TLS twin is the same door, under a certificate that its own authority signed", async () => {
  const ca = await readFile(door.caFile);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sent = request(`${door.tlsOrigin}/health`, { ca }, (answer) => {
    void answer.toArray().then((chunks) => resolve(Buffer.concat(chunks).toString()), reject);
  });
  sent.once("error", reject);
  sent.end();
  assert.equal(getHealth.returns.parse(JSON.parse(await promise)).status, "ok");
});
