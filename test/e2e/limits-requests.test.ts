import assert from "node:assert/strict";
import { request } from "node:http";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { LIMITS } from "#contract/limits.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused, saying } from "#support/refusal.ts";

// What bad requests get, one promise each.

/** As good as without end, and yet no test that fails fills the machine's memory. */
const ENDLESS_BYTES = 512 * 2 ** 20;

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

test("an unknown template", async () => {
  const problem = await refused(tenant.send("POST", "/api/sandboxes", { template: "nobody-made-it" }), "template_not_found");
  assert.equal(problem.details["template"], "nobody-made-it");
});

test("another project's sandbox is answered word for word as one that never was", async () => {
  const other = await newTenant(door);
  await using box = await makeBox(other);
  const never = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  for (const [method, path, body] of [
    ["GET", "/api/sandboxes/:id"],
    ["PATCH", "/api/sandboxes/:id", { name: "mine" }],
    ["DELETE", "/api/sandboxes/:id"],
    ["POST", "/api/sandboxes/:id/artifacts", { path: "f" }],
    ["POST", "/sandboxes/:id/contexts/execute", { code: "print(1)" }],
    ["GET", "/sandboxes/:id/files?path=f"],
    ["PUT", "/sandboxes/:id/files/content?path=f", "bytes"],
    ["POST", "/sandboxes/:id/processes/cmd", { command: "true" }],
    ["GET", "/sandboxes/:id/no/such/route"],
  ] as const) {
    const [theirs, nobodys] = await Promise.all(
      [box.id, never].map((id) => refused(tenant.send(method, path.replace(":id", id), body), "sandbox_not_found")),
    );
    assert.ok(theirs && nobodys);
    assert.equal(saying(theirs, box.id), saying(nobodys, never), `${method} ${path}`);
  }
  assert.equal((await box.read()).state, "ready");
});

test("malformed JSON, at the door and inside", async () => {
  await using box = await makeBox(tenant);
  const headers = { "content-type": "application/json" };
  for (const text of ['{"template": ', "nonsense", "{'a': 1}", "\u0000"]) {
    await refused(tenant.send("POST", "/api/sandboxes", text, headers), "invalid_json");
    await refused(box.inside("POST", "/contexts/execute", text, headers), "invalid_json");
  }
  await refused(tenant.send("POST", "/api/sandboxes", "[]", headers), "invalid_request");
  await refused(tenant.send("POST", "/api/sandboxes", "null", headers), "invalid_request");
  await refused(box.inside("POST", "/contexts/execute", "{}", headers), "invalid_request");
});

test("a body larger than its route takes, whether its size is said or not", async () => {
  const large = "x".repeat(LIMITS.jsonBodyBytes + 1);
  const problem = await refused(tenant.send("POST", "/api/sandboxes", { name: large }), "body_too_large");
  assert.equal(problem.details["limitBytes"], LIMITS.jsonBodyBytes);
  // A body without end is answered while it still comes. What it is made of waits for the event loop: a stream that is
  // pulled without ever waiting keeps its own program from reading the answer, and fills the memory meanwhile.
  let sentBytes = 0;
  const unsaid = new ReadableStream<Uint8Array>({
    async pull(controller) {
      await setImmediate();
      sentBytes += 64 * 1024;
      if (sentBytes > ENDLESS_BYTES) controller.error(new Error("The body was read to its end, and nobody answered"));
      else controller.enqueue(new Uint8Array(64 * 1024).fill(32));
    },
  });
  const init = { method: "POST", body: unsaid, duplex: "half", headers: { authorization: `Bearer ${tenant.key.apiKey}` } };
  const answer = await fetch(`${door.origin}/api/sandboxes`, init as RequestInit).catch((error: unknown) => error);
  if (answer instanceof Response) await refused(answer, "body_too_large");
  else assert.match(String((answer as Error).cause), /closed|reset|EPIPE/i);
  assert.equal((await tenant.send("GET", "/api/me")).status, 200);
});

test("a body larger than its route takes, inside a sandbox", async () => {
  await using box = await makeBox(tenant);
  const announced = await announce(`/sandboxes/${box.id}/contexts/execute`, LIMITS.contentBodyBytes + 1);
  assert.equal(announced.status, 413);
  assert.equal((JSON.parse(announced.text) as { code: string }).code, "body_too_large");
  assert.equal((await box.execute("print('still')")).stdout, "still\n");
});

test("paths that climb, and paths with a NUL", async () => {
  await using box = await makeBox(tenant);
  for (const path of ["../../etc/passwd", "/home/user/../../etc/shadow", "a/../../../../x", "a\0b", "/home/user/x\0.txt", "..", "/.."]) {
    const query = `path=${encodeURIComponent(path)}`;
    await refused(box.inside("GET", `/files?${query}`), "invalid_path");
    await refused(box.inside("GET", `/files/content?${query}`), "invalid_path");
    await refused(box.inside("PUT", `/files/content?${query}`, "x"), "invalid_path");
    await refused(box.inside("GET", `/filesystem?${query}`), "invalid_path");
    await refused(box.inside("GET", `/filesystem/stat?${query}`), "invalid_path");
    await refused(box.inside("GET", `/filesystem/archive?${query}`), "invalid_path");
    await refused(box.inside("POST", "/files", { path, content: "x" }), "invalid_path");
    await refused(box.inside("POST", "/filesystem/mkdir", { path }), "invalid_path");
    await refused(box.inside("POST", "/filesystem/remove", { path }), "invalid_path");
    await refused(box.inside("POST", "/filesystem/move", { source: path, destination: "y" }), "invalid_path");
    await refused(box.inside("POST", "/filesystem/move", { source: "y", destination: path }), "invalid_path");
  }
});

test("a URL whose own path climbs reaches no other sandbox and no other route", async () => {
  await using box = await makeBox(tenant);
  for (const path of [
    `/sandboxes/never-was/../${box.id}/contexts`,
    `/api/../sandboxes/${box.id}/contexts`,
    `/sandboxes/${box.id}/%2e%2e/x`,
    `/sandboxes/${box.id}/./contexts`,
    `/sandboxes/${box.id}/files/..%2f..%2fx`,
  ]) {
    const { status, text } = await raw(path);
    assert.ok(status === 400 || status === 404, `${path} was answered ${status}: ${text}`);
  }
});

test("a missing file, and a folder where a file is meant", async () => {
  await using box = await makeBox(tenant);
  await box.command("mkdir folder; touch file");
  for (const route of ["/files", "/files/content", "/filesystem/stat", "/filesystem", "/filesystem/download", "/filesystem/archive"])
    await refused(box.inside("GET", `${route}?path=missing/thing`), "file_not_found");
  for (const route of ["/files", "/files/content", "/filesystem/download"])
    await refused(box.inside("GET", `${route}?path=folder`), "not_a_file");
  await refused(box.inside("PUT", "/files/content?path=folder", "x"), "not_a_file");
  await refused(box.inside("POST", "/files", { path: "folder", content: "x" }), "not_a_file");
  for (const route of ["/filesystem", "/filesystem/archive"]) await refused(box.inside("GET", `${route}?path=file`), "not_a_directory");
  await refused(box.inside("POST", "/files", { path: "file/below", content: "x" }), "not_a_directory");
});

test("fields that nobody knows are refused by name on our own API", async () => {
  await using box = await makeBox(tenant);
  for (const [method, path, body] of [
    ["POST", "/api/sandboxes", { tempalte: "x", colour: "red" }],
    ["PATCH", `/api/sandboxes/${box.id}`, { tempalte: "x", colour: "red" }],
    ["POST", "/api/templates", { name: "n", tempalte: "x", colour: "red" }],
    ["POST", `/api/sandboxes/${box.id}/artifacts`, { path: "f", tempalte: "x", colour: "red" }],
  ] as const) {
    const problem = await refused(tenant.send(method, path, body), "invalid_request");
    assert.match(problem.detail, /tempalte.*colour/);
  }
});

test("fields that nobody knows are tolerated in AgentRun's dialect, as AgentRun does", async () => {
  const body = { templateName: "code-interpreter", colour: "red", sandboxIdleTimeoutSeconds: 600 };
  const answer = await tenant.json<{ code: string; data: { sandboxId: string } }>("POST", "/sandboxes", body);
  assert.equal(answer.code, "SUCCESS");
  const { sandboxId } = answer.data;
  await tenant.json("POST", `/sandboxes/${sandboxId}/contexts/execute`, { code: "print(1)", colour: "red" });
  await tenant.json("DELETE", `/sandboxes/${sandboxId}`);
});

test("names, ids and variables that cannot be are refused by the field's name", async () => {
  for (const [field, body] of [
    ["id", { id: "a/b" }],
    ["id", { id: "x".repeat(49) }],
    ["id", { id: "..%2f" }],
    ["template", { template: "../etc" }],
    ["taskId", { taskId: "a b" }],
    ["environment", { environment: { "A=B": "1" } }],
    ["environment", { environment: Object.fromEntries(Array.from({ length: 101 }, (_, at) => [`V${at}`, ""])) }],
    ["metadata", { metadata: { k: "v".repeat(513) } }],
    ["lifetimeMs", { lifetimeMs: -1 }],
    ["lifetimeMs", { lifetimeMs: 1.5 }],
    ["idleTimeoutMs", { idleTimeoutMs: "600000" }],
  ] as const) {
    const problem = await refused(tenant.send("POST", "/api/sandboxes", body), "invalid_request");
    assert.match(problem.detail, new RegExp(`body\\.${field}`), JSON.stringify(body));
  }
});

test("a variable with a NUL is refused, and its sandbox's id stays free", async () => {
  const id = `nul-${Date.now()}`;
  await refused(tenant.send("POST", "/api/sandboxes", { id, environment: { A: "x\0y" } }), "invalid_request");
  await using box = await makeBox(tenant, { id });
  assert.equal(box.id, id);
});

test("pages that cannot be are refused", async () => {
  for (const query of ["limit=0", "limit=201", "limit=-1", "limit=many", "limit=1.5", "state=asleep"])
    await refused(tenant.send("GET", `/api/sandboxes?${query}`), "invalid_request");
});

test("a route that is not there, and a method that a route does not answer", async () => {
  await using box = await makeBox(tenant);
  await refused(tenant.send("GET", "/api/nothing"), "route_not_found");
  await refused(tenant.send("GET", "/"), "route_not_found");
  await refused(box.inside("GET", "/nothing"), "route_not_found");
  const answer = await tenant.send("PUT", "/api/sandboxes", {});
  assert.deepEqual((answer.headers.get("allow") ?? "").split(", ").toSorted(), ["GET", "POST"]);
  await refused(answer, "method_not_allowed");
  await refused(box.inside("DELETE", "/files?path=x"), "method_not_allowed");
});

/** A path exactly as written: fetch would resolve its dots before sending it. */
function raw(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(door.origin, { method, path, headers: { authorization: `Bearer ${tenant.key.apiKey}`, ...headers } }, (answer) => {
      void answer.toArray().then((chunks) => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }), reject);
    });
    sent.once("error", reject);
    if (method === "GET") sent.end();
    else sent.write(" ".repeat(1000));
  });
}

/** Says that so many bytes will come, and sends the first of them: the answer need not wait for the others. */
function announce(path: string, sizeBytes: number): Promise<{ status: number; text: string }> {
  return raw(path, { "content-length": String(sizeBytes), "content-type": "application/json" }, "POST");
}
