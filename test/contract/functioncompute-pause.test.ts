import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { HEADER, HTTP_TRIGGER, isolated, openEngine } from "#support/engine.ts";
import { factsOf, refused, signedFetch } from "#support/fc-answers.ts";
import { until } from "#support/until.ts";

/** An engine with one session, and how its instance is asked. */
async function withSession(options: Parameters<typeof openEngine>[0] = {}, affinity: Record<string, unknown> = {}) {
  const e = await openEngine(options);
  await e.client.createFunction(isolated("ws", {}, affinity));
  const url = (await e.client.createTrigger("ws", HTTP_TRIGGER)).body.httpTrigger?.urlInternet ?? "";
  await e.client.createSession("ws", { sessionId: "s" });
  return {
    ...e,
    url,
    ask: (path: string) => fetch(url + path, { headers: { [HEADER]: "s" } }),
    status: async () => (await e.client.getSession("ws", "s")).body.sessionStatus,
    [Symbol.asyncDispose]: () => e[Symbol.asyncDispose](),
  };
}

test("a paused session takes no request until it is resumed, and is the same as it was", async () => {
  await using e = await withSession();
  const pid = await (await e.ask("/pid")).text();
  const paused = await e.client.pauseSession("ws", "s");
  assert.deepEqual([paused.body.sessionStatus, await e.status()], ["Paused", "Paused"]);
  const answer = await e.ask("/pid");
  assert.deepEqual([answer.status, ((await answer.json()) as { Code: string }).Code], [409, "SessionStateConflict"]);
  assert.ok(factsOf(await e.client.getSession("ws", "s")).usage, "its usage is still told");
  const resumed = await e.client.resumeSession("ws", "s");
  assert.equal(resumed.body.sessionStatus, "Active");
  assert.equal(await (await e.ask("/pid")).text(), pid);
});

test("what is under way when a session is paused is cut, and says why", async () => {
  await using e = await withSession();
  const [waiting, stream] = [e.ask("/hang"), await e.ask("/stream")];
  const { hostname, port, pathname } = new URL(e.url);
  const socket = connect(Number(port), hostname);
  const closed = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
  socket.write(`GET ${pathname}/ws HTTP/1.1\r\nhost: x\r\n${HEADER}: s\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`);
  await new Promise<void>((resolve) => void socket.once("data", () => resolve()));
  await e.client.pauseSession("ws", "s");
  const answer = await waiting;
  assert.match(((await answer.json()) as { Message: string }).Message, /it was paused/);
  await assert.rejects(stream.text());
  await closed;
});

test("a session is paused from Active and resumed from Paused alone, and not changed between", async () => {
  await using e = await withSession();
  await assert.rejects(e.client.resumeSession("ws", "s"), refused("SessionStateConflict", 409));
  const both = await Promise.allSettled([e.client.pauseSession("ws", "s"), e.client.pauseSession("ws", "s")]);
  assert.deepEqual(both.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  await assert.rejects(e.client.updateSession("ws", "s", { sessionTTLInSeconds: 9 }), refused("SessionStateConflict", 409));
  await assert.rejects(e.client.pauseSession("ws", "none"), refused("SessionNotFound", 404));
  const fresh = await signedFetch(e.origin, "PUT", "/2023-03-30/functions/ws/sessions/s/resume?fileSystemOnly=true");
  assert.equal(fresh.status, 501);
  await e.client.deleteSession("ws", "s");
  await until("nothing is left of it", () => e.maker.live.size === 0);
  await assert.rejects(e.client.resumeSession("ws", "s"), refused("SessionNotFound", 404));
});

test("paused time is not idle time; a life goes on to its end", async () => {
  await using e = await withSession({}, { sessionTTLInSeconds: 600, sessionIdleTimeoutInSeconds: 1 });
  await e.client.createSession("ws", { sessionId: "short", sessionTTLInSeconds: 3 });
  await Promise.all(["s", "short"].map((id) => e.client.pauseSession("ws", id)));
  await until("the short life is over", async () => factsOf(await e.client.getSession("ws", "short")).endReason === "ttl");
  await until("nothing is left of it", () => e.maker.live.size === 1);
  assert.equal(await e.status(), "Paused");
  await e.client.resumeSession("ws", "s");
  assert.equal((await e.ask("/pid")).status, 200);
  await until("it rested", async () => factsOf(await e.client.getSession("ws", "s")).endReason === "idle");
});

test("paused sessions are listed as such", async () => {
  await using e = await withSession();
  await e.client.createSession("ws", { sessionId: "runs" });
  await e.client.pauseSession("ws", "s");
  const ids = async (sessionStatus: string) =>
    (await e.client.listSessions("ws", { sessionStatus })).body.sessions?.map(({ sessionId }) => sessionId);
  assert.deepEqual([await ids("Active"), await ids("Paused")], [["runs"], ["s"]]);
});
