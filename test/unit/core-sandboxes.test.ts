import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "#contract/problem.ts";
import { CREATE_GRACE_MS } from "#core/due.ts";
import { createSandbox, endSandbox, getSandbox, listSandboxes, requestSandbox, updateSandbox } from "#core/sandboxes.ts";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import { createTemplate, deleteTemplate, listTemplates, updateTemplate } from "#core/templates.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";
import { until } from "#support/until.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const get = (url: string, headers: Record<string, string> = {}) => new Request(`http://door${url}`, { headers });
const quota = async (core: ReturnType<typeof openCore>) => (await core.platform.tables.get<number>("quotas", "p1/sandboxes"))?.value ?? 0;

test("the same id twice is one sandbox, also when both ask at once", async () => {
  const core = openCore();
  const answers = await Promise.all([1, 2, 3].map(() => createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }))));
  assert.deepEqual(
    answers.map(({ sandbox }) => [sandbox.id, sandbox.state]),
    [
      ["mine-1", "ready"],
      ["mine-1", "ready"],
      ["mine-1", "ready"],
    ],
  );
  assert.equal(answers.filter(({ made }) => made).length, 1);
  assert.deepEqual(core.engine.living, ["p1_mine-1"]);
  assert.equal(await quota(core), 1);
  const { items } = await listSandboxes(core.platform, ONE, { limit: 10 });
  assert.equal(items.length, 1);
});

test("an id is not shared between templates and is used once", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await createTemplate(platform, LIMITS, ONE, { name: "other", type: "CodeInterpreter" });
  await assert.rejects(createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1", template: "other" })), isProblem("already_exists"));
  await endSandbox(platform, ONE, "mine-1", "deleted");
  await assert.rejects(createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" })), isProblem("already_exists"));
});

test("who asks again for a sandbox whose maker died is told so once nobody can be making it any more, and not that it is being made", async () => {
  const { platform, engine, tables, clock } = openCore();
  engine.before = (operation) => (operation === "start" ? new Promise<never>(() => {}) : undefined);
  void createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await until("it is being started", async () => (await tables.get("quotas", "p1/sandboxes")) !== undefined);
  const asked = createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  clock.advance(CREATE_GRACE_MS + 1);
  await assert.rejects(asked, isProblem("already_exists"));
  assert.partialDeepStrictEqual(await getSandbox(platform, ONE, "mine-1"), { state: "ended", endReason: "failed" });
});

test("what is another project's does not exist", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const attempts = [
    getSandbox(platform, OTHER, "mine-1"),
    updateSandbox(platform, LIMITS, OTHER, "mine-1", { name: "stolen" }),
    endSandbox(platform, OTHER, "mine-1", "deleted"),
    requestSandbox(platform, OTHER, "mine-1", get("/contexts")),
  ];
  for (const attempt of attempts) await assert.rejects(attempt, isProblem("sandbox_not_found"));
  assert.deepEqual(await listSandboxes(platform, OTHER, { limit: 10 }), { items: [] });
  assert.equal((await getSandbox(platform, ONE, "mine-1")).state, "ready");
});

test("ending twice at once is one ending, by the first reason", async () => {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const endings = await Promise.all(
    (["deleted", "stopped", "idle"] as const).map((reason) => endSandbox(core.platform, ONE, "mine-1", reason)),
  );
  assert.deepEqual(
    endings.map((sandbox) => [sandbox.state, sandbox.endReason]),
    Array.from({ length: 3 }, () => ["ended", "deleted"]),
  );
  assert.equal(core.events.filter((event) => event.name === "sandbox.ended").length, 1);
  assert.equal(await quota(core), 0);
  const ended = await getSandbox(core.platform, ONE, "mine-1");
  assert.equal(ended.usage?.cpuMs, 5);
  assert.deepEqual(core.engine.living, []);
});

test("ended while it is being made: the maker is told and nothing is left running", async () => {
  const core = openCore();
  let ending: Promise<unknown> = Promise.resolve();
  core.engine.before = async (operation) => {
    if (operation !== "started") return;
    ending = endSandbox(core.platform, ONE, "mine-1", "deleted");
    while ((await getSandbox(core.platform, ONE, "mine-1")).state === "creating");
  };
  await assert.rejects(createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" })), isProblem("sandbox_ended"));
  const { state, endReason } = (await ending) as { state: string; endReason: string };
  assert.deepEqual([state, endReason], ["ended", "deleted"]);
  assert.deepEqual(core.engine.living, []);
  assert.equal(await quota(core), 0);
});

test("a create that is broken off by an ending says that it was ended, not what the engine made of it", async () => {
  const core = openCore();
  core.engine.before = async (operation) => {
    if (operation !== "start") return;
    core.engine.before = () => {};
    void endSandbox(core.platform, ONE, "mine-1", "stopped").catch(() => {});
    while ((await getSandbox(core.platform, ONE, "mine-1")).state === "creating");
    throw new Problem("sandbox_lost");
  };
  await assert.rejects(createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" })), isProblem("sandbox_ended"));
  assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "stopped");
});

test("a caller that leaves in the middle leaves nothing running and nothing reserved", async () => {
  for (const step of ["start", "started"]) {
    const core = openCore();
    const caller = new AbortController();
    core.engine.before = (operation) => {
      if (operation === step) caller.abort();
    };
    await assert.rejects(createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" }), caller.signal), { name: "AbortError" });
    assert.deepEqual(core.engine.living, []);
    assert.equal(await quota(core), 0);
    assert.equal((await getSandbox(core.platform, ONE, "mine-1")).endReason, "failed");
  }
});

test("a create that the engine refuses gives back what it took", async () => {
  const core = openCore();
  core.engine.before = (operation) => {
    if (operation === "started") throw new Error("the engine broke off");
  };
  await assert.rejects(createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1" })), /broke off/);
  assert.equal(await quota(core), 0);
  assert.deepEqual(core.engine.living, []);
});

test("a life can be made longer, never shorter, and not beyond the operator's limit", async () => {
  const { platform, engine, clock } = openCore();
  const { sandbox } = await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1", lifetimeMs: 3_600_000 }));
  clock.advance(60_000);
  const same = await updateSandbox(platform, LIMITS, ONE, "mine-1", { lifetimeMs: 1000 });
  assert.equal(same.endsAt, sandbox.endsAt);
  const longer = await updateSandbox(platform, LIMITS, ONE, "mine-1", { lifetimeMs: 7_200_000, name: "n" });
  assert.equal(Date.parse(longer.endsAt) - clock.now(), 7_200_000);
  assert.equal(longer.name, "n");
  assert.ok((engine.sessions.get("p1_mine-1")?.life.lifetimeMs ?? 0) >= 7_260_000);
  await assert.rejects(updateSandbox(platform, LIMITS, ONE, "mine-1", { lifetimeMs: LIMITS.lifeMaxMs }), isProblem("invalid_request"));
  await assert.rejects(createSandbox(platform, LIMITS, ONE, spec({ idleTimeoutMs: 1000 })), isProblem("invalid_request"));
});

test("two changes at once are both made", async () => {
  const { platform } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await Promise.all([
    updateSandbox(platform, LIMITS, ONE, "mine-1", { name: "n" }),
    updateSandbox(platform, LIMITS, ONE, "mine-1", { metadata: { a: "b" } }),
    updateSandbox(platform, LIMITS, ONE, "mine-1", { idleTimeoutMs: 120_000 }),
  ]);
  const { name, metadata, idleTimeoutMs } = await getSandbox(platform, ONE, "mine-1");
  assert.deepEqual({ name, metadata, idleTimeoutMs }, { name: "n", metadata: { a: "b" }, idleTimeoutMs: 120_000 });
});

test("no credential of the platform enters a sandbox, and its answer cannot set anything at the door", async () => {
  const { platform, engine } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  engine.workspace = () =>
    new Response("hi", { headers: { "set-cookie": "a=b", "access-control-allow-origin": "*", "x-fc-code": "1", "x-own": "kept" } });
  const headers = {
    authorization: "Bearer cr_A_B",
    cookie: "s=1",
    "x-api-key": "cr_A_B",
    "agentrun-access-token": "t",
    "agentrun-authorization": "x",
    "x-acs-security-token": "t",
    "x-fc-session": "x",
    "x-forwarded-for": "1.2.3.4",
    forwarded: "for=1.2.3.4",
    "cleanroom-session-id": "p2_other",
    "cleanroom-proof": "forged",
    "x-task": "kept",
  };
  const answer = await requestSandbox(platform, ONE, "mine-1", get("/files?path=%2Fa&Authorization=secret&tenantId=1", headers));
  const { passage, ref } = engine.requests.at(-1) ?? assert.fail("nothing went in");
  const { "cleanroom-proof": proof, ...inside } = Object.fromEntries(passage.headers);
  assert.deepEqual(inside, { "x-task": "kept" });
  assert.match(proof ?? "", /^\d+\.[\w-]+$/);
  assert.notEqual(proof, "forged");
  assert.equal(ref.sessionId, "p1_mine-1");
  assert.ok(passage.url.endsWith("/files?path=%2Fa"), passage.url);
  assert.deepEqual(Object.keys(Object.fromEntries(answer.headers)).toSorted(), [
    "content-security-policy",
    "content-type",
    "x-content-type-options",
    "x-own",
  ]);
});

test("a sandbox that died says of what, to who asks and to who uses it", async () => {
  const { platform, engine } = openCore();
  for (const [id, reason] of [
    ["died-1", "oom"],
    ["died-2", "crashed"],
  ] as const) {
    await createSandbox(platform, LIMITS, ONE, spec({ id }));
    engine.end(`p1_${id}`, reason);
  }
  assert.equal((await getSandbox(platform, ONE, "died-1", { withUsage: true })).endReason, "oom");
  await assert.rejects(requestSandbox(platform, ONE, "died-2", get("/contexts")), isProblem("sandbox_ended"));
  assert.equal((await getSandbox(platform, ONE, "died-2")).endReason, "crashed");
});

test("what another process wrote is seen within a second, what this one wrote at once", async () => {
  const { platform, tables, clock } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  await requestSandbox(platform, ONE, "mine-1", get("/contexts"));
  const row = await tables.get<SandboxRow>("sandboxes", "p1/mine-1");
  await tables.put("sandboxes", "p1/mine-1", { ...row?.value, state: "ended", endReason: "idle" });
  clock.advance(1001);
  await assert.rejects(requestSandbox(platform, ONE, "mine-1", get("/contexts")), isProblem("sandbox_ended"));
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-2" }));
  await requestSandbox(platform, ONE, "mine-2", get("/contexts"));
  await endSandbox(platform, ONE, "mine-2", "deleted");
  await assert.rejects(requestSandbox(platform, ONE, "mine-2", get("/contexts")), isProblem("sandbox_ended"));
});

test("a list is newest first, in pages, by its filters", async () => {
  const { platform, clock } = openCore();
  for (const at of [1, 2, 3, 4, 5]) {
    await createSandbox(platform, LIMITS, ONE, spec({ id: `box-${at}`, metadata: { odd: String(at % 2) } }));
    clock.advance(10);
  }
  await endSandbox(platform, ONE, "box-3", "deleted");
  const ids = async (query: object) => {
    const { items, next } = await listSandboxes(platform, ONE, { limit: 2, ...query });
    return [items.map((item) => item.id), next] as const;
  };
  const [first, next] = await ids({});
  assert.deepEqual(first, ["box-5", "box-4"]);
  const [second, then] = await ids({ after: next });
  assert.deepEqual(second, ["box-3", "box-2"]);
  assert.deepEqual(await ids({ after: then }), [["box-1"], undefined]);
  assert.deepEqual((await ids({ state: "ended" }))[0], ["box-3"]);
  assert.deepEqual((await ids({ metadata: "odd=0" }))[0], ["box-4", "box-2"]);
});

test("a template in use cannot be deleted, also by who creates and deletes at once", async () => {
  const { platform, engine } = openCore();
  await createTemplate(platform, LIMITS, ONE, { name: "small", type: "CodeInterpreter", cpu: 1, memoryMiB: 1024, environment: { A: "1" } });
  const results = await Promise.allSettled([
    createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1", template: "small" })),
    deleteTemplate(platform, ONE, "small"),
  ]);
  assert.equal(results.filter((result) => result.status === "fulfilled").length, 1, "exactly one of them succeeds");
  await createTemplate(platform, LIMITS, ONE, { name: "used", type: "CodeInterpreter" });
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-2", template: "used" }));
  await assert.rejects(deleteTemplate(platform, ONE, "used"), isProblem("template_in_use"));
  await endSandbox(platform, ONE, "mine-2", "deleted");
  await deleteTemplate(platform, ONE, "used");
  await assert.rejects(createSandbox(platform, LIMITS, ONE, spec({ template: "used" })), isProblem("template_not_found"));
  assert.ok([...engine.functions.keys()].every((name) => name.startsWith("workspace-")));
});

test("templates are a project's own, and the built-in ones are everybody's and nobody's to change", async () => {
  const { platform } = openCore();
  await createTemplate(platform, LIMITS, ONE, { name: "beta", type: "CodeInterpreter" });
  await createTemplate(platform, LIMITS, ONE, { name: "delta", type: "CodeInterpreter" });
  const first = await listTemplates(platform, LIMITS, ONE, { limit: 2 });
  assert.deepEqual(
    first.items.map((item) => item.name),
    ["all-in-one", "beta"],
  );
  const second = await listTemplates(platform, LIMITS, ONE, { limit: 2, after: first.next });
  assert.deepEqual([second.items.map((item) => item.name), second.next], [["browser", "code-interpreter"], "code-interpreter"]);
  assert.deepEqual(
    (await listTemplates(platform, LIMITS, OTHER, { limit: 10 })).items.map((item) => item.name),
    ["all-in-one", "browser", "code-interpreter"],
  );
  await assert.rejects(updateTemplate(platform, LIMITS, OTHER, "beta", {}), isProblem("template_not_found"));
  await assert.rejects(updateTemplate(platform, LIMITS, ONE, "code-interpreter", {}), isProblem("forbidden"));
  await assert.rejects(createTemplate(platform, LIMITS, ONE, { name: "web", type: "CustomImage" }), /body.container/);
});

test("a template's and a sandbox's variables go in after the start, the sandbox's last", async () => {
  const { platform, engine } = openCore();
  await createTemplate(platform, LIMITS, ONE, { name: "env", type: "CodeInterpreter", environment: { A: "template", B: "template" } });
  const bodies: unknown[] = [];
  engine.workspace = async (passage) => {
    bodies.push(await new Response(passage.body as ReadableStream).json());
    return new Response(null, { status: 204 });
  };
  await createSandbox(platform, LIMITS, ONE, spec({ template: "env", environment: { B: "sandbox" } }));
  assert.deepEqual(bodies, [{ variables: { A: "template", B: "sandbox" } }]);
});
