import assert from "node:assert/strict";
import { test } from "node:test";
import { createKey, createProject, deleteKey, findByApiKey, findSecret, importRootKey, listProjects } from "#core/projects.ts";
import { findByToken, mintToken } from "#core/tokens.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore } from "#support/core.ts";
import { ROOT } from "#support/gate.ts";
import { isProblem } from "#support/problem.ts";

const ACCOUNT = "1000000000000000";

async function openWithRoot(): Promise<{ core: Core; root: NonNullable<Awaited<ReturnType<typeof findByApiKey>>> }> {
  const core = openCore();
  await importRootKey(core.platform, LIMITS, JSON.stringify(ROOT));
  const root = await findByApiKey(core.platform, ROOT.apiKey);
  return { core, root: root ?? assert.fail("the root key is not known") };
}

test("a project's key acts for that project alone, as bearer and as secret", async () => {
  const { core, root } = await openWithRoot();
  const { project, key } = await createProject(core.platform, LIMITS, root, { name: "one" }, ACCOUNT);
  assert.deepEqual((await findByApiKey(core.platform, key.apiKey))?.project, project);
  const found = await findSecret(core.platform, key.accessKeyId);
  assert.equal(found?.secret, key.accessKeySecret);
  assert.equal(found?.principal.root, false);
  for (const wrong of [
    `${key.apiKey}x`,
    key.apiKey.slice(0, -1),
    "",
    "cr_",
    `cr_${key.accessKeyId}_`,
    `cr_CRNOBODY_${key.accessKeySecret}`,
  ]) {
    assert.equal(await findByApiKey(core.platform, wrong), undefined, wrong);
  }
});

test("secrets are not kept in the clear", async () => {
  const { core, root } = await openWithRoot();
  const { key } = await createProject(core.platform, LIMITS, root, { name: "one" }, ACCOUNT);
  const rows = JSON.stringify(await core.tables.range("keys", "", { limit: 10 }));
  assert.ok(rows.includes(key.accessKeyId));
  assert.ok(!rows.includes(key.accessKeySecret) && !rows.includes(ROOT.accessKeySecret));
});

test("a revoked key stops at once, and another project cannot revoke it", async () => {
  const { core, root } = await openWithRoot();
  const one = await createProject(core.platform, LIMITS, root, { name: "one" }, ACCOUNT);
  const two = await createProject(core.platform, LIMITS, root, { name: "two" }, ACCOUNT);
  const byTwo = (await findByApiKey(core.platform, two.key.apiKey)) ?? assert.fail();
  await deleteKey(core.platform, byTwo, one.key.accessKeyId);
  const byOne = (await findByApiKey(core.platform, one.key.apiKey)) ?? assert.fail("the key of one still works");
  const second = await createKey(core.platform, byOne, one.project.id, ACCOUNT);
  await deleteKey(core.platform, byOne, one.key.accessKeyId);
  assert.equal(await findByApiKey(core.platform, one.key.apiKey), undefined);
  assert.equal((await findByApiKey(core.platform, second.apiKey))?.project.id, one.project.id);
  await assert.rejects(deleteKey(core.platform, root, ROOT.accessKeyId), isProblem("forbidden"));
});

test("only root makes and lists projects; another's project does not exist; a name is taken once", async () => {
  const { core, root } = await openWithRoot();
  const { project, key } = await createProject(core.platform, LIMITS, root, { name: "one", quota: { sandboxes: 3 } }, ACCOUNT);
  assert.equal(project.quota.sandboxes, 3);
  const one = (await findByApiKey(core.platform, key.apiKey)) ?? assert.fail();
  await assert.rejects(createProject(core.platform, LIMITS, one, { name: "more" }, ACCOUNT), isProblem("forbidden"));
  await assert.rejects(listProjects(core.platform, one, { limit: 10 }), isProblem("forbidden"));
  await assert.rejects(createKey(core.platform, one, "root", ACCOUNT), isProblem("project_not_found"));
  await assert.rejects(createProject(core.platform, LIMITS, root, { name: "one" }, ACCOUNT), isProblem("already_exists"));
  const { items } = await listProjects(core.platform, root, { limit: 10 });
  assert.deepEqual(items.map((item) => item.name).toSorted(), ["one", "root"]);
});

test("a new root key replaces the old one", async () => {
  const { core } = await openWithRoot();
  const next = { ...ROOT, accessKeyId: "CRNEXT", apiKey: "cr_CRNEXT_next", accessKeySecret: "next" };
  await importRootKey(core.platform, LIMITS, JSON.stringify(next));
  assert.equal(await findByApiKey(core.platform, ROOT.apiKey), undefined);
  assert.equal((await findByApiKey(core.platform, next.apiKey))?.root, true);
});

test("a token is for its scope until it expires, and cannot be altered", async () => {
  const { core, root } = await openWithRoot();
  const { token } = mintToken(core.platform, root.project, { sandboxId: "box-1" }, 1000);
  const principal = await findByToken(core.platform, token);
  assert.deepEqual([principal?.project.id, principal?.root, principal?.scope], ["root", false, { sandboxId: "box-1" }]);
  const [body = "", mac = ""] = token.slice(4).split(".");
  const forged = Buffer.from(Buffer.from(body, "base64url").toString().replace("box-1", "box-2")).toString("base64url");
  for (const wrong of [`crt_${forged}.${mac}`, `crt_${body}.${mac}A`, `crt_${body}`, "crt_", "x"])
    assert.equal(await findByToken(core.platform, wrong), undefined, wrong);
  core.clock.advance(1000);
  assert.equal(await findByToken(core.platform, token), undefined);
});
