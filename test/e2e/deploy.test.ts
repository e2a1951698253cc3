import assert from "node:assert/strict";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Artifact, ArtifactLink } from "#contract/artifact.ts";
import { Key } from "#contract/project.ts";
import { Sandbox } from "#contract/sandbox.ts";
import { Template } from "#contract/template.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, startDoor, tenantOf, type Tenant } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { tempDir } from "#support/temp.ts";

test("what was made stays over a restart: projects, keys, templates, artifacts and the record of every sandbox", async () => {
  await using dir = await tempDir();
  let tenant: Tenant;
  let kept: Artifact;
  let ended: Sandbox;
  {
    await using door = await startDoor(undefined, dir.path);
    tenant = await newTenant(door, 7);
    await tenant.json("POST", "/api/templates", { name: "mine", cpu: 1, memoryMiB: 1024, diskMiB: 512, environment: { A: "1" } }, 201);
    await using box = await makeBox(tenant, { template: "mine", metadata: { k: "v" } });
    await box.command("seq 1000 > f");
    kept = Artifact.parse(await tenant.json("POST", `/api/sandboxes/${box.id}/artifacts`, { path: "f" }, 201));
    ended = Sandbox.parse(await tenant.json("DELETE", `/api/sandboxes/${box.id}`));
  }
  await using door = await startDoor(undefined, dir.path);
  const by = tenantOf(door, tenant.key, tenant.projectId);
  assert.partialDeepStrictEqual(await by.json("GET", "/api/me"), { project: { id: tenant.projectId, quota: { sandboxes: 7 } } });
  assert.partialDeepStrictEqual(Template.parse(await by.json("GET", "/api/templates/mine")), {
    cpu: 1,
    diskMiB: 512,
    environment: { A: "1" },
  });
  assert.deepEqual(Sandbox.parse(await by.json("GET", `/api/sandboxes/${ended.id}`)), ended);
  assert.deepEqual(Artifact.parse(await by.json("GET", `/api/artifacts/${kept.id}`)), kept);
  const { url } = ArtifactLink.parse(await by.json("POST", `/api/artifacts/${kept.id}/link`, {}, 201));
  assert.ok(url.startsWith(door.origin), url);
  assert.equal((await (await fetch(url)).text()).length, kept.sizeBytes);
  // The template's function is there again without having been told anew.
  await using box = await makeBox(by, { template: "mine" });
  assert.equal((await box.command('printf "%s" "$A"')).result?.stdout, "1");
});

test("what the operator sets is in force from the next start", async () => {
  await using dir = await tempDir();
  const settings = {
    CLEANROOM_IDLE_MIN_S: "5",
    CLEANROOM_IDLE_DEFAULT_S: "30",
    CLEANROOM_IDLE_MAX_S: "40",
    CLEANROOM_LIFE_MAX_S: "100",
    CLEANROOM_QUOTA_SANDBOXES: "1",
  };
  {
    await using door = await startDoor({}, dir.path);
    const tenant = await newTenant(door);
    await refused(tenant.send("POST", "/api/sandboxes", { idleTimeoutMs: 59_000 }), "invalid_request");
    await using box = await makeBox(tenant);
    assert.partialDeepStrictEqual(box.sandbox, { idleTimeoutMs: 600_000 });
  }
  await using door = await startDoor(settings, dir.path);
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  assert.equal(box.sandbox.idleTimeoutMs, 30_000);
  assert.ok(Date.parse(box.sandbox.endsAt) - Date.parse(box.sandbox.createdAt) <= 100_000);
  await refused(tenant.send("POST", "/api/sandboxes", {}), "quota_exceeded");
  for (const wrong of [{ idleTimeoutMs: 4000 }, { idleTimeoutMs: 41_000 }, { lifetimeMs: 101_000 }])
    await refused(tenant.send("POST", "/api/sandboxes", wrong), "invalid_request");
});

test("a setting that cannot be is refused at the start, by its name", async () => {
  await assert.rejects(startDoor({ CLEANROOM_PORT: "many" }), /CLEANROOM_PORT/);
  await assert.rejects(startDoor({ CLEANROOM_ALLOW_ANONYMOUS: "yes" }), /CLEANROOM_ALLOW_ANONYMOUS/);
});

test("the root key is replaced by its file: the new one acts from the next start, the old one no more", async () => {
  await using dir = await tempDir();
  const file = join(dir.path, "root-key.json");
  let old: Key;
  {
    await using door = await startDoor({}, dir.path);
    old = door.rootKey;
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(join(dir.path, "secrets.json"))).mode & 0o777, 0o600);
  }
  const fresh: Key = { ...old, accessKeyId: "CRFRESH1", accessKeySecret: "another-secret", apiKey: "cr_CRFRESH1_another-secret" };
  await writeFile(file, JSON.stringify(fresh), { mode: 0o600 });
  await using door = await startDoor({}, dir.path);
  assert.deepEqual(Key.parse(JSON.parse(await readFile(file, "utf8"))), fresh);
  await refused(tenantOf(door, old, "root").send("GET", "/api/projects"), "unauthenticated");
  assert.equal((await tenantOf(door, fresh, "root").send("GET", "/api/projects")).status, 200);
});

test("without a credential one acts only where the operator allows it, and then never as root", async () => {
  await using closed = await startDoor({});
  await refused(fetch(`${closed.origin}/api/me`), "unauthenticated");
  await using open = await startDoor({ CLEANROOM_ALLOW_ANONYMOUS: "1" });
  const answer = await fetch(`${open.origin}/api/me`);
  assert.partialDeepStrictEqual(await answer.json(), { accessKeyId: "anonymous" });
  await refused(fetch(`${open.origin}/api/projects`), "forbidden");
  for (const headers of [{ origin: "https://evil.example" }, { "x-forwarded-for": "10.0.0.1" }])
    await refused(fetch(`${open.origin}/api/me`, { headers }), "unauthenticated");
  // A credential that is wrong is refused also where none is needed.
  await refused(fetch(`${open.origin}/api/me`, { headers: { authorization: "Bearer cr_CRNOBODY_secret" } }), "unauthenticated");
});
