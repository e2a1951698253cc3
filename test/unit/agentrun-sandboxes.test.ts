import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentrunCreateSandbox, AgentrunSandbox } from "#contract/agentrun-sandbox.ts";
import { endSandbox } from "#core/sandboxes.ts";
import type { Plane } from "#gateway/agentrun/envelope.ts";
import { makeSandbox, pageSandboxes, readSandbox, removeSandbox, stopSandbox } from "#gateway/agentrun/sandboxes.ts";
import { openAgentrun, PROJECT } from "#support/agentrun-core.ts";
import { isProblem } from "#support/problem.ts";

type Core = ReturnType<typeof openAgentrun>;

const body = (fields: object = {}) => AgentrunCreateSandbox.parse({ templateName: "code-interpreter", ...fields });
const make = ({ agentrun }: Core, fields: object = {}) => makeSandbox(agentrun, "control", PROJECT, body(fields));
const list = async ({ agentrun }: Core, change: object = {}) =>
  (await pageSandboxes(agentrun, PROJECT, { maxResults: 10, ...change })).items.map((item) => [item.sandboxId, item.status]);

test("a sandbox answers in AgentRun's fields, with its session", async () => {
  const core = openAgentrun();
  const made = AgentrunSandbox.parse(await make(core, { sandboxId: "mine-1", sandboxIdleTimeoutSeconds: 600 }));
  assert.partialDeepStrictEqual(made, {
    sandboxId: "mine-1",
    templateName: "code-interpreter",
    templateType: "CodeInterpreter",
    status: "READY",
    sandboxArn: "acs:agentrun:cn-hangzhou:1000000000000000:sandboxes/mine-1",
    createdAt: "2026-01-01T00:00:00.000000+00:00",
    metadata: { fcSessionDetails: { sessionId: "mine-1", sessionStatus: "Active" } },
  });
  assert.match(made.templateId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});

for (const spelling of ["sandboxIdleTimeoutSeconds", "sandboxIdleTimeoutInSeconds"]) {
  test(`${spelling} sets the idle time`, async () => {
    const made = await make(openAgentrun(), { [spelling]: 120 });
    assert.equal(made.sandboxIdleTimeoutSeconds, 120);
  });
}

test("a client's own id twice is one sandbox", async () => {
  const core = openAgentrun();
  const first = await make(core, { sandboxId: "mine-1" });
  assert.deepEqual(await make(core, { sandboxId: "mine-1" }), first);
  assert.equal((await list(core)).length, 1);
});

test("a mount is refused by its name while none can be made", async () => {
  const asked = { ossMountConfig: { mountPoints: [{ bucketName: "b", mountDir: "/mnt" }] }, nasConfig: { mountPoints: [] } };
  await assert.rejects(make(openAgentrun(), asked), /not supported yet: ossMountConfig$/);
});

test("a stopped sandbox is terminated, readable, listed and deletable; stopping twice is one stop", async () => {
  const core = openAgentrun();
  await make(core, { sandboxId: "mine-1" });
  const stopped = await stopSandbox(core.agentrun, "data", PROJECT, "mine-1");
  assert.equal(stopped.status, "TERMINATED");
  core.clock.advance(1000);
  assert.deepEqual(await stopSandbox(core.agentrun, "data", PROJECT, "mine-1"), stopped);
  assert.deepEqual(await readSandbox(core.agentrun, "data", PROJECT, "mine-1"), stopped);
  assert.deepEqual(await list(core), [["mine-1", "TERMINATED"]]);
  assert.equal((await removeSandbox(core.agentrun, "data", PROJECT, "mine-1")).status, "TERMINATED");
  assert.deepEqual(await list(core), []);
  await assert.rejects(readSandbox(core.agentrun, "data", PROJECT, "mine-1"), isProblem("sandbox_not_found"));
});

test("deleting twice is one deletion on the control plane, and finds nothing on the data plane", async () => {
  const core = openAgentrun();
  await make(core, { sandboxId: "mine-1" });
  const deleted = await removeSandbox(core.agentrun, "control", PROJECT, "mine-1");
  assert.deepEqual(await removeSandbox(core.agentrun, "control", PROJECT, "mine-1"), deleted);
  await assert.rejects(removeSandbox(core.agentrun, "data", PROJECT, "mine-1"), isProblem("sandbox_not_found"));
});

test("a sandbox that fell over is terminated and says why", async () => {
  const core = openAgentrun();
  const made = await make(core);
  core.engine.end(`${PROJECT.id}_${made.sandboxId}`, "crashed");
  const read = await readSandbox(core.agentrun, "control", PROJECT, made.sandboxId);
  assert.partialDeepStrictEqual(read, {
    status: "TERMINATED",
    metadata: { fcSessionDetails: { sessionStatus: "Expired", endReason: "crashed" } },
  });
});

const PHRASES: [Plane, string][] = [
  ["control", "Sandbox none-such not found"],
  ["data", "sandbox not exist: none-such"],
];
for (const [plane, message] of PHRASES) {
  test(`a missing sandbox is said in the phrase of the ${plane} plane`, async () => {
    const { agentrun } = openAgentrun();
    for (const call of [readSandbox, stopSandbox, removeSandbox]) {
      await assert.rejects(call(agentrun, plane, PROJECT, "none-such"), { message });
    }
  });
}

test("another project's sandbox is missing", async () => {
  const core = openAgentrun();
  await make(core, { sandboxId: "mine-1" });
  const other = { ...PROJECT, id: "p2", name: "two" };
  await assert.rejects(readSandbox(core.agentrun, "data", other, "mine-1"), isProblem("sandbox_not_found"));
  assert.deepEqual((await pageSandboxes(core.agentrun, other, { maxResults: 10, sandboxId: "mine-1" })).items, []);
});

test("a missing template is said without the phrase that the data plane must not use", async () => {
  const { agentrun } = openAgentrun();
  await assert.rejects(makeSandbox(agentrun, "data", PROJECT, body({ templateName: "none-such" })), {
    message: "template not exist: none-such",
  });
  await assert.rejects(makeSandbox(agentrun, "control", PROJECT, body({ templateName: "none-such" })), {
    message: "Template none-such not found",
  });
});

test("the list pages through what a filter leaves, newest first", async () => {
  const core = openAgentrun();
  for (const id of ["box-1", "box-2", "box-3", "box-4"]) {
    await make(core, { sandboxId: id });
    core.clock.advance(1000);
  }
  await endSandbox(core.agentrun.platform, PROJECT, "box-3", "deleted");
  await endSandbox(core.agentrun.platform, PROJECT, "box-2", "idle");
  const first = await pageSandboxes(core.agentrun, PROJECT, { maxResults: 2 });
  assert.deepEqual(
    first.items.map((item) => item.sandboxId),
    ["box-4", "box-2"],
  );
  const { nextToken } = first;
  assert.deepEqual(await list(core, { nextToken }), [["box-1", "READY"]]);
  assert.deepEqual(await list(core, { status: "TERMINATED" }), [["box-2", "TERMINATED"]]);
  assert.deepEqual(await list(core, { status: "READY", maxResults: 1 }), [["box-4", "READY"]]);
  assert.deepEqual(await list(core, { sandboxId: "box-1" }), [["box-1", "READY"]]);
  assert.deepEqual(await list(core, { templateName: "another" }), []);
});
