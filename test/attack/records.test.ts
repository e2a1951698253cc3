import assert from "node:assert/strict";
import { proves } from "#support/range.ts";

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
