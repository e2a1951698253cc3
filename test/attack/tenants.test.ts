import assert from "node:assert/strict";
import type { Operation } from "#contract/operation.ts";
import { AGENTRUN_OPERATIONS, DOOR_OPERATIONS, MEM0_OPERATIONS, OPERATIONS } from "#contract/operations.ts";
import type { Tenant } from "#support/door.ts";
import { dial } from "#support/dial.ts";
import { openDoor } from "#support/door.ts";
import { poolAtRest } from "#support/pool.ts";
import { proves, speak, type Range } from "#support/range.ts";

/** Everything that one project has, by the names that paths give it. */
interface Belongings {
  sandboxId: string;
  artifactId: string;
  uploadId: string;
  part: string;
  name: string;
  snapshot: string;
  browserProfile: string;
  actionId: string;
  templateName: string;
  projectId: string;
  accessKeyId: string;
  ticketId: string;
  terminalId: string;
  targetId: string;
  port: string;
  filename: string;
  contextId: string;
  processId: string;
  taskId: string;
  collection: string;
  memoryCollectionName: string;
  recordId: string;
  memoryId: string;
  webhookId: string;
  type: string;
}

async function settle({ tenant, sandboxId, send }: Range): Promise<Belongings> {
  await send("PUT", "/files/content?path=secret", "owner's eyes only");
  const artifact = await tenant.json<{ id: string }>("POST", `/api/sandboxes/${sandboxId}/artifacts`, { path: "secret" }, 201);
  const { name } = await tenant.json<{ name: string }>("POST", "/api/templates", { name: `own${Date.now()}` }, 201);
  const { name: snapshot } = await tenant.json<{ name: string }>(
    "POST",
    `/api/sandboxes/${sandboxId}/snapshots`,
    { name: `kept${Date.now()}` },
    201,
  );
  const browserProfile = `kept${Date.now()}`;
  const seeing = await tenant.json<{ id: string }>("POST", "/api/sandboxes", { template: "all-in-one" }, 201);
  await tenant.json("PUT", `/api/sandboxes/${seeing.id}/browser-profiles/${browserProfile}`, {});
  await tenant.json("DELETE", `/api/sandboxes/${seeing.id}`);
  const context = (await (await send("POST", "/contexts", { language: "python" })).json()) as { id: string };
  const ticket = await tenant.json<{ id: string }>("POST", `/api/sandboxes/${sandboxId}/tickets`, { purpose: "terminal" }, 201);
  const { name: collection } = await tenant.json<{ name: string }>("POST", "/api/memory/collections", { name: `kept${Date.now()}` }, 201);
  const remembered = await tenant.json<{ id: string }>(
    "POST",
    `/api/memory/collections/${collection}/records`,
    { text: "owner's eyes only" },
    201,
  );
  const [memory] = await tenant.json<{ id: string }[]>("POST", "/v3/memories/add/", { messages: "owner's eyes only", user_id: "u" });
  const webhook = await tenant.json<{ id: string }>("POST", "/api/webhooks", { url: "https://hook.example/owner's-eyes" }, 201);
  const { processId } = (await (await send("POST", "/processes/cmd", { command: "sleep 100", background: true })).json()) as {
    processId: string;
  };
  const upload = await tenant.json<{ id: string }>("POST", "/api/uploads", { name: "secret", sizeBytes: 3 }, 201);
  return {
    sandboxId,
    artifactId: artifact.id,
    uploadId: upload.id,
    part: "1",
    name,
    snapshot,
    browserProfile,
    // What has no browser and no desktop has no action; asking for one says of whose sandbox.
    actionId: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    templateName: name,
    projectId: tenant.projectId,
    accessKeyId: tenant.key.accessKeyId,
    ticketId: ticket.id,
    terminalId: "tty-0",
    targetId: "0123456789ABCDEF0123456789ABCDEF",
    port: "8080",
    filename: "vnc_global_20260101_000000_seg001.mkv",
    contextId: context.id,
    processId,
    taskId: sandboxId,
    collection,
    memoryCollectionName: collection,
    recordId: remembered.id,
    memoryId: memory?.id ?? "",
    webhookId: webhook.id,
    type: "user",
  };
}

const addressed = (op: Operation, own: Belongings) =>
  op.path.replace(/:(\w+)/g, (_, name: keyof Belongings) => own[name] ?? assert.fail(`${op.id}: nothing of ours is called ${name}`));

/** Bodies for operations that look at them before they look for the thing. */
const BODIES: Record<string, object> = {
  keepArtifact: { path: "secret" },
  linkUploadPart: { sizeBytes: 3 },
  createTicket: { purpose: "terminal" },
  actOnDesktop: { type: "screenshot" },
  createSnapshot: { name: "another" },
  addEvents: { session: "s", events: [{ text: "x" }] },
  addRecord: { text: "x" },
  reviseRecord: { text: "x" },
  searchMemory: { query: "x" },
  forgetMemory: { ids: ["x"] },
  mem0Update: { text: "x" },
  agentrunUpdateTemplate: { cpu: 1 },
  updateProject: { quota: {} },
  setProjectBudget: { budget: { units: { requests: 1 } } },
  finishTask: { outcome: { status: "succeeded" } },
};
/** What answers the same whether the thing is there or not: revoking is done once and for all, and links are no credential of a project. */
const INDIFFERENT: Record<string, number> = {
  deleteKey: 204,
  downloadArtifact: 400,
  sendUploadPart: 400,
  // Who a memory is of is named within a project: forgetting somebody nobody knows is done.
  mem0DeleteEntity: 200,
  mem0DeleteEntityV1: 200,
};

/** What its owner too is answered 404 here: a form is wanted, there is no picture and no video (V7), and a view is opened by an upgrade alone (V1 to V5). */
const NOT_ASKED_SO = new Set(["uploadFile", "getActionScreenshot", "openLiveview", "openLivestream", "downloadRecording"]);
/** Names that are the same in every project. */
const EVERYBODYS = new Set(["processId", "contextId", "actionId", "terminalId", "targetId", "port", "filename", "type", "part"]);

const ends = (op: Operation) => op.method === "delete" || /[Ss]top|[Pp]ause|restart|signal|finish|cancel/.test(op.id);

const askOf = (who: Tenant, op: Operation, own: Belongings) =>
  who.send(op.method.toUpperCase(), addressed(op, own), op.body ? (BODIES[op.id] ?? {}) : undefined);

proves("T1", "every operation on a thing of another project answers as if there were no such thing", async (range) => {
  const { stranger, tenant } = range;
  const own = await settle(range);
  const other = await stranger();
  const named = OPERATIONS.filter((op) => op.path.includes(":"));
  assert.ok(named.length > 40, `${named.length} operations name a thing`);
  // A template tells of its pool too, which fills by itself once it is made.
  await poolAtRest(tenant, own.name);
  const before = await owned(tenant, own);
  for (const op of named) {
    const answer = await askOf(other, op, own);
    const text = await answer.text();
    assert.equal(answer.status, INDIFFERENT[op.id] ?? 404, `${op.id}: ${text}`);
    assert.doesNotMatch(text, /owner's eyes/);
  }
  assert.deepEqual(await owned(tenant, own), before, "nothing of it was changed");
  // The owner gets another answer from each of them; ending operations come last, and no 404 is for want of the thing.
  const first = named.filter((op) => !ends(op) && !INDIFFERENT[op.id] && !NOT_ASKED_SO.has(op.id));
  for (const op of first) {
    const done = new AbortController();
    const path = addressed(op, own);
    const body = op.body ? JSON.stringify(BODIES[op.id] ?? {}) : undefined;
    const answer = await fetch(range.door.origin + path, {
      method: op.method.toUpperCase(),
      headers: { authorization: `Bearer ${tenant.key.apiKey}`, "content-type": "application/json" },
      ...(body ? { body } : {}),
      signal: done.signal,
    });
    assert.notEqual(answer.status, 404, `${op.id} for its owner`);
    done.abort();
  }
});

async function owned(tenant: Tenant, own: Belongings) {
  const sandbox = await tenant.json("GET", `/api/sandboxes/${own.sandboxId}`);
  const { usage: _usage, ...rest } = sandbox;
  return [
    rest,
    await tenant.json("GET", `/api/artifacts/${own.artifactId}`),
    await tenant.json("GET", `/api/uploads/${own.uploadId}`),
    await tenant.json("GET", `/api/templates/${own.name}`),
    await tenant.json("GET", `/api/snapshots/${own.snapshot}`),
    await tenant.json("GET", `/api/browser-profiles/${own.browserProfile}`),
    await tenant.json("GET", `/api/tasks/${own.taskId}`),
    await tenant.json("GET", "/api/me"),
  ];
}

proves("T2", "lists, errors and names give nothing away: not that a thing exists, nor that its name is taken", async (range) => {
  const { stranger, tenant, sandboxId } = range;
  const own = await settle(range);
  const other = await stranger();
  const told = async (path: string) => {
    const answer = await other.send("GET", path);
    return (await answer.text()).replaceAll(/"(requestId|request_id)":"[^"]*"/g, "").replaceAll(/0[0-9A-Z]{25}|own\d+|none\d+/g, "ID");
  };
  const absent = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  for (const path of ["/api/sandboxes/X", "/sandboxes/X", "/sandboxes/X/files?path=a", "/2025-09-10/sandboxes/X", "/api/artifacts/X"]) {
    const id = path.includes("artifacts") ? own.artifactId : sandboxId;
    assert.equal(await told(path.replace("X", id)), await told(path.replace("X", absent)), path);
  }
  assert.equal(await told(`/api/templates/${own.name}`), await told(`/api/templates/none${Date.now()}`));
  const lists = DOOR_OPERATIONS.concat(AGENTRUN_OPERATIONS, MEM0_OPERATIONS).filter((op) => op.method === "get" && !op.path.includes(":"));
  for (const op of lists) {
    const text = await heard(range.door.origin + op.path, other);
    for (const [what, id] of Object.entries(own)) if (!EVERYBODYS.has(what)) assert.ok(!text.includes(id), `${op.id} tells ${what}`);
  }
  assert.match(await (await tenant.send("GET", "/api/sandboxes")).text(), new RegExp(sandboxId));
  // A template's and a sandbox's name are a project's own: using the owner's finds nothing, taking the same works, and they stay apart.
  assert.equal((await other.send("POST", "/api/sandboxes", { template: own.name })).status, 404);
  assert.equal((await other.send("POST", "/api/templates", { name: own.name })).status, 201);
  const same = { id: `same-${Date.now()}` };
  await tenant.json("POST", "/api/sandboxes", same, 201);
  await tenant.send("PUT", `/sandboxes/${same.id}/files/content?path=whose`, "first");
  await other.json("POST", "/api/sandboxes", same, 201);
  assert.equal((await other.send("GET", `/sandboxes/${same.id}/files?path=whose`)).status, 404);
  await other.json("DELETE", `/api/sandboxes/${same.id}`);
  assert.match(await (await tenant.send("GET", `/sandboxes/${same.id}/files?path=whose`)).text(), /first/);
  await tenant.json("DELETE", `/api/sandboxes/${same.id}`);
});

/** What an address says within two seconds, which is all but what a stream that never ends would say later. */
async function heard(url: string, { key }: Tenant): Promise<string> {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${key.apiKey}` }, signal: AbortSignal.timeout(2000) });
  const parts: Uint8Array[] = [];
  try {
    for await (const part of answer.body ?? []) parts.push(part);
  } catch (error) {
    assert.equal((error as Error).name, "TimeoutError");
  }
  return Buffer.concat(parts).toString();
}

proves(
  "T4",
  "a page of another site can neither open a WebSocket nor read an answer, also where no key is asked for",
  async ({ door, tenant, sandboxId }) => {
    const authorization = `Bearer ${tenant.key.apiKey}`;
    const upgrade = async (headers: Record<string, string>) => {
      const socket = await dial(`${door.origin}/sandboxes/${sandboxId}/ws/automation`, {
        authorization,
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version": "13",
        ...headers,
      });
      socket.end();
      return socket.status;
    };
    assert.notEqual(await upgrade({ origin: door.origin }), 403, "the door's own page is let through");
    for (const origin of ["https://evil.example", "null", "http://localhost:1", `${door.origin}.evil.example`])
      assert.equal(await upgrade({ origin }), 403, origin);
    for (const method of ["GET", "OPTIONS", "POST"]) {
      const answer = await fetch(`${door.origin}/api/sandboxes`, {
        method,
        headers: {
          authorization,
          origin: "https://evil.example",
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization",
        },
      });
      assert.equal(answer.headers.get("access-control-allow-origin"), null, method);
    }
    await using open = await openDoor({ environment: { CLEANROOM_ALLOW_ANONYMOUS: "1" } });
    const { host } = new URL(open.origin);
    const status = async (lines: readonly string[], method = "GET") =>
      Number((await speak(open, [`${method} /api/sandboxes HTTP/1.1`, ...lines, "connection: close"])).split(" ")[1]);
    assert.equal(await status([`host: ${host}`]), 200, "a program on this machine needs no key where the operator says so");
    const strangers = [
      ["host: evil.example"],
      [`host: ${host}`, "origin: https://evil.example"],
      [`host: ${host}`, "origin: null"],
      [`host: ${host}`, "x-forwarded-for: 203.0.113.9"],
      ["host: 127.0.0.1.evil.example"],
      [`host: evil.example`, `origin: http://evil.example`],
    ];
    for (const lines of strangers) assert.equal(await status(lines), 401, lines.join(", "));
    assert.equal(
      await status([`host: ${host}`, "origin: https://evil.example", "content-type: text/plain", "content-length: 2", ""], "POST"),
      401,
      "nor by a form",
    );
  },
);

const key = (of: Tenant) => `authorization: Bearer ${of.key.apiKey}`;

proves("T15", "no spelling of a request reaches another project's sandbox or slips a second request past the door", async (range) => {
  const { door, tenant, sandboxId, stranger, send } = range;
  await send("PUT", "/files/content?path=secret", "owner's eyes only");
  const other = await stranger();
  const { id } = await other.json<{ id: string }>("POST", "/api/sandboxes", {}, 201);
  await other.send("PUT", `/sandboxes/${id}/files/content?path=secret`, "the stranger's");
  const ask = (line: string, ...headers: string[]) => speak(door, [`${line} HTTP/1.1`, "host: x", ...headers, "connection: close"]);
  const file = "files/content?path=secret";
  assert.match(await ask(`GET /sandboxes/${sandboxId}/${file}`, key(tenant)), /^HTTP\/1\.1 200 .*owner's eyes only$/s);
  const spellings = [
    `/sandboxes/${id}/../${sandboxId}/${file}`,
    `/sandboxes/${id}/%2e%2e/${sandboxId}/${file}`,
    `/sandboxes/${id}%2f..%2f${sandboxId}/${file}`,
    `/sandboxes/${id}/..%2f${sandboxId}/${file}`,
    `/sandboxes/../sandboxes/${sandboxId}/${file}`,
    `//sandboxes/${sandboxId}/${file}`,
    `/sandboxes//${sandboxId}/${file}`,
    `http://127.0.0.1/sandboxes/${sandboxId}/${file}`,
    `http://${sandboxId}/sandboxes/${sandboxId}/${file}`,
    `/sandboxes/${sandboxId};${id}/${file}`,
    `/sandboxes/${sandboxId}%00/${file}`,
    `/sandboxes/${sandboxId.toLowerCase()}/${file}`,
    `/sandboxes/${tenant.projectId}_${sandboxId}/${file}`,
    `/sandboxes/${tenant.projectId}%2f${sandboxId}/${file}`,
    `/k/${other.key.apiKey}/sandboxes/${sandboxId}/${file}`,
    `/k/${other.key.apiKey}/k/${tenant.key.apiKey.slice(0, -4)}/sandboxes/${sandboxId}/${file}`,
    `/%73andboxes/${sandboxId}/${file}`,
    `\\sandboxes\\${sandboxId}\\${file}`,
    `/door/cleanroom-workspace/${file}`,
  ];
  for (const path of spellings) {
    const said = await ask(`GET ${path}`, key(other));
    assert.match(said, /^HTTP\/1\.1 4\d\d /, path);
    assert.doesNotMatch(said, /owner's eyes/, path);
  }
  const session = `${tenant.projectId}_${sandboxId}`;
  const claims = [
    [`cleanroom-session-id: ${session}`],
    ["cleanroom-proof: 9999999999999.AAAA"],
    [`x-fc-session-id: ${session}`, "x-fc-function-name: cleanroom-gateway"],
    [`x-original-url: /sandboxes/${sandboxId}/${file}`, `x-rewrite-url: /sandboxes/${sandboxId}/${file}`],
    ["connection: close, cleanroom-proof"],
    [`cleanroom-session-id: ${session}`, `Cleanroom-Session-Id: ${session}`],
  ];
  for (const headers of claims)
    assert.match(await ask(`GET /sandboxes/${id}/${file}`, key(other), ...headers), /the stranger's$/, headers.join(", "));
  assert.match(
    await ask(`GET /sandboxes/${sandboxId}/${file}`, key(other), key(tenant)),
    /^HTTP\/1\.1 4/,
    "of two credentials the first counts",
  );
  const second = `GET /sandboxes/${sandboxId}/${file} HTTP/1.1\r\nhost: x\r\n${key(other)}\r\n\r\n`;
  const smuggled = [
    ["content-length: 5", "transfer-encoding: chunked", "", `0\r\n\r\n${second}`],
    ["content-length: 5", "content-length: 6", "", `xxxxx${second}`],
    ["transfer-encoding: xchunked", "", `0\r\n\r\n${second}`],
    ["transfer-encoding : chunked", "", `0\r\n\r\n${second}`],
    ["transfer-encoding: chunked, identity", "", `0\r\n\r\n${second}`],
    ["content-length: +5", "", `xxxxx${second}`],
    ["x: y\nz: w", "", second],
  ];
  for (const lines of smuggled) {
    const said = await speak(door, `POST /sandboxes/${id}/processes/cmd HTTP/1.1\r\nhost: x\r\n${key(other)}\r\n${lines.join("\r\n")}`);
    assert.match(said, /^HTTP\/1\.1 400 /, lines[0]);
    assert.equal(said.match(/HTTP\/1\.1/g)?.length, 1, `one answer to ${lines[0]}`);
  }
  await other.json("DELETE", `/api/sandboxes/${id}`);
});
