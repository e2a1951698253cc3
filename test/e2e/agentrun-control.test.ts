import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as z from "zod";
import { AGENTRUN, PageOf } from "#contract/agentrun.ts";
import { AgentrunSandbox } from "#contract/agentrun-sandbox.ts";
import { AgentrunTemplate } from "#contract/agentrun-template.ts";
import { controlWire, dataOf, dataWire, failureOf, sendWire, type Answer, type Wire } from "#support/agentrun-client.ts";
import { newTenant, openDoor } from "#support/door.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const { key } = await newTenant(door);

const Templates = PageOf(AgentrunTemplate);
const Sandboxes = z.object({ items: z.array(AgentrunSandbox), nextToken: z.string().optional() });
const MICROSECONDS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$/;

const call = (method: string, path: string, body?: unknown, by = key): Promise<Answer> =>
  sendWire(controlWire(door, by, method, path, body));
const unique = (prefix: string) => `${prefix}-${Date.now()}-${crypto.randomUUID().slice(0, 6)}`;

function templateInput(templateName: string, change: object = {}) {
  return {
    templateName,
    templateType: "CodeInterpreter",
    description: "made by a test",
    cpu: 2,
    memory: 4096,
    diskSize: 512,
    sandboxIdleTimeoutInSeconds: 600,
    networkConfiguration: { networkMode: "PUBLIC" },
    ...change,
  };
}

/** A template of the test's own, deleted when the test is over. */
async function ownTemplate() {
  const name = unique("e2e-template");
  dataOf(AgentrunTemplate, await call("POST", "/templates", templateInput(name)));
  return { name, [Symbol.asyncDispose]: async () => void (await call("DELETE", `/templates/${name}`)) };
}

test("a template is made, read, changed, listed and deleted as the SDKs do it", async () => {
  const name = unique("e2e-ci-template");
  const made = dataOf(AgentrunTemplate, await call("POST", "/templates", templateInput(name, { environmentVariables: { OLD: "1" } })));
  assert.partialDeepStrictEqual(made, {
    templateName: name,
    templateType: "CodeInterpreter",
    description: "made by a test",
    cpu: 2,
    memory: 4096,
    diskSize: 512,
    sandboxIdleTimeoutInSeconds: "600",
    environmentVariables: { OLD: "1" },
    networkConfiguration: { networkMode: "PUBLIC" },
  });
  assert.match(made.createdAt, MICROSECONDS);
  const read = dataOf(AgentrunTemplate, await call("GET", `/templates/${name}`));
  assert.equal(read.status, "READY");
  assert.equal(read.templateId, made.templateId);

  const change = { description: "changed", memory: 8192, sandboxIdleTimeoutInSeconds: 1200, environmentVariables: { NEW: "2" } };
  dataOf(AgentrunTemplate, await call("PUT", `/templates/${name}?clientToken=${crypto.randomUUID()}`, change));
  const changed = dataOf(AgentrunTemplate, await call("GET", `/templates/${name}`));
  assert.partialDeepStrictEqual(changed, { ...change, sandboxIdleTimeoutInSeconds: "1200", cpu: 2, createdAt: made.createdAt });
  assert.deepEqual(changed.environmentVariables, { NEW: "2" });

  const page = dataOf(Templates, await call("GET", "/templates?pageNumber=1&pageSize=5&templateType=CodeInterpreter"));
  assert.equal(page.items[0]?.templateName, name);
  assert.equal(page.total, 2);

  assert.equal(dataOf(AgentrunTemplate, await call("DELETE", `/templates/${name}`)).templateName, name);
  for (const method of ["GET", "DELETE"]) {
    const gone = failureOf(await call(method, `/templates/${name}`));
    assert.partialDeepStrictEqual(gone, { status: 404, code: "ERR_NOT_FOUND", message: `Template ${name} not found` });
  }
});

test("a second template of one name already exists", async () => {
  await using template = await ownTemplate();
  const refused = failureOf(await call("POST", "/templates", templateInput(template.name)));
  assert.equal(refused.status, 409);
  assert.match(refused.message, /already exists/);
});

const REFUSED: [string, object, RegExp][] = [
  ["a type that is not served", { templateType: "Hologram" }, /templateType: Hologram .* CodeInterpreter/],
  ["an idle time below a minute", { sandboxIdleTimeoutInSeconds: 59 }, /sandboxIdleTimeoutInSeconds/],
  ["an idle time above six hours", { sandboxIdleTimeoutInSeconds: 21_601 }, /sandboxIdleTimeoutInSeconds/],
  ["a name with a slash", { templateName: "a/b" }, /templateName/],
  ["no type", { templateType: undefined }, /templateType/],
];
for (const [what, change, message] of REFUSED) {
  test(`${what} is refused by its name`, async () => {
    const refused = failureOf(await call("POST", "/templates", templateInput(unique("e2e-bad"), change)));
    assert.partialDeepStrictEqual(refused, { status: 400, code: "ERR_VALIDATION_FAILED" });
    assert.match(refused.message, message);
  });
}

test("unknown fields are tolerated, as AgentRun does", async () => {
  const name = unique("e2e-unknown");
  dataOf(AgentrunTemplate, await call("POST", "/templates?unknown=1", templateInput(name, { shareConcurrencyLimitPerSandbox: 200 })));
  dataOf(AgentrunTemplate, await call("DELETE", `/templates/${name}`));
});

test("a sandbox is made, read, listed, stopped and deleted as the Node SDK does it", async () => {
  await using template = await ownTemplate();
  const id = unique("e2e-ci-sandbox");
  const input = { sandboxId: id, templateName: template.name, sandboxIdleTimeoutSeconds: 600 };
  const made = dataOf(AgentrunSandbox, await call("POST", "/sandboxes", input));
  assert.partialDeepStrictEqual(made, { sandboxId: id, templateName: template.name, status: "READY", sandboxIdleTimeoutSeconds: 600 });
  assert.match(made.createdAt, MICROSECONDS);
  assert.equal(dataOf(AgentrunSandbox, await call("POST", "/sandboxes", input)).createdAt, made.createdAt);
  assert.equal(dataOf(AgentrunSandbox, await call("GET", `/sandboxes/${id}`)).status, "READY");

  const listed = async () => {
    const { items } = dataOf(
      Sandboxes,
      await call("GET", `/sandboxes?maxResults=5&templateName=${template.name}&templateType=CodeInterpreter`),
    );
    return items.map((item) => [item.sandboxId, item.status]);
  };
  assert.deepEqual(await listed(), [[id, "READY"]]);
  const inUse = failureOf(await call("DELETE", `/templates/${template.name}`));
  assert.equal(inUse.status, 400);
  assert.match(inUse.message, new RegExp(id));

  const stopped = dataOf(AgentrunSandbox, await call("POST", `/sandboxes/${id}/stop`));
  assert.equal(stopped.status, "TERMINATED");
  assert.match(stopped.endedAt ?? "", MICROSECONDS);
  assert.deepEqual(dataOf(AgentrunSandbox, await call("POST", `/sandboxes/${id}/stop`)), stopped);
  assert.deepEqual(await listed(), [[id, "TERMINATED"]]);

  const deleted = dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`));
  assert.deepEqual(dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`)), deleted);
  assert.deepEqual(await listed(), []);
  const gone = failureOf(await call("GET", `/sandboxes/${id}`));
  assert.partialDeepStrictEqual(gone, { status: 404, code: "ERR_NOT_FOUND", message: `Sandbox ${id} not found` });
});

test("the list of sandboxes pages by token", async () => {
  await using template = await ownTemplate();
  const ids = ["page-a", "page-b", "page-c"].map(unique);
  for (const sandboxId of ids) dataOf(AgentrunSandbox, await call("POST", "/sandboxes", { sandboxId, templateName: template.name }));
  const seen: string[] = [];
  let token: string | undefined;
  do {
    const next = token === undefined ? "" : `&nextToken=${encodeURIComponent(token)}`;
    const page = dataOf(Sandboxes, await call("GET", `/sandboxes?maxResults=2&templateName=${template.name}${next}`));
    seen.push(...page.items.map((item) => item.sandboxId));
    token = page.nextToken;
  } while (token !== undefined && seen.length < 10);
  assert.deepEqual(seen, ids.toReversed());
  for (const id of ids) dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`));
});

test("a sandbox of a template that does not exist is not found by the template's name", async () => {
  const refused = failureOf(await call("POST", "/sandboxes", { templateName: "none-such" }));
  assert.partialDeepStrictEqual(refused, { status: 404, message: "Template none-such not found" });
});

test("another project neither reads, lists, stops nor deletes a sandbox", async () => {
  const other = (await newTenant(door)).key;
  const { sandboxId: id } = dataOf(AgentrunSandbox, await call("POST", "/sandboxes", { templateName: "code-interpreter" }));
  for (const [method, path] of [
    ["GET", ""],
    ["POST", "/stop"],
    ["DELETE", ""],
  ] as const) {
    assert.equal(failureOf(await call(method, `/sandboxes/${id}${path}`, undefined, other)).status, 404);
  }
  assert.deepEqual(dataOf(Sandboxes, await call("GET", "/sandboxes", undefined, other)).items, []);
  assert.deepEqual(dataOf(Sandboxes, await call("GET", `/sandboxes?sandboxId=${id}`, undefined, other)).items, []);
  assert.equal(dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`)).sandboxId, id);
});

test("what is not served yet says so, and what AgentRun does not have is not found", async () => {
  const { sandboxId: id } = dataOf(AgentrunSandbox, await call("POST", "/sandboxes", { templateName: "code-interpreter" }));
  const pending: [string, string, RegExp][] = [
    ["POST", "/agents/runtimes", /Agent runtimes/],
    ["GET", "/agents/accessToken?resourceType=runtime&resourceName=one", /runtime/],
  ];
  for (const [method, path, message] of pending) {
    const refused = failureOf(await call(method, path, method === "POST" ? {} : undefined));
    assert.partialDeepStrictEqual(refused, { status: 501, code: "ERR_NOT_SUPPORTED" });
    assert.match(refused.message, message);
  }
  assert.equal(failureOf(await call("GET", "/agents/none-such")).status, 404);
  dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`));
});

test("a sandbox is paused and resumed, as its status says", async () => {
  const { sandboxId: id } = dataOf(AgentrunSandbox, await call("POST", "/sandboxes", { templateName: "code-interpreter" }));
  const put = async (verb: string) => dataOf(AgentrunSandbox, await call("PUT", `/sandboxes/${id}/${verb}`));
  const paused = await put("pause");
  assert.partialDeepStrictEqual(paused, { status: "PAUSED", metadata: { fcSessionDetails: { sessionStatus: "Paused" } } });
  assert.equal((await put("pause")).status, "PAUSED");
  const listed = dataOf(Sandboxes, await call("GET", "/sandboxes?status=PAUSED&maxResults=100"));
  assert.ok(listed.items.some(({ sandboxId }) => sandboxId === id));
  assert.equal(dataOf(AgentrunSandbox, await call("GET", `/sandboxes/${id}`)).status, "PAUSED");
  assert.equal((await put("resume")).status, "READY");
  assert.equal((await put("resume")).status, "READY");
  assert.equal(dataOf(AgentrunSandbox, await call("POST", `/sandboxes/${id}/stop`)).status, "TERMINATED");
  assert.equal(failureOf(await call("PUT", `/sandboxes/${id}/pause`)).status, 410);
  dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`));
  for (const gone of [id, "none-such"])
    for (const verb of ["pause", "resume"]) assert.equal(failureOf(await call("PUT", `/sandboxes/${gone}/${verb}`)).status, 404);
});

const listing = () => controlWire(door, key, "GET", "/sandboxes");
const creation = () => controlWire(door, key, "POST", "/templates", templateInput(unique("e2e-forged")));
const FORGED: [string, () => Wire, number, RegExp][] = [
  [
    "another secret",
    () => controlWire(door, { ...key, accessKeySecret: "another" }, "GET", "/sandboxes"),
    403,
    /Signature verification failed/,
  ],
  ["an altered body", () => ({ ...creation(), body: JSON.stringify(templateInput("forged")) }), 403, /body does not match/],
  ["an altered path", () => ({ ...listing(), path: `${AGENTRUN}/templates` }), 403, /does not match the request/],
  ["an altered query", () => ({ ...listing(), path: `${AGENTRUN}/sandboxes?maxResults=1` }), 403, /does not match the request/],
  ["a date 16 minutes ago", () => controlWire(door, key, "GET", "/sandboxes", undefined, Date.now() - 960_000), 403, /15 minutes/],
  ["a date 16 minutes ahead", () => controlWire(door, key, "GET", "/sandboxes", undefined, Date.now() + 960_000), 403, /15 minutes/],
  ["an unknown key", () => controlWire(door, { ...key, accessKeyId: "nobody" }, "GET", "/sandboxes"), 401, /not known/],
  ["no signature", () => ({ ...listing(), headers: { host: new URL(door.tlsOrigin).host } }), 401, /credential/i],
];
for (const [what, wire, status, message] of FORGED) {
  test(`${what} does not pass`, async () => {
    const refused = failureOf(await sendWire(wire()));
    assert.equal(refused.status, status);
    assert.match(refused.message, message);
    assert.equal(refused.code, status === 401 ? "InvalidAccessKey" : "ERR_FORBIDDEN");
  });
}

test("a request that was captured is good for nothing", async () => {
  const wire = listing();
  dataOf(Sandboxes, await sendWire(wire));
  assert.match(failureOf(await sendWire(wire)).message, /received before/);
});

test("the control plane answers on plain HTTP too, where a local client asks for it", async () => {
  dataOf(Sandboxes, await sendWire(controlWire({ ...door, tlsOrigin: door.origin }, key, "GET", "/sandboxes")));
});

test("a body that is not JSON, or too large, is refused in AgentRun's envelope", async () => {
  const half = { ...creation(), body: "{" };
  const bytes = `{"templateName":"a","templateType":"CodeInterpreter","description":"${"x".repeat(1_100_000)}"}`;
  for (const [body, status] of [
    [half.body, 400],
    [bytes, 413],
  ] as const) {
    const wire = dataWire(door, { prefix: key.apiKey }, "POST", `${AGENTRUN}/templates`, Buffer.from(body));
    assert.equal(failureOf(await sendWire(wire)).status, status);
  }
});

test("a token for a sandbox opens that sandbox on the data plane and no other", async () => {
  const Token = z.object({ accessToken: z.string().min(20) });
  const make = async () => dataOf(AgentrunSandbox, await call("POST", "/sandboxes", { templateName: "code-interpreter" })).sandboxId;
  const [mine, another] = [await make(), await make()];
  const { accessToken: token } = dataOf(Token, await call("GET", `/agents/accessToken?resourceType=sandbox&resourceId=${mine}`));
  assert.equal(dataOf(AgentrunSandbox, await sendWire(dataWire(door, { token }, "GET", `/sandboxes/${mine}`))).sandboxId, mine);
  const refusals = [
    dataWire(door, { token }, "GET", `/sandboxes/${another}`),
    dataWire(door, { token }, "GET", `/sandboxes/${another}/files?path=/etc/hostname`),
    dataWire(door, { token }, "DELETE", `/sandboxes/${another}`),
    dataWire(door, { token }, "POST", "/sandboxes", { templateName: "code-interpreter" }),
    dataWire(door, { token }, "GET", `${AGENTRUN}/templates`),
    dataWire(door, { token }, "GET", "/api/sandboxes"),
    dataWire(door, { token: `${token.slice(0, -2)}AA` }, "GET", `/sandboxes/${mine}`),
  ];
  for (const wire of refusals) {
    const { status } = await sendWire(wire);
    assert.ok([401, 403, 404].includes(status), `${wire.method} ${wire.path} answered ${status}`);
  }
  assert.equal(failureOf(await call("GET", "/agents/accessToken?resourceType=sandbox&resourceId=none-such")).status, 404);
  for (const id of [mine, another]) dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`));
});

test("a token for a template makes sandboxes of it and of no other", async () => {
  await using template = await ownTemplate();
  const Token = z.object({ accessToken: z.string() });
  const { accessToken: token } = dataOf(
    Token,
    await call("GET", `/agents/accessToken?resourceType=template&resourceName=${template.name}`),
  );
  const { sandboxId: id } = dataOf(
    AgentrunSandbox,
    await sendWire(dataWire(door, { token }, "POST", "/sandboxes", { templateName: template.name })),
  );
  const refused = await sendWire(dataWire(door, { token }, "POST", "/sandboxes", { templateName: "code-interpreter" }));
  assert.equal(failureOf(refused).status, 403);
  dataOf(AgentrunSandbox, await call("DELETE", `/sandboxes/${id}`));
});
