import assert from "node:assert/strict";
import { after, test } from "node:test";
import { page } from "#contract/id.ts";
import { Sandbox } from "#contract/sandbox.ts";
import { Snapshot } from "#contract/snapshot.ts";
import { type Box, makeBox, openBox } from "#support/box.ts";
import { newTenant, openDoor, startDoor, type Tenant } from "#support/door.ts";
import { functionPid, peakMiB } from "#support/processes.ts";
import { refused } from "#support/refusal.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const take = async (box: Box, name: string, by: Tenant = tenant) =>
  Snapshot.parse(await by.json("POST", `/api/sandboxes/${box.id}/snapshots`, { name }, 201));
const run = async (box: Box, command: string) => {
  const { result } = await box.command(command, { timeout: 120 });
  assert.equal(result?.exitCode, 0, result?.stderr);
  return result?.stdout ?? "";
};

const MAKE = `cd ~ && rm .profile && mkdir -p a/b locked && head -c 3000000 /dev/urandom > a/big && echo hi > a/b/text
  ln a/b/text twin && ln -s a/b link && ln -s /nowhere dangling && echo x > locked/in && chmod 400 locked/in && chmod 555 locked
  chmod 750 a && touch -d '2001-02-03 04:05:06.123456789' a/b/text a && truncate -s 50M sparse && touch "$(printf 'b\\377d')"
  mkdir /data && echo elsewhere > /data/file && echo passing > /var/tmp/file`;
const DESCRIBE = `cd / && find home/user data var/tmp/file -printf '%y %m %T+ %s %n %l %p\\n' | grep -v '\\.cache' | sort -k7
  find home/user data -type f -not -path '*/.cache/*' -exec sha256sum {} + | sort -k2`;

test("after its end a sandbox's files go on in a fresh one, with kinds, modes, dates and deletions", async () => {
  const first = await makeBox(tenant, { taskId: "long-work" });
  await run(first, MAKE);
  const before = await run(first, DESCRIBE);
  const taken = await take(first, "halfway");
  assert.partialDeepStrictEqual(taken, { name: "halfway", sandboxId: first.id, taskId: "long-work", template: "code-interpreter" });
  assert.ok(taken.files >= 12 && taken.sizeBytes > 53_000_000 && taken.newBytes < 20_000_000, JSON.stringify(taken));
  await first[Symbol.asyncDispose]();
  await using second = await makeBox(tenant, { snapshot: "halfway" });
  assert.equal(second.sandbox.snapshot, "halfway");
  assert.equal(await run(second, DESCRIBE), before);
  assert.equal(await run(second, "test -e ~/.profile || echo deleted; stat -c %b ~/sparse"), "deleted\n0\n");
  const again = await take(second, "halfway-again");
  assert.ok(again.newBytes < 1_000_000, `${again.newBytes} bytes are new`);
});

test("a snapshot is read, listed by name and deleted; a name is taken once", async () => {
  const own = await newTenant(door);
  await using box = await makeBox(own);
  const second = await take(box, "b", own);
  const first = await take(box, "a", own);
  assert.deepEqual(first.digest, second.digest);
  assert.deepEqual(Snapshot.parse(await own.json("GET", "/api/snapshots/a")), first);
  const names = page(Snapshot).parse(await own.json("GET", "/api/snapshots?limit=1"));
  assert.deepEqual([names.items, names.next], [[first], "a"]);
  await refused(own.send("POST", `/api/sandboxes/${box.id}/snapshots`, { name: "a" }), "already_exists");
  assert.equal((await own.send("DELETE", "/api/snapshots/a")).status, 204);
  await refused(own.send("DELETE", "/api/snapshots/a"), "snapshot_not_found");
  await refused(own.send("POST", "/api/sandboxes", { snapshot: "a" }), "snapshot_not_found");
  await using made = await makeBox(own, { snapshot: "b" });
  assert.equal(await run(made, "ls -A ~"), await run(box, "ls -A ~"));
});

test("a fork is three sandboxes that go their own ways", async () => {
  await using box = await makeBox(tenant, { metadata: { who: "parent" } });
  await run(box, "echo common > shared");
  const answer = await tenant.json("POST", `/api/sandboxes/${box.id}/fork`, { count: 3, environment: { WAY: "own" } }, 201);
  const forks = page(Sandbox)
    .parse(answer)
    .items.map((sandbox) => openBox(tenant, sandbox));
  assert.equal(new Set(forks.map(({ id }) => id)).size, 3);
  for (const fork of forks) {
    assert.deepEqual(fork.sandbox.metadata, { who: "parent" });
    assert.equal(await run(fork, `cat shared && echo $WAY && echo ${fork.id} >> shared`), "common\nown\n");
  }
  assert.equal(await run(box, "cat shared"), "common\n");
  for (const fork of forks) await fork[Symbol.asyncDispose]();
});

test("a fork that the quota does not allow whole makes none", async () => {
  const few = await newTenant(door, 3);
  await using box = await makeBox(few);
  await refused(few.send("POST", `/api/sandboxes/${box.id}/fork`, { count: 5 }), "quota_exceeded");
  const { items } = page(Sandbox).parse(await few.json("GET", "/api/sandboxes?state=ready"));
  assert.deepEqual(
    items.map(({ id }) => id),
    [box.id],
  );
});

test("what does not fit, and what has ended, is said", async () => {
  await tenant.json("POST", "/api/templates", { name: "small", diskMiB: 512 }, 201);
  const box = await makeBox(tenant);
  await run(box, "yes | head -c 600M > large");
  await take(box, "large");
  const answer = await refused(tenant.send("POST", "/api/sandboxes", { template: "small", snapshot: "large" }), "snapshot_too_large");
  assert.match(answer.detail, /512 MiB/);
  await box[Symbol.asyncDispose]();
  await refused(tenant.send("POST", `/api/sandboxes/${box.id}/snapshots`, { name: "late" }), "sandbox_ended");
  await refused(tenant.send("POST", `/api/sandboxes/${box.id}/fork`, {}), "sandbox_ended");
  assert.equal((await tenant.send("DELETE", "/api/snapshots/large")).status, 204);
});

test("a snapshot far larger than the gateway's memory streams through it", async () => {
  await using own = await startDoor();
  const keeper = await newTenant(own);
  const box = await makeBox(keeper);
  await run(box, "head -c 200M /dev/urandom > large");
  const sum = await run(box, "sha256sum large");
  const pid = functionPid(own, "cleanroom-gateway");
  const before = peakMiB(pid);
  await take(box, "large", keeper);
  await box[Symbol.asyncDispose]();
  await using second = await makeBox(keeper, { snapshot: "large" });
  assert.equal(await run(second, "sha256sum large"), sum);
  assert.ok(peakMiB(pid) - before < 120, `${peakMiB(pid) - before} MiB more than before`);
});
