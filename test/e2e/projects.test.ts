import assert from "node:assert/strict";
import { after, test } from "node:test";
import { z } from "zod";
import { page } from "#contract/id.ts";
import { Key, Project, whoAmI } from "#contract/project.ts";
import { statusesOf } from "#support/answers.ts";
import { newTenant, openDoor, tenantOf } from "#support/door.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const root = tenantOf(door, door.rootKey, "root");
const Made = z.object({ project: Project, key: Key });

const freshName = () => `n${crypto.randomUUID().replaceAll("-", "")}`;
const keyOf = async (answer: Promise<unknown>) => Key.parse(await answer);

test("the root key makes a project, and its first key acts for it alone", async () => {
  const name = freshName();
  const { project, key } = Made.parse(await root.json("POST", "/api/projects", { name, quota: { sandboxes: 3 } }, 201));
  assert.partialDeepStrictEqual(project, { name, quota: { sandboxes: 3 } });
  const me = whoAmI.returns.parse(await tenantOf(door, key, project.id).json("GET", "/api/me"));
  assert.deepEqual(me, { project, accessKeyId: key.accessKeyId });
});

test("a project's quotas are set when it is made and changed later, by the root key alone", async () => {
  const tenant = await newTenant(door, { cpu: 4 });
  const before = Project.parse((await tenant.json<{ project: unknown }>("GET", "/api/me")).project);
  assert.equal(before.quota.cpu, 4);
  const changed = Project.parse(await root.json("PATCH", `/api/projects/${tenant.projectId}`, { quota: { memoryMiB: 4096 } }));
  assert.deepEqual(changed, { ...before, quota: { ...before.quota, memoryMiB: 4096 } });
  assert.deepEqual((await tenant.json("GET", "/api/me"))["project"], changed);
  await refused(tenant.send("PATCH", `/api/projects/${tenant.projectId}`, { quota: { cpu: 100 } }), "forbidden");
  await refused(tenant.send("PATCH", "/api/projects/root", { quota: { cpu: 100 } }), "project_not_found");
  await refused(root.send("PATCH", "/api/projects/pnosuchthing", { quota: { cpu: 100 } }), "project_not_found");
  await refused(root.send("PATCH", `/api/projects/${tenant.projectId}`, { quota: { cpu: 0 } }), "invalid_request");
});

test("only the root key makes and lists projects", async () => {
  const tenant = await newTenant(door);
  await refused(tenant.send("POST", "/api/projects", { name: freshName() }), "forbidden");
  await refused(tenant.send("GET", "/api/projects"), "forbidden");
});

test("a project's name is taken once", async () => {
  const name = freshName();
  const answers = await Promise.all(Array.from({ length: 4 }, () => root.send("POST", "/api/projects", { name })));
  assert.deepEqual(await statusesOf(answers), [201, 409, 409, 409]);
  await refused(root.send("POST", "/api/projects", { name }), "already_exists");
});

test("projects are listed in pages that miss none", async () => {
  const made = await Promise.all([newTenant(door), newTenant(door), newTenant(door)]);
  const seen = new Set<string>();
  let cursor: string | undefined;
  do {
    const query: string = cursor === undefined ? "" : `&after=${cursor}`;
    const found = page(Project).parse(await root.json("GET", `/api/projects?limit=2${query}`));
    for (const { id } of found.items) {
      assert.ok(!seen.has(id), `${id} came twice`);
      seen.add(id);
    }
    cursor = found.next;
  } while (cursor !== undefined);
  for (const { projectId } of made) assert.ok(seen.has(projectId));
});

test("a project makes another key for itself; revoked, that key stops at once and the first goes on", async () => {
  const tenant = await newTenant(door);
  const key = await keyOf(tenant.json("POST", `/api/projects/${tenant.projectId}/keys`, {}, 201));
  const second = tenantOf(door, key, tenant.projectId);
  // Used before it is revoked, so that the door remembers it.
  assert.equal((await second.send("GET", "/api/me")).status, 200);
  await tenant.json("DELETE", `/api/keys/${key.accessKeyId}`, undefined, 204);
  await refused(second.send("GET", "/api/me"), "unauthenticated");
  await tenant.json("DELETE", `/api/keys/${key.accessKeyId}`, undefined, 204);
  assert.equal((await tenant.send("GET", "/api/me")).status, 200);
});

test("another project's keys are neither made nor revoked, nor is there any telling that they are there", async () => {
  const [one, other] = [await newTenant(door), await newTenant(door)];
  const stranger = await refused(one.send("POST", `/api/projects/${other.projectId}/keys`, {}), "project_not_found");
  const nobody = await refused(one.send("POST", "/api/projects/pnosuchthing/keys", {}), "project_not_found");
  assert.equal(stranger.detail.replace(other.projectId, ""), nobody.detail.replace("pnosuchthing", ""));
  await one.json("DELETE", `/api/keys/${other.key.accessKeyId}`, undefined, 204);
  assert.equal((await other.send("GET", "/api/me")).status, 200);
});

test("the root key makes keys for every project, and is itself not revoked", async () => {
  const tenant = await newTenant(door);
  const key = await keyOf(root.json("POST", `/api/projects/${tenant.projectId}/keys`, {}, 201));
  assert.equal((await tenantOf(door, key, tenant.projectId).send("GET", "/api/me")).status, 200);
  await refused(root.send("DELETE", `/api/keys/${door.rootKey.accessKeyId}`), "forbidden");
  assert.equal((await root.send("GET", "/api/me")).status, 200);
});

test("a key is taken as bearer, in either header and in the path", async () => {
  const { key } = await newTenant(door);
  const ask = (path: string, headers: Record<string, string>) => fetch(`${door.origin}${path}`, { headers });
  for (const answer of [
    await ask("/api/me", { authorization: `bearer ${key.apiKey}` }),
    await ask("/api/me", { "x-api-key": key.apiKey }),
    await ask("/api/me", { "agentrun-access-token": key.apiKey }),
    await ask(`/k/${key.apiKey}/api/me`, {}),
  ])
    assert.equal(whoAmI.returns.parse(await answer.json()).accessKeyId, key.accessKeyId);
});

test("no credential, a wrong secret and an unknown key are refused alike", async () => {
  const { key } = await newTenant(door);
  const ask = (headers: Record<string, string>, path = "/api/me") => fetch(`${door.origin}${path}`, { headers });
  const wrong = [
    ask({}),
    ask({ authorization: `Bearer ${key.apiKey.slice(0, -1)}${key.apiKey.endsWith("A") ? "B" : "A"}` }),
    ask({ authorization: "Bearer cr_CRNOBODY_secret" }),
    ask({ authorization: "Bearer crt_e30.AAAA" }),
    ask({ authorization: `Basic ${Buffer.from(`x:${key.apiKey}`).toString("base64")}` }),
    ask({}, "/k/cr_CRNOBODY_secret/api/me"),
    // The first credential counts: a wrong one is not passed over for a right one.
    ask({ authorization: "Bearer cr_CRNOBODY_secret", "x-api-key": key.apiKey }),
  ];
  const details = new Set<string>();
  for (const answer of wrong) details.add((await refused(answer, "unauthenticated")).detail);
  assert.equal(details.size, 1);
});

test("a query never carries a credential for an ordinary request", async () => {
  const { key } = await newTenant(door);
  await refused(fetch(`${door.origin}/api/me?Authorization=${encodeURIComponent(`Bearer ${key.apiKey}`)}`), "unauthenticated");
});
