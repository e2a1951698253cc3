import assert from "node:assert/strict";
import { test } from "node:test";
import { signAcs3 } from "#contract/acs3.ts";
import { INNER_HEADER } from "#contract/inner.ts";
import { DOOR_OPERATIONS, WORKSPACE_OPERATIONS } from "#contract/operations.ts";
import { createKey, createProject, findByApiKey } from "#core/projects.ts";
import { mintToken } from "#core/tokens.ts";
import { signAgentrun4 } from "#gateway/agentrun/signature.ts";
import { createApp } from "#gateway/app.ts";
import { CORE_LIMITS as LIMITS } from "#support/core.ts";
import { openGate, ROOT } from "#support/gate.ts";

type Gate = Awaited<ReturnType<typeof openTenants>>;

async function openTenants() {
  const gate = await openGate();
  const { platform } = gate.gateway;
  const root = (await findByApiKey(platform, ROOT.apiKey)) ?? assert.fail();
  const one = await createProject(platform, LIMITS, root, { name: "one", quota: { sandboxes: 2 } }, ROOT.accountId);
  const two = await createProject(platform, LIMITS, root, { name: "two" }, ROOT.accountId);
  return { ...gate, app: createApp(gate.gateway), root, one, two };
}

function send(
  { app }: Pick<Gate, "app">,
  method: string,
  path: string,
  apiKey?: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const credential: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return Promise.resolve(
    app.request(`http://door${path}`, { method, headers: { ...credential, ...headers }, ...(body === undefined ? {} : { body: text }) }),
  );
}

const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code;

test("every credential that is promised lets its owner in", async () => {
  const gate = await openTenants();
  const { one, core } = gate;
  const now = core.clock.now();
  const host = "door";
  const acs3 = signAcs3({ method: "GET", url: "/api/me", headers: { host } }, one.key, now);
  const agentrun4 = signAgentrun4({ method: "GET", url: "/api/me", host }, { ...one.key, region: "cn-hangzhou" }, now);
  const { token } = mintToken(gate.gateway.platform, one.project, { sandboxId: "x" }, 1000);
  const ways: [string, Record<string, string>][] = [
    ["/api/me", { authorization: `Bearer ${one.key.apiKey}` }],
    ["/api/me", { "x-api-key": one.key.apiKey }],
    ["/api/me", { "agentrun-access-token": one.key.apiKey }],
    ["/api/me", { "agentrun-access-token": token }],
    ["/api/me", acs3],
    ["/api/me", agentrun4],
    [`/k/${one.key.apiKey}/api/me`, { "agentrun-access-token": "" }],
  ];
  for (const [path, headers] of ways) {
    const answer = await send(gate, "GET", path, undefined, undefined, headers);
    assert.equal(answer.status, 200, `${path} ${JSON.stringify(headers)}`);
    assert.equal(((await answer.json()) as { project: { id: string } }).project.id, one.project.id);
  }
});

test("no credential, a wrong one and an empty one are refused", async () => {
  const gate = await openTenants();
  const ways: [string, Record<string, string>][] = [
    ["/api/me", {}],
    ["/api/me", { "agentrun-access-token": "" }],
    ["/api/me", { authorization: "Bearer cr_CRROOT_wrong" }],
    ["/api/me", { authorization: `Basic ${ROOT.apiKey}` }],
    ["/api/me", { "x-api-key": "x", "agentrun-access-token": ROOT.apiKey }],
    ["/k/cr_CRROOT_wrong/api/me", { authorization: `Bearer ${ROOT.apiKey}` }],
    ["/k//api/me", {}],
    [`/api/me?Authorization=${ROOT.apiKey}`, {}],
  ];
  for (const [path, headers] of ways) {
    const answer = await send(gate, "GET", path, undefined, undefined, headers);
    assert.equal(answer.status, 401, `${path} ${JSON.stringify(headers)}`);
    assert.match(answer.headers.get("www-authenticate") ?? "", /Bearer/);
  }
});

test("a signed request is good once, for the body that was signed", async () => {
  const gate = await openTenants();
  const { one, core } = gate;
  const body = JSON.stringify({ id: "mine-1" });
  const sign = () => signAcs3({ method: "POST", url: "/api/sandboxes", headers: { host: "door" }, body }, one.key, core.clock.now());
  const signed = sign();
  assert.equal((await send(gate, "POST", "/api/sandboxes", undefined, body, signed)).status, 201);
  assert.equal(await codeOf(await send(gate, "POST", "/api/sandboxes", undefined, body, signed)), "signature_mismatch");
  assert.equal(await codeOf(await send(gate, "POST", "/api/sandboxes", undefined, body.replace("1", "2"), sign())), "signature_mismatch");
  const late = sign();
  core.clock.advance(16 * 60_000);
  assert.equal(await codeOf(await send(gate, "POST", "/api/sandboxes", undefined, body, late)), "signature_mismatch");
});

test("a key that is revoked stops at once", async () => {
  const gate = await openTenants();
  const key = await createKey(gate.gateway.platform, gate.root, gate.one.project.id, ROOT.accountId);
  assert.equal((await send(gate, "GET", "/api/me", key.apiKey)).status, 200);
  assert.equal((await send(gate, "DELETE", `/api/keys/${key.accessKeyId}`, gate.one.key.apiKey)).status, 204);
  assert.equal((await send(gate, "GET", "/api/me", key.apiKey)).status, 401);
});

test("anonymous is only for this machine, only when set, and not for pages of other sites", async () => {
  const { gateway } = await openGate({ allowAnonymous: true });
  const app = createApp(gateway);
  const from = async (remoteAddress: string, headers: Record<string, string>) => {
    const incoming = { method: "GET", url: "/api/me", headers, rawHeaders: [], socket: { remoteAddress } };
    return (await app.request("http://127.0.0.1:7070/api/me", { headers }, { incoming })).status;
  };
  assert.equal(await from("127.0.0.1", { host: "127.0.0.1:7070" }), 200);
  assert.equal(await from("::ffff:127.0.0.1", { host: "localhost:7070", origin: "http://localhost:7070" }), 200);
  assert.equal(await from("10.0.0.8", { host: "127.0.0.1:7070" }), 401);
  assert.equal(await from("127.0.0.1", { host: "evil.example:7070" }), 401);
  assert.equal(await from("127.0.0.1", { host: "127.0.0.1:7070", origin: "http://evil.example" }), 401);
  assert.equal(await from("127.0.0.1", { host: "127.0.0.1:7070", "x-forwarded-for": "10.0.0.8" }), 401);
});

test("on every route, another project's sandbox, template, artifact and snapshot do not exist", async () => {
  const gate = await openTenants();
  const { one, two } = gate;
  await send(gate, "POST", "/api/templates", one.key.apiKey, { name: "template-of-one" });
  await send(gate, "POST", "/api/sandboxes", one.key.apiKey, { id: "mine-1" });
  const kept = await send(gate, "POST", "/api/sandboxes/mine-1/artifacts", one.key.apiKey, { path: "/a" });
  assert.equal(kept.status, 201);
  const { id } = (await kept.json()) as { id: string };
  const taken = await send(gate, "POST", "/api/sandboxes/mine-1/snapshots", one.key.apiKey, { name: "snapshot-of-one" });
  assert.equal(taken.status, 201);
  const named: Record<string, string> = {
    sandboxId: "mine-1",
    name: "template-of-one",
    snapshot: "snapshot-of-one",
    artifactId: id,
    projectId: one.project.id,
    taskId: "mine-1",
  };
  const bodies: Record<string, unknown> = {
    keepArtifact: { path: "/a" },
    createSnapshot: { name: "x" },
    createTicket: { purpose: "terminal" },
    actOnDesktop: { type: "screenshot" },
    updateSandbox: { name: "x" },
    updateTemplate: { cpu: 1 },
    linkArtifact: {},
    createKey: {},
    updateProject: { quota: {} },
    setProjectBudget: { budget: { units: { requests: 1 } } },
    finishTask: { outcome: { status: "succeeded" } },
  };
  const routes = [
    ...DOOR_OPERATIONS.filter(
      (op) => /:(sandboxId|name|artifactId|projectId|snapshot|taskId)/.test(op.path) && op.id !== "downloadArtifact",
    ),
    ...WORKSPACE_OPERATIONS.map((op) => ({ ...op, path: `/sandboxes/:sandboxId${op.path}` })),
  ];
  assert.ok(routes.length > 30);
  const entered = gate.core.engine.requests.length;
  for (const op of routes) {
    const ask = async (names: Record<string, string>) => {
      const path = op.path.replace(/:([A-Za-z]+)/g, (_all, name: string) => names[name] ?? "x");
      const answer = await send(
        gate,
        op.method.toUpperCase(),
        path,
        two.key.apiKey,
        op.method === "get" ? undefined : (bodies[op.id] ?? {}),
      );
      assert.equal(answer.status, 404, `${op.method} ${path}`);
      const { requestId: _id, ...said } = (await answer.json()) as Record<string, unknown>;
      return Object.values(names).reduce((text, name) => text.replaceAll(name, "?"), JSON.stringify(said));
    };
    const nobodys = Object.fromEntries(Object.keys(named).map((name) => [name, `nobodys-${name}`]));
    assert.equal(await ask(named), await ask(nobodys), `${op.id} tells what exists from what does not`);
  }
  assert.equal(gate.core.engine.requests.length, entered, "nothing entered the sandbox");
  const lists = await Promise.all(
    ["/api/sandboxes", "/api/artifacts", "/api/snapshots"].map((path) => send(gate, "GET", path, two.key.apiKey)),
  );
  for (const list of lists) assert.deepEqual(await list.json(), { items: [] });
});

test("a token works under its sandbox or its template's sandboxes and nowhere else", async () => {
  const gate = await openTenants();
  const { platform } = gate.gateway;
  const { one } = gate;
  await send(gate, "POST", "/api/templates", one.key.apiKey, { name: "template-of-one" });
  await send(gate, "POST", "/api/sandboxes", one.key.apiKey, { id: "mine-1", template: "template-of-one" });
  await send(gate, "POST", "/api/sandboxes", one.key.apiKey, { id: "mine-2" });
  const statuses = async (token: string) =>
    Promise.all(
      ["/sandboxes/mine-1/contexts", "/sandboxes/mine-2/contexts", "/api/sandboxes", "/api/sandboxes/mine-1"].map(
        async (path) => (await send(gate, "GET", path, token)).status,
      ),
    );
  assert.deepEqual(await statuses(mintToken(platform, one.project, { sandboxId: "mine-2" }, 1000).token), [404, 200, 403, 403]);
  const { token } = mintToken(platform, one.project, { template: "template-of-one" }, 1000);
  assert.deepEqual(await statuses(token), [200, 404, 403, 403]);
  assert.deepEqual(await statuses(`${token}.more`), [401, 401, 401, 401]);
});

test("bad input is named: malformed JSON, unknown fields, wrong values, too large a body", async () => {
  const gate = await openTenants();
  const create = async (body: unknown) => {
    const answer = await send(gate, "POST", "/api/sandboxes", gate.one.key.apiKey, body);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
    return { status: answer.status, ...((await answer.json()) as { code: string; detail: string }) };
  };
  assert.deepEqual(((it) => [it.status, it.code])(await create("{")), [400, "invalid_json"]);
  assert.match((await create({ colour: "red" })).detail, /colour/);
  assert.match((await create({ metadata: { a: 1 } })).detail, /body\.metadata\.a/);
  assert.match((await create({ id: "../x" })).detail, /body\.id/);
  assert.equal((await create({ template: "none" })).code, "template_not_found");
  assert.deepEqual(((it) => [it.status, it.code])(await create(`{"name":"${"x".repeat(2 << 20)}"}`)), [413, "body_too_large"]);
});

test("a used-up quota says when to try again", async () => {
  const gate = await openTenants();
  const make = () => send(gate, "POST", "/api/sandboxes", gate.one.key.apiKey, {});
  assert.deepEqual([(await make()).status, (await make()).status], [201, 201]);
  const refused = await make();
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get("retry-after")) >= 1);
  const { items } = (await (await send(gate, "GET", "/api/sandboxes", gate.one.key.apiKey)).json()) as { items: { id: string }[] };
  assert.equal(items.length, 2);
  await send(gate, "DELETE", `/api/sandboxes/${items[0]?.id}`, gate.one.key.apiKey);
  assert.equal((await make()).status, 201);
});

test("what is no route is 404, what is no method of a route is 405, and each answer has its id", async () => {
  const gate = await openTenants();
  const nowhere = await send(gate, "GET", "/nowhere");
  assert.deepEqual([nowhere.status, nowhere.headers.get("content-type")], [404, "application/problem+json"]);
  const put = await send(gate, "PUT", "/api/sandboxes");
  assert.deepEqual([put.status, put.headers.get("allow")], [405, "POST, GET"]);
  const ids = new Set([nowhere, put, await send(gate, "GET", "/health")].map((answer) => answer.headers.get("x-request-id")));
  assert.equal(ids.size, 3);
  assert.equal(((await nowhere.json()) as { requestId: string }).requestId, nowhere.headers.get("x-request-id"));
});

test("an error inside says nothing of itself", async () => {
  const gate = await openTenants();
  gate.core.tables.before = () => {
    throw new Error("the secret of the store");
  };
  const answer = await send(gate, "POST", "/api/sandboxes", gate.one.key.apiKey, {});
  const text = await answer.text();
  assert.equal(answer.status, 500);
  assert.ok(!text.includes("secret"));
  assert.ok(
    gate.core.events.some((event) => event.name === "request.failed" && String(event.facts["error"]).includes("the secret of the store")),
  );
});

test("a key in the path reaches neither the log nor the sandbox", async () => {
  const gate = await openTenants();
  await send(gate, "POST", "/api/sandboxes", gate.one.key.apiKey, { id: "mine-1" });
  assert.equal((await send(gate, "GET", `/k/${gate.one.key.apiKey}/sandboxes/mine-1/files?path=%2Fa`)).status, 200);
  const { passage } = gate.core.engine.requests.at(-1) ?? assert.fail();
  assert.equal(passage.url, "/files?path=%2Fa");
  gate.core.tables.before = () => {
    throw new Error("broken");
  };
  await send(gate, "POST", `/k/${gate.one.key.apiKey}/api/sandboxes`, undefined, {});
  assert.ok(gate.core.events.some((event) => event.name === "request.failed"));
  assert.ok(!JSON.stringify(gate.core.events).includes(gate.one.key.accessKeySecret));
});

test("what only the core may ask of a workspace is asked by no client, whatever it writes", async () => {
  const gate = await openTenants();
  await send(gate, "POST", "/api/sandboxes", gate.one.key.apiKey, { id: "mine-1" });
  const { requests } = gate.core.engine;
  for (const name of [INNER_HEADER, INNER_HEADER.toUpperCase()]) {
    for (const method of ["GET", "PUT"]) {
      const before = requests.length;
      await send(gate, method, "/sandboxes/mine-1/snapshot", gate.one.key.apiKey, method === "PUT" ? {} : undefined, { [name]: "1" });
      assert.equal(requests.length, before + 1);
      assert.equal(requests.at(-1)?.passage.headers.get(INNER_HEADER), null);
    }
  }
  await send(gate, "POST", "/api/sandboxes/mine-1/snapshots", gate.one.key.apiKey, { name: "one" });
  assert.equal(requests.at(-1)?.passage.headers.get(INNER_HEADER), "1");
});

test("dot segments in a sandbox's path are refused in every spelling", async () => {
  const gate = await openTenants();
  await send(gate, "POST", "/api/sandboxes", gate.one.key.apiKey, { id: "mine-1" });
  for (const inside of ["%2e%2e/x", ".%2E/x", "a/..%2f", "a%2F../x", "a\\..\\x", "..%5cx", "a%2fb"]) {
    const path = `/sandboxes/mine-1/${inside}`;
    const incoming = { method: "GET", url: path, headers: { authorization: `Bearer ${gate.one.key.apiKey}` }, rawHeaders: [], socket: {} };
    const answer = await gate.app.request("http://door/sandboxes/mine-1/x", { headers: incoming.headers }, { incoming });
    if (inside === "a%2fb") assert.equal(answer.status, 200, "an encoded slash is part of a name");
    else assert.equal(answer.status, 400, path);
  }
});
