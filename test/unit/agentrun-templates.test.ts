import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentrunCreateTemplate, AgentrunTemplate, AgentrunUpdateTemplate } from "#contract/agentrun-template.ts";
import { Problem } from "#contract/problem.ts";
import { changeTemplate, makeTemplate, pageTemplates, readTemplate, removeTemplate } from "#gateway/agentrun/templates.ts";
import { openAgentrun, PROJECT } from "#support/agentrun-core.ts";
import { isProblem } from "#support/problem.ts";

const page = (change: object = {}) => ({ pageNumber: 1, pageSize: 10, ...change });
const create = (name: string, change: object = {}) =>
  AgentrunCreateTemplate.parse({ templateName: name, templateType: "CodeInterpreter", ...change });

test("a template comes back with everything that was sent", async () => {
  const { agentrun } = openAgentrun();
  const sent = {
    cpu: 2,
    memory: 4096,
    diskSize: 512,
    description: "for tests",
    environmentVariables: { A: "1" },
    sandboxIdleTimeoutInSeconds: 600,
    sandboxTTLInSeconds: 3600,
    networkConfiguration: { networkMode: "PUBLIC" },
    scalingConfig: { minInstances: 1 },
    allowAnonymousManage: false,
  };
  const made = AgentrunTemplate.parse(await makeTemplate(agentrun, PROJECT, create("one", sent)));
  assert.partialDeepStrictEqual(made, { ...sent, sandboxIdleTimeoutInSeconds: "600", sandboxTTLInSeconds: "3600", status: "READY" });
  assert.partialDeepStrictEqual(await readTemplate(agentrun, PROJECT, "one"), made);
});

test("a setting that does nothing yet says so", async () => {
  const { agentrun } = openAgentrun();
  const made = await makeTemplate(agentrun, PROJECT, create("one", { networkConfiguration: { networkMode: "PUBLIC" } }));
  assert.match(made.statusReason, /networkMode PUBLIC is recorded; sandboxes have no network yet/);
});

test("the least size of AgentRun's warm pool is the template's, and what is prepared is read with it", async () => {
  const { agentrun } = openAgentrun();
  const scheduledPolicies = [{ name: "night", target: 0 }];
  const made = await makeTemplate(agentrun, PROJECT, create("one", { scalingConfig: { minInstances: 3, scheduledPolicies } }));
  assert.deepEqual(made.scalingConfig, { minInstances: 3, scheduledPolicies });
  assert.match(made.statusReason, /scheduledPolicies are recorded/);
  const read = AgentrunTemplate.parse(await readTemplate(agentrun, PROJECT, "one"));
  assert.deepEqual(read.scalingStatus, { currentInstances: 3, minInstances: 3, targetInstances: 3 });
  const changed = await changeTemplate(agentrun, PROJECT, "one", { scalingConfig: { minInstances: 0 } });
  assert.equal(changed.scalingConfig?.minInstances, 0);
});

test("what is left out, or null as the Python SDK sends it, is AgentRun's default", async () => {
  const { agentrun } = openAgentrun();
  const made = await makeTemplate(
    agentrun,
    PROJECT,
    create("one", { cpu: null, description: null, nasConfig: null, shareConcurrencyLimitPerSandbox: 200 }),
  );
  assert.partialDeepStrictEqual(made, { cpu: 2, memory: 4096, diskSize: 512, description: "" });
  assert.equal("nasConfig" in made || "shareConcurrencyLimitPerSandbox" in made, false);
});

test("moments carry microseconds and an offset", async () => {
  const { agentrun } = openAgentrun();
  const made = await makeTemplate(agentrun, PROJECT, create("one"));
  assert.equal(made.createdAt, "2026-01-01T00:00:00.000000+00:00");
});

test("a second template of one name exists already, and the first keeps its fields", async () => {
  const { agentrun, clock } = openAgentrun();
  const first = await makeTemplate(agentrun, PROJECT, create("one", { workspaceId: "w1" }));
  clock.advance(3_600_000);
  await assert.rejects(makeTemplate(agentrun, PROJECT, create("one", { workspaceId: "w2" })), /Template one already exists/);
  assert.partialDeepStrictEqual(await readTemplate(agentrun, PROJECT, "one"), first);
});

test("a type that is not served is refused by its field, naming those that are", async () => {
  const { agentrun } = openAgentrun();
  await assert.rejects(
    makeTemplate(agentrun, PROJECT, { ...create("one"), templateType: "Hologram" }),
    /templateType: Hologram .* CodeInterpreter/,
  );
  assert.equal((await pageTemplates(agentrun, PROJECT, page({ templateName: "one", templateType: "CodeInterpreter" }))).total, 0);
});

test("a template of an image takes what AgentRun says of its container, and refuses one without an image", async () => {
  const { agentrun, engine } = openAgentrun();
  const own = { ...create("one"), templateType: "CustomImage", containerConfiguration: { image: "app:1", command: ["run"], port: null } };
  const made = await makeTemplate(agentrun, PROJECT, own);
  assert.deepEqual([made.cpu, made.memory, made.diskSize, made.mcpOptions.enabledTools], [2, 4096, 512, []]);
  assert.deepEqual([...engine.functions.values()].at(-1)?.template.container, { image: "app:1", command: ["run"], port: 5000 });
  for (const containerConfiguration of [undefined, {}, { image: "" }, { image: "x", port: 70_000 }, { image: "x", command: "run" }])
    await assert.rejects(
      makeTemplate(agentrun, PROJECT, { ...own, templateName: "other", containerConfiguration }),
      /body\.containerConfiguration\.(image|port|command)/,
    );
});

test("an update changes what it names and leaves the rest", async () => {
  const { agentrun, clock } = openAgentrun();
  const made = await makeTemplate(
    agentrun,
    PROJECT,
    create("one", { cpu: 2, workspaceId: "w1", networkConfiguration: { networkMode: "PUBLIC" } }),
  );
  clock.advance(3_600_000);
  const change = AgentrunUpdateTemplate.parse({
    memory: 8192,
    networkConfiguration: { networkMode: "PRIVATE" },
    templateType: "CodeInterpreter",
  });
  const changed = await changeTemplate(agentrun, PROJECT, "one", change);
  assert.partialDeepStrictEqual(changed, { memory: 8192, cpu: 2, workspaceId: "w1", networkConfiguration: { networkMode: "PRIVATE" } });
  assert.equal(changed.createdAt, made.createdAt);
  assert.notEqual(changed.lastUpdatedAt, made.lastUpdatedAt);
  assert.partialDeepStrictEqual(await readTemplate(agentrun, PROJECT, "one"), changed);
});

test("a deleted template answers what it was and leaves nothing to the next of its name", async () => {
  const { agentrun } = openAgentrun();
  await makeTemplate(agentrun, PROJECT, create("one", { workspaceId: "w1" }));
  assert.partialDeepStrictEqual(await removeTemplate(agentrun, PROJECT, "one"), { templateName: "one", workspaceId: "w1" });
  await assert.rejects(readTemplate(agentrun, PROJECT, "one"), /Template one not found/);
  await assert.rejects(removeTemplate(agentrun, PROJECT, "one"), /Template one not found/);
  assert.equal("workspaceId" in (await makeTemplate(agentrun, PROJECT, create("one"))), false);
});

test("a creation that fails takes its fields back", async () => {
  const { agentrun, engine } = openAgentrun();
  engine.before = () => {
    throw new Problem("engine_unavailable");
  };
  await assert.rejects(makeTemplate(agentrun, PROJECT, create("one", { workspaceId: "w1" })), isProblem("engine_unavailable"));
  engine.before = () => {};
  assert.equal("workspaceId" in (await makeTemplate(agentrun, PROJECT, create("one"))), false);
});

test("fields that a crash left behind hold the name for ten seconds and no longer", async () => {
  const { agentrun, clock } = openAgentrun();
  const left = { forMs: clock.now(), extras: { workspaceId: "w1" } };
  await agentrun.platform.tables.put("agentrun_templates", `${PROJECT.id}/one`, left);
  await assert.rejects(makeTemplate(agentrun, PROJECT, create("one")), isProblem("conflict"));
  clock.advance(10_000);
  assert.equal("workspaceId" in (await makeTemplate(agentrun, PROJECT, create("one"))), false);
});

test("the list is newest first, by page, by name and by type", async () => {
  const { agentrun, clock } = openAgentrun();
  for (const name of ["a", "b", "c"]) {
    await makeTemplate(agentrun, PROJECT, create(name));
    clock.advance(1000);
  }
  const names = async (change: object) => (await pageTemplates(agentrun, PROJECT, page(change))).items.map((item) => item.templateName);
  assert.deepEqual(await names({ pageSize: 2 }), ["c", "b"]);
  assert.deepEqual(await names({ pageSize: 2, pageNumber: 2 }), ["a", "all-in-one"]);
  assert.deepEqual(await names({ templateName: "b" }), ["b", "browser"]);
  assert.deepEqual(await names({ templateType: "Browser" }), ["browser"]);
  assert.equal((await pageTemplates(agentrun, PROJECT, page({ pageSize: 2 }))).total, 6);
});

for (const seconds of [59, 21_601, 600.5]) {
  test(`an idle time of ${seconds} s is refused by its name`, () => {
    const { error } = AgentrunCreateTemplate.safeParse({
      templateName: "a",
      templateType: "CodeInterpreter",
      sandboxIdleTimeoutInSeconds: seconds,
    });
    assert.deepEqual(
      error?.issues.map((issue) => issue.path),
      [["sandboxIdleTimeoutInSeconds"]],
    );
  });
}
