import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { dial } from "#support/dial.ts";
import { HEADER, HTTP_TRIGGER, isolated, openEngine } from "#support/engine.ts";
import { until } from "#support/until.ts";

test("the door passes bytes both ways as they come, and the platform's headers only from the platform", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "s" });
  const headers = { [HEADER]: "s" };

  const echoed = await fetch(`${url}/echo?q=%20x`, { method: "POST", body: new Uint8Array(3_000_000).fill(7), headers });
  assert.deepEqual([echoed.status, echoed.headers.get("x-own"), echoed.headers.get("x-fc-forged")], [200, "yes", null]);
  assert.deepEqual(new Uint8Array(await echoed.arrayBuffer()), new Uint8Array(3_000_000).fill(7));

  const seen = (await (await fetch(`${url}/headers?q=%20x`, { headers: { ...headers, "x-fc-account-id": "forged" } })).json()) as {
    url: string;
    headers: Record<string, string>;
  };
  assert.deepEqual(
    [seen.url, seen.headers["x-fc-account-id"], seen.headers["x-fc-control-path"]],
    ["/headers?q=%20x", "1000000000000000", "/http-invoke"],
  );

  const stream = await fetch(`${url}/stream`, { headers });
  const reader = stream.body?.getReader();
  assert.equal(new TextDecoder().decode((await reader?.read())?.value), "first\n");
  await fetch(`${url}/release`, { headers });
  assert.equal(new TextDecoder().decode((await reader?.read())?.value), "last\n");

  const chunks = ReadableStream.from([1, 2, 3].map((byte) => new Uint8Array(65536).fill(byte)));
  const streamed = await fetch(`${url}/echo`, { method: "PUT", body: chunks, headers, duplex: "half" });
  assert.equal((await streamed.arrayBuffer()).byteLength, 3 * 65536);
  assert.equal((await fetch(`${url}/pid`, { method: "PATCH", headers })).status, 405);
  assert.equal((await fetch(`${url}/pid`)).status, 400);
  assert.equal((await fetch(`${e.origin}/door/nothing/x`)).status, 404);
});

test("the door finds a function by the host's name too", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const { body: trigger } = await e.client.createTrigger("ws", HTTP_TRIGGER);
  await e.client.createSession("ws", { sessionId: "s" });
  const host = new URL(trigger.httpTrigger?.urlIntranet ?? "").host;
  assert.match(host, /^ws-[a-z]{10}\.cn-hangzhou\.fcapp\.run$/);
  const status = await new Promise<number>((resolve, reject) => {
    request(`${e.origin}/health`, { headers: { host, [HEADER]: "s" } }, (res) => resolve(res.resume().statusCode ?? 0))
      .once("error", reject)
      .end();
  });
  assert.equal(status, 200);
});

test("a caller that goes away takes its request along, and one that stops reading stops the instance", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "s" });
  const headers = { [HEADER]: "s" };
  const gone = new AbortController();
  const hanging = fetch(`${url}/hang`, { headers, signal: gone.signal });
  const cut = assert.rejects(hanging, { name: "AbortError" });
  await until("the request is under way", async () => (await fetch(`${url}/hangups`, { headers })).status === 200);
  gone.abort();
  await cut;
  await until("the instance sees the hang-up", async () => (await (await fetch(`${url}/hangups`, { headers })).text()) === "1");

  const flood = await fetch(`${url}/flood`, { headers });
  let sent = -1;
  await until("the flood stands still", async () => {
    const before = sent;
    sent = Number(await (await fetch(`${url}/sent`, { headers })).text());
    return sent === before && sent > 0;
  });
  assert.ok(sent < 64 * 1024 * 1024, `${sent} bytes went out unread`);
  await flood.body?.cancel();
});

test("a request that takes longer than the function may is ended", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws", { timeout: 1 }));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "s" });
  const late = await fetch(`${url}/hang`, { headers: { [HEADER]: "s" } });
  assert.deepEqual([late.status, ((await late.json()) as { Code: string }).Code], [504, "InvocationTimeout"]);
});

test("an instance serves as many at once as its function says", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws", { instanceConcurrency: 2 }));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "s" });
  const headers = { [HEADER]: "s" };
  const streams = [await fetch(`${url}/stream`, { headers }), await fetch(`${url}/stream`, { headers })];
  assert.equal((await fetch(`${url}/pid`, { headers })).status, 429);
  for (const stream of streams) await stream.body?.cancel();
  await until("there is room again", async () => (await fetch(`${url}/pid`, { headers })).status === 200);
});

test("WebSockets pass, are refused by the instance's word, and end with their session", async () => {
  await using e = await openEngine();
  await e.client.createFunction(isolated("ws"));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "s" });
  const line = await dial(`${url}/ws`, { [HEADER]: "s" });
  assert.deepEqual([line.status, line.first], [101, "hello "]);
  assert.equal(await line.say("ping"), "ping");
  assert.equal((await dial(`${url}/other`, { [HEADER]: "s" })).status, 403);
  assert.equal((await dial(`${url}/ws`, { [HEADER]: "none" })).status, 404);
  await e.client.deleteSession("ws", "s");
  await line.closed;
});
