import assert from "node:assert/strict";
import { test } from "node:test";
import type { ActionKind, NewAction } from "#contract/action.ts";
import { LIMITS as BOUNDS } from "#contract/limits.ts";
import { listActions, openActionScreenshot, recordAction, recordActions } from "#core/actions.ts";
import { linkArtifact, linkedArtifact, openBytes } from "#core/artifact-links.ts";
import { listArtifacts } from "#core/artifacts.ts";
import { masked } from "#core/masking.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { sweep } from "#core/sweep.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const WHOSE = { projectId: "p1", sandboxId: "mine-1", taskId: "task-1" };
const GRACE_MS = 6000;

async function openWithSandbox(): Promise<Core> {
  const core = openCore();
  await createSandbox(core.platform, LIMITS, ONE, spec({ id: "mine-1", taskId: "task-1" }));
  return core;
}

const picture = (size: number) => ({ screenshot: { bytes: new Uint8Array(size).fill(7), mediaType: "image/jpeg" as const } });
const act = (kind: ActionKind, summary: string, more: Partial<NewAction> = {}): NewAction => ({ kind, by: "agent", summary, ...more });
const log = (core: Core, query: object = {}) => listActions(core.platform, ONE, "mine-1", { limit: 50, ...query });
const told = async (core: Core, query: object = {}) => (await log(core, query)).items.map(({ summary }) => summary);

test("a log tells what was done, newest first, by page and by kind, to its owner alone", async () => {
  const core = await openWithSandbox();
  for (const at of [1, 2, 3, 4, 5]) {
    core.clock.advance(10);
    await recordAction(core.platform, WHOSE, act(at % 2 === 0 ? "click" : "navigate", `step ${at}`));
  }
  assert.deepEqual(await told(core), ["step 5", "step 4", "step 3", "step 2", "step 1"]);
  assert.deepEqual(await told(core, { kind: "click" }), ["step 4", "step 2"]);
  const first = await log(core, { limit: 2 });
  assert.deepEqual(await told(core, { limit: 2, after: first.next }), ["step 3", "step 2"]);
  const last = await log(core, { limit: 2, kind: "click" });
  assert.equal(last.next, undefined);
  assert.equal((await log(core)).taskId, "task-1");
  await assert.rejects(listActions(core.platform, OTHER, "mine-1", { limit: 1 }), isProblem("sandbox_not_found"));
});

test("what comes in one breath keeps its order", async () => {
  const core = await openWithSandbox();
  const steps = Array.from({ length: 50 }, (_, at) => act("key", `key ${at}`));
  await recordActions(core.platform, WHOSE, steps);
  assert.deepEqual(
    (await told(core)).toReversed(),
    steps.map(({ summary }) => summary),
  );
});

test("a kind that floods is cut with its count, and hides nothing of the others", async () => {
  const core = await openWithSandbox();
  const noise = Array.from({ length: BOUNDS.actionsPerKind + 7 }, () => act("console_error", "noise", { by: "page" }));
  await recordActions(core.platform, WHOSE, noise, { failed_request: 5 });
  await recordAction(core.platform, WHOSE, act("click", "the click"));
  const { items, dropped } = await log(core, { kind: "click" });
  assert.deepEqual(
    items.map(({ summary }) => summary),
    ["the click"],
  );
  assert.deepEqual(dropped, { console_error: 7, failed_request: 5 });
});

test("secrets are masked wherever they stand, and long texts are cut", async () => {
  const core = await openWithSandbox();
  const action = act("navigate", "Opened https://me:hunter2secret@host.test/?token=abc123&page=2", {
    url: "https://host.test/?api_key=topsecret#access_token=zzz",
    details: { header: "Authorization: Bearer abcdef123456", long: "x".repeat(5000), count: 3 },
  });
  await recordAction(core.platform, WHOSE, action);
  const [kept] = (await log(core)).items;
  assert.ok(kept);
  for (const secret of ["hunter2secret", "abc123", "topsecret", "zzz", "abcdef123456"])
    assert.ok(!JSON.stringify(kept).includes(secret), secret);
  assert.match(kept.summary, /host\.test\/\?token=•••&page=2$/);
  assert.equal(kept.details["count"], 3);
  assert.equal(String(kept.details["long"]).length, BOUNDS.actionTextChars + 1);
});

test("what looks like a credential is masked, and what people write is not", () => {
  const secrets = [
    "sk-proj-abcdefghijklmnop",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdef",
    "4111 1111 1111 1111",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "q7Yp2LmN8vRt5XwZ3bKc6JdF9gHs1QaE",
    "d41d8cd98f00b204e9800998ecf8427e",
    '{"password":"letmein"}',
  ];
  for (const secret of secrets) assert.match(masked(`see ${secret} there`), /•••/, secret);
  assert.doesNotMatch(masked('{"password":"letmein"}'), /letmein/);
  const plain = [
    "The quick brown fox jumps over the lazy dog",
    "https://en.wikipedia.org/wiki/List_of_Primetime_Emmy_Award_winners_2024?page=2",
    "Order 1234567890123 of 2026-11-27",
    "/home/user/Downloads/report-2026-final-version.csv",
  ];
  for (const text of plain) assert.equal(masked(text), text);
});

test("a picture is kept beside its action, unless it is large or there are many", async () => {
  const core = await openWithSandbox();
  await recordAction(core.platform, WHOSE, act("click", "small", picture(100)));
  core.clock.advance(1);
  await recordAction(core.platform, WHOSE, act("click", "large", picture(BOUNDS.actionScreenshotBytes + 1)));
  const [large, small] = (await log(core)).items;
  assert.equal(large?.screenshot, false);
  const opened = await openActionScreenshot(core.platform, ONE, "mine-1", small?.id ?? "");
  assert.equal(opened.mediaType, "image/jpeg");
  assert.equal((await new Response(opened.body).arrayBuffer()).byteLength, 100);
  for (const id of [large?.id ?? "", "nothing", "../../mine-1"])
    await assert.rejects(openActionScreenshot(core.platform, ONE, "mine-1", id), isProblem("action_not_found"));
  await assert.rejects(openActionScreenshot(core.platform, OTHER, "mine-1", small?.id ?? ""), isProblem("sandbox_not_found"));
});

test("a log outlives its sandbox, as a list and as an artifact of JSON Lines, kept once however often it is swept", async () => {
  const core = await openWithSandbox();
  await recordAction(core.platform, WHOSE, act("navigate", "first"));
  core.clock.advance(10);
  await endSandbox(core.platform, ONE, "mine-1", "deleted");
  await recordAction(core.platform, WHOSE, act("page_crash", "told just after the end"));
  await sweep(core.platform, LIMITS);
  assert.equal((await log(core)).artifactId, undefined, "what was under way may still come");
  core.clock.advance(GRACE_MS);
  await Promise.all([sweep(core.platform, LIMITS), sweep(core.platform, LIMITS)]);
  await sweep(core.platform, LIMITS);
  await recordAction(core.platform, WHOSE, act("click", "too late"));
  const { artifactId = "", items } = await log(core);
  assert.equal(items.length, 2);
  const artifacts = await listArtifacts(core.platform, ONE, { limit: 50 });
  assert.deepEqual(
    artifacts.items.map(({ id, name, taskId }) => ({ id, name, taskId })),
    [{ id: artifactId, name: "actions.jsonl", taskId: "task-1" }],
  );
  const { path } = await linkArtifact(core.platform, ONE, artifactId, 1000);
  const { searchParams } = new URL(path, "http://door");
  const link = { expires: searchParams.get("expires") ?? "", ticket: searchParams.get("ticket") ?? "" };
  const lines = (await new Response(await openBytes(core.platform, await linkedArtifact(core.platform, artifactId, link))).text())
    .trim()
    .split("\n");
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { summary: string }).summary),
    ["first", "told just after the end"],
  );
});

test("a log that a crash left half kept is kept by the next sweep", async () => {
  const core = await openWithSandbox();
  await recordAction(core.platform, WHOSE, act("navigate", "first"));
  await endSandbox(core.platform, ONE, "mine-1", "deleted");
  core.clock.advance(GRACE_MS);
  core.tables.before = (operation, table) => {
    if (operation === "put" && table === "artifacts") throw new Error("The power went");
  };
  await sweep(core.platform, LIMITS);
  core.tables.before = () => {};
  await sweep(core.platform, LIMITS);
  assert.equal((await listArtifacts(core.platform, ONE, { limit: 50 })).items.length, 1);
  assert.notEqual((await log(core)).artifactId, undefined);
});
