import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Program } from "#contract/program.ts";
import type { Template } from "#contract/template.ts";
import { type Box, makeBox } from "#support/box.ts";
import { addServerImage, imageTemplate, type Itself } from "#support/custom-image.ts";
import { newTenant, openDoor } from "#support/door.ts";
import type { Reached } from "#support/port-server.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const bounded = { timeout: 180_000 };
let image = "";
let template = "";
before(async () => {
  image = await addServerImage(door, { Env: ["GREETING=from the image", "PORT=5000"], WorkingDir: "/made/for/it", User: "app" });
  template = await imageTemplate(tenant, { image }, { environment: { OWN: "from the template" } });
});

const itself = async (box: Box) => (await (await box.inside("GET", "/self")).json()) as Itself;

async function refused(
  path: string,
  body: object,
): Promise<{ status: number; code: string; message: string; next: string; details: Record<string, unknown> }> {
  const answer = await tenant.send("POST", path, body);
  return {
    status: answer.status,
    ...((await answer.json()) as { code: string; message: string; next: string; details: Record<string, unknown> }),
  };
}

test("a sandbox of an image runs the image's program, by its user, in its folder, with its variables and its root", bounded, async () => {
  await using box = await makeBox(tenant, { template, environment: { GREETING: "from the sandbox" } });
  assert.deepEqual([box.sandbox.type, box.sandbox.state], ["CustomImage", "ready"]);
  const told = await itself(box);
  assert.deepEqual([told.pid, told.uid, told.gid, told.groups], [1, [1234, 1234, 1234], [4321, 4321, 4321], [77]]);
  assert.equal(told.cwd, "/made/for/it");
  const { GREETING, OWN, HOME, PATH, ...others } = told.environment;
  assert.deepEqual([GREETING, OWN, HOME], ["from the sandbox", "from the template", "/home/app"]);
  assert.match(PATH ?? "", /\/usr\/bin/);
  assert.deepEqual(Object.keys(others), ["PORT"]);
  assert.deepEqual(told.root, ["app", "bin", "dev", "etc", "lib", "lib64", "made", "proc", "srv", "tmp", "usr"]);
});

test(
  "whatever is asked under the sandbox goes to the program's port: methods, bodies, queries, redirects, WebSockets",
  bounded,
  async () => {
    await using box = await makeBox(tenant, { template });
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
      const body = method === "GET" ? undefined : "a body";
      const told = (await (await box.inside(method, "/any//path%2Fx?a=1&tenantId=t", body, { "x-own": "yes" })).json()) as Reached;
      assert.deepEqual([told.method, told.path, told.body], [method, "/any//path%2Fx?a=1", body ?? ""]);
    }
    const answer = await box.inside("GET", "/", undefined, { cookie: "a=b", origin: door.origin });
    const { headers } = (await answer.json()) as Reached;
    assert.deepEqual(
      Object.keys(headers).filter((name) => /authorization|cookie|cleanroom|origin/i.test(name)),
      [],
    );
    assert.equal(answer.headers.get("set-cookie"), null);
    assert.equal(answer.headers.get("cleanroom-served"), null);
    const bearer = { authorization: `Bearer ${tenant.key.apiKey}` };
    const moved = await fetch(`${door.origin}/sandboxes/${box.id}/redirect`, { headers: bearer, redirect: "manual" });
    assert.equal(moved.headers.get("location"), `/sandboxes/${box.id}/after?x=1`);
    // Node's own client takes headers, which the web's does not.
    const socket = new WebSocket(`${door.origin.replace("http", "ws")}/sandboxes/${box.id}/ws/anything`, { headers: bearer });
    await once(socket, "open");
    const heard = once(socket, "message");
    socket.send("hello");
    assert.equal(((await heard)[0] as MessageEvent).data, "hello");
    socket.close();
    assert.equal(((await (await box.inside("GET", "/ports/5000/by/port")).json()) as Reached).path, "/by/port");
  },
);

test("a path that others have and the program has not is refused in words; health is the sandbox's own then", bounded, async () => {
  await using box = await makeBox(tenant, { template });
  const answer = await box.inside("POST", "/contexts/execute", { code: "1" });
  assert.deepEqual([answer.status, ((await answer.json()) as { code: string }).code], [501, "not_supported"]);
  assert.deepEqual(((await (await box.inside("GET", "/files?path=x")).json()) as Reached).path, "/files?path=x", "what it has is its own");
  assert.deepEqual(
    [(await box.inside("GET", "/absent")).status, await (await box.inside("GET", "/absent")).json()],
    [404, { own: "not here" }],
  );
  const health = (await (await box.inside("GET", "/health")).json()) as { status: string; service: string };
  assert.deepEqual([health.status, health.service], ["ok", "sandbox-custom-image"]);
  for (const [path, body] of [
    [`/api/sandboxes/${box.id}/artifacts`, { path: "/etc/passwd" }],
    [`/api/sandboxes/${box.id}/snapshots`, { name: "none" }],
  ] as const) {
    const said = await refused(path, body);
    assert.deepEqual([said.status, said.code], [501, "not_supported"], path);
  }
});

test("a template's command stands in place of the image's own, on the port that it says", bounded, async () => {
  const command = ["python3", "-I", "-S", "/app/server.py", "an argument"];
  const own = await imageTemplate(tenant, { image, command, port: 8088 }, { environment: { PORT: "8088" } });
  await using box = await makeBox(tenant, { template: own });
  assert.deepEqual((await itself(box)).argv, ["/app/server.py", "an argument"]);
  const changed = await tenant.json<Template>("PATCH", `/api/templates/${own}`, {
    container: { image, port: 8089 },
    environment: { PORT: "8089" },
  });
  assert.deepEqual(changed.container, { image, command: [], port: 8089 });
  await using next = await makeBox(tenant, { template: own });
  assert.deepEqual((await itself(next)).argv, ["/app/server.py"]);
});

test("what a program does and writes can be read; once it ends, that is what requests are told", bounded, async () => {
  await using box = await makeBox(tenant, { template });
  const read = async () => Program.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/program`));
  const running = await read();
  assert.deepEqual([running.state, running.port, running.stdout, running.exitCode], ["running", 5000, "the first words\n", undefined]);
  await (await box.inside("POST", "/end", "x")).text();
  await until("the program has ended", async () => (await read()).state === "ended", 30_000);
  const ended = await read();
  assert.deepEqual([ended.exitCode, ended.stdout], [7, "the first words\nthe last words\n"]);
  const answer = await box.inside("GET", "/");
  const { code, detail, details } = (await answer.json()) as {
    code: string;
    detail: string;
    details: { exitCode: number; output: string };
  };
  assert.deepEqual([answer.status, code, details.exitCode], [502, "program_failed", 7]);
  assert.match(detail, /ended, with exit code 7: .*the last words/s);
  await using other = await makeBox(tenant);
  const none = await tenant.send("GET", `/api/sandboxes/${other.id}/program`);
  assert.equal(none.status, 501);
});

test("a program that does not come up is a creation that says why, with its exit code and last words", bounded, async () => {
  const cases: [string, object, RegExp, object][] = [
    [
      "ends",
      { command: ["python3", "-c", "import sys; print('no luck'); sys.exit(3)"] },
      /ended before it served anybody, with exit code 3: no luck/,
      { exitCode: 3 },
    ],
    ["is not there", { command: ["nothing-like-it"] }, /cannot begin: There is no program nothing-like-it/, {}],
    ["is no program", { command: ["/etc/passwd"] }, /cannot begin: .*\/etc\/passwd cannot be run/, {}],
    ["crashes", { command: ["python3", "-c", "import ctypes; ctypes.string_at(0)"] }, /exit code 139/, { exitCode: 139 }],
  ];
  for (const [what, container, message, facts] of cases) {
    const failing = await imageTemplate(tenant, { image, ...container });
    const said = await refused("/api/sandboxes", { template: failing });
    assert.deepEqual([said.status, said.code], [502, "program_failed"], `${what}: ${said.message}`);
    assert.match(said.message, message);
    for (const [name, value] of Object.entries(facts)) assert.equal(said.details[name], value, what);
  }
});

test("an image that is not there, or that no template of this kind can have, is refused when the template is made", bounded, async () => {
  const make = (body: object) => refused("/api/templates", { name: `t-${crypto.randomUUID().slice(0, 8)}`, ...body });
  const missing = await make({ type: "CustomImage", container: { image: "registry.example.com/team/app:1" } });
  assert.deepEqual([missing.status, missing.code], [404, "image_not_found"]);
  assert.match(missing.message, /no registry to ask/);
  assert.match(missing.next, /cleanroom image add/);
  const outside = await make({ type: "CustomImage", container: { image: "/etc" } });
  assert.deepEqual([outside.status, outside.code], [404, "image_not_found"]);
  for (const body of [
    { type: "CustomImage" },
    { type: "CodeInterpreter", container: { image } },
    { type: "CustomImage", container: { image, port: 0 } },
    { type: "CustomImage", container: { image, user: "root" } },
  ])
    assert.deepEqual((await make(body)).code, "invalid_request", JSON.stringify(body));
  const root = await addServerImage(door, { User: "nobody-knows" });
  const said = await refused("/api/sandboxes", { template: await imageTemplate(tenant, { image: root }) });
  assert.match(said.message, /user nobody-knows is not in its \/etc\/passwd/);
});

test("AgentRun's containerConfiguration makes the same, on its routes", bounded, async () => {
  const templateName = `image-${crypto.randomUUID().slice(0, 8)}`;
  const containerConfiguration = { image, command: ["python3", "/app/server.py"], port: 5000, imageRegistryType: "ACR" };
  const make = { templateName, templateType: "CustomImage", memory: 512, cpu: 0.5, containerConfiguration };
  const made = await tenant.json<{ data: { containerConfiguration: object; templateType: string } }>("POST", "/2025-09-10/templates", make);
  assert.deepEqual(made.data.containerConfiguration, containerConfiguration);
  const { data } = await tenant.json<{ data: { sandboxId: string; status: string } }>("POST", "/sandboxes", { templateName });
  assert.equal(data.status, "READY");
  const told = await tenant.json<Reached>("POST", `/sandboxes/${data.sandboxId}/v1/chat`, { a: 1 });
  assert.deepEqual([told.path, told.body], ["/v1/chat", '{"a":1}']);
  await tenant.json("DELETE", `/sandboxes/${data.sandboxId}`);
  const wrong = await tenant.send("POST", "/2025-09-10/templates", { templateName: `${templateName}x`, templateType: "CustomImage" });
  assert.equal(wrong.status, 400);
  assert.match(await wrong.text(), /body\.containerConfiguration\.image/);
});
