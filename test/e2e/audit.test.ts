import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { AuditRecord } from "#contract/audit.ts";
import { SignedHead, verifyChain } from "#contract/audit-chain.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor, startDoor, type Tenant, tenantOf } from "#support/door.ts";
import { functionPid } from "#support/processes.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const folder = await mkdtemp(join(tmpdir(), "cleanroom-audit-"));
after(() => rm(folder, { recursive: true, force: true }));

const exportOf = async (tenant: Tenant) => (await (await tenant.send("GET", "/api/audit/export")).text()).split("\n").slice(0, -1);
const recordsOf = async (tenant: Tenant) => (await exportOf(tenant)).slice(0, -1).map((line) => AuditRecord.parse(JSON.parse(line)));
const publicKey = async (origin = door.origin) =>
  ((await (await fetch(`${origin}/api/audit/key`)).json()) as { publicKey: string }).publicKey;

function cleanroom(args: string[], tenant?: Tenant): Promise<{ code: number; stdout: string }> {
  const env = { ...process.env, CLEANROOM_URL: door.origin, ...(tenant ? { CLEANROOM_API_KEY: tenant.key.apiKey } : {}) };
  return new Promise((resolve) =>
    execFile(process.execPath, ["cli/main.ts", "audit", ...args], { env, timeout: 60_000 }, (error, stdout) =>
      resolve({ code: typeof error?.code === "number" ? error.code : error ? 1 : 0, stdout }),
    ),
  );
}

test("whatever changes something is in the log before it is done and after, with who, what, why and keyed digests", async () => {
  const tenant = await newTenant(door);
  const box = await makeBox(tenant, { metadata: { note: "a secret of the caller's" } });
  await box[Symbol.asyncDispose]();
  await refused(tenant.send("POST", "/api/projects", { name: "mine" }), "forbidden");
  await refused(tenant.send("GET", "/api/projects"), "forbidden");
  const records = await recordsOf(tenant);
  const told = records.map(({ action, phase, decision, result }) => [action, phase, decision, result]);
  assert.deepEqual(told.slice(0, 5), [
    ["createSandbox", "begun", "allow", undefined],
    ["createSandbox", "ended", "allow", "201"],
    ["deleteSandbox", "begun", "allow", undefined],
    ["sandboxEnded", "done", "allow", undefined],
    ["deleteSandbox", "ended", "allow", "200"],
  ]);
  assert.deepEqual(told.slice(5), [
    ["createProject", "begun", "allow", undefined],
    ["createProject", "ended", "deny", "forbidden"],
    ["listProjects", "done", "deny", "forbidden"],
  ]);
  const [begun, ended] = records;
  assert.deepEqual(begun?.actor, { kind: "key", id: tenant.key.accessKeyId });
  assert.equal(records[2]?.resource?.id, box.id);
  for (const digest of [begun?.input, ended?.output]) assert.match(digest ?? "", /^[0-9a-f]{64}$/);
  assert.doesNotMatch((await exportOf(tenant)).join("\n"), /secret of the caller/);
});

test("the log is searched by action, actor, resource and decision", async () => {
  const tenant = await newTenant(door);
  await tenant.json("POST", "/api/tasks", { id: "one" }, 201);
  await tenant.json("POST", "/api/tasks/one/cancel", {});
  const found = async (query: string) =>
    (await tenant.json<{ items: { action: string }[] }>("GET", `/api/audit?${query}`)).items.map(({ action }) => action);
  assert.deepEqual(await found("resource=one"), ["cancelTask", "cancelTask", "createTask"]);
  assert.deepEqual(await found(`action=createTask&actor=${tenant.key.accessKeyId}`), ["createTask", "createTask"]);
  assert.deepEqual(await found("decision=deny"), []);
  await refused(tenant.send("GET", "/api/audit?after=x"), "invalid_request");
  await refused(tenant.send("GET", "/api/audit?surprise=x"), "invalid_request");
});

test("`cleanroom audit verify` checks an export without a server, and names the first record that is broken", async () => {
  const tenant = await newTenant(door);
  for (let n = 0; n < 6; n += 1) await tenant.json("POST", "/api/tasks", {}, 201);
  const { stdout: text } = await cleanroom(["export"], tenant);
  const { stdout: head } = await cleanroom(["head"], tenant);
  const keyFile = join(folder, "key.pem");
  await writeFile(keyFile, (await cleanroom(["key"], tenant)).stdout);
  const headFile = join(folder, "head.json");
  await writeFile(headFile, head);
  SignedHead.parse(JSON.parse(head));
  const lines = text.split("\n");
  const verify = async (forged: string[], ...more: string[]) => {
    const file = join(folder, "log.jsonl");
    await writeFile(file, forged.join("\n"));
    return cleanroom(["verify", file, "--key", keyFile, ...more]);
  };
  const whole = await verify(lines, "--head", headFile);
  assert.equal(whole.code, 0, whole.stdout);
  assert.match(whole.stdout, /^OK: 12 records .* whole up to the head at record 12/);
  for (const [what, forged, seq] of [
    ["flip", lines.with(4, (lines[4] ?? "").replace("createTask", "createTusk")), 5],
    ["delete", lines.toSpliced(4, 1), 5],
    ["reorder", lines.toSpliced(4, 2, lines[5] ?? "", lines[4] ?? ""), 5],
    ["truncate", lines.toSpliced(7, 5), 8],
  ] as const) {
    const { code, stdout } = await verify([...forged]);
    assert.equal(code, 70, what);
    assert.match(stdout, new RegExp(`^BROKEN at record ${seq} `), what);
  }
  assert.match((await verify(lines.slice(0, 7))).stdout, /^UNPROVEN/);
  assert.match((await verify(lines.slice(0, 7), "--head", headFile)).stdout, /^BROKEN at record 8 /);
});

test("erasing what was recorded leaves the chain whole, and says that it was erased", async () => {
  const tenant = await newTenant(door);
  const box = await makeBox(tenant);
  await box.execute("print(1)");
  await box[Symbol.asyncDispose]();
  await tenant.json("DELETE", `/api/tasks/${box.id}/trace`, undefined, 204);
  const lines = await exportOf(tenant);
  assert.equal(verifyChain(lines, await publicKey()).broken, undefined);
  assert.equal((await recordsOf(tenant)).at(-1)?.action, "eraseTrace");
});

test("the signed heads are among the platform's objects after a while", async () => {
  const tenant = await newTenant(door);
  await tenant.json("POST", "/api/tasks", {}, 201);
  const anchors = async () =>
    (await tenant.json<{ items: unknown[] }>("GET", "/api/audit/anchors")).items.map((item) => SignedHead.parse(item));
  await until("a head is anchored", async () => (await anchors()).length > 0, 30_000);
  assert.equal(verifyChain(await exportOf(tenant), await publicKey(), await anchors()).broken, undefined);
});

test("killed at any moment under load, the gateway leaves a valid chain, and no task without its record", async () => {
  await using own = await startDoor();
  const tenant = tenantOf(own, own.rootKey, "root");
  const answered: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    const stop = new AbortController();
    const clients = Array.from({ length: 8 }, async () => {
      while (!stop.signal.aborted) {
        const answer = await tenant.send("POST", "/api/tasks", {}).catch(() => undefined);
        if (answer?.status === 201) answered.push(((await answer.json().catch(() => ({ id: "" }))) as { id: string }).id);
        else await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    const before = answered.length;
    await until("tasks are made", () => answered.length > before + 50, 30_000);
    process.kill(functionPid(own, "cleanroom-gateway"), "SIGKILL");
    await own.open();
    stop.abort();
    await Promise.all(clients);
  }
  const lines = await exportOf(tenant);
  const verdict = verifyChain(lines, await publicKey(own.origin));
  assert.equal(verdict.broken, undefined);
  const records = lines.slice(0, -1).map((line) => AuditRecord.parse(JSON.parse(line)));
  const count = (phase: string) => records.filter((record) => record.action === "createTask" && record.phase === phase).length;
  let made = 0;
  let next: string | undefined;
  do {
    const page = await tenant.json<{ items: unknown[]; next?: string }>(
      "GET",
      `/api/tasks?limit=200${next === undefined ? "" : `&after=${next}`}`,
    );
    made += page.items.length;
    next = page.next;
  } while (next !== undefined);
  assert.ok(made >= answered.length, "what was answered is there");
  assert.ok(count("begun") >= made, `${made} were made, ${count("begun")} are recorded`);
  assert.ok(count("ended") >= answered.length);
});
