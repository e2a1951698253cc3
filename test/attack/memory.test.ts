import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { newTenant, openDoor, type Tenant } from "#support/door.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

const TIMEOUT = { timeout: 240_000 };
const HOME = "/api/memory/collections";

interface Hit {
  record: { id: string; text: string };
  score: number;
}

async function collection(tenant: Tenant, name = "notes") {
  await tenant.json("POST", HOME, { name }, 201);
  return {
    add: (text: string, more: object = {}) => tenant.json<{ id: string }>("POST", `${HOME}/${name}/records`, { text, ...more }, 201),
    find: async (query: string) => (await tenant.json<{ hits: Hit[] }>("POST", `${HOME}/${name}/search`, { query, limit: 50 })).hits,
  };
}

test("L1: what another project remembers is not found, and does not move the score of what is", TIMEOUT, async () => {
  const [mine, theirs] = [await newTenant(door), await newTenant(door)];
  const [own, other] = [await collection(mine), await collection(theirs)];
  const { id } = await own.add("the falcon has landed");
  await own.add("something else entirely");
  const before = await own.find("falcon");
  for (let n = 0; n < 20; n += 1) await other.add(`falcon number ${n}`, { user: "victim" });
  assert.equal((await other.find("falcon")).length, 20, "its owner finds them");
  assert.deepEqual(await own.find("falcon"), before);
  // Neither an id, nor an export that was asked for, nor a name leads across.
  assert.equal((await theirs.send("GET", `${HOME}/notes/records/${id}`)).status, 404);
  const asked = await theirs.json<{ id: string }>("POST", "/v1/exports/", { filters: { user_id: "victim" } }, 201);
  assert.equal((await mine.send("POST", "/v1/exports/get/", { memory_export_id: asked.id })).status, 403);
  for (const name of ["../notes", "%2e%2e%2fnotes", `${theirs.projectId}.notes`, "a\0b", "x".repeat(500)])
    assert.ok([400, 404].includes((await mine.send("GET", `${HOME}/${encodeURIComponent(name)}`)).status), name);
});

const HOSTILE = [
  'zebra" OR text:* NEAR("a" "b", 10) -^x*',
  "zebra'); DROP TABLE docs; --",
  "<script>alert(document.domain)</script> zebra",
  "\u001b]0;owned\u0007\u001b[2J zebra",
  "zebra \u202e gnp.exe \u0000 \ud83e",
  "{{zebra}} ${zebra} %s%n ../../etc/passwd",
];

test("L2: hostile text is kept and found as text, comes back byte for byte, and as a question is a question", TIMEOUT, async () => {
  const tenant = await newTenant(door);
  const { add, find } = await collection(tenant);
  await add("nothing to see");
  const kept = HOSTILE.filter((text) => text.isWellFormed());
  for (const text of kept) await add(text, { metadata: { "m.x": text.slice(0, 100) }, user: "u" });
  for (const text of HOSTILE.filter((one) => !one.isWellFormed()))
    assert.equal((await tenant.send("POST", `${HOME}/notes/records`, { text })).status, 400, "what is no text is refused");
  assert.deepEqual(new Set((await find("zebra")).map(({ record }) => record.text)), new Set(kept));
  for (const text of kept)
    assert.ok(
      (await find(text)).every(({ record }) => record.text !== "nothing to see"),
      text,
    );
  assert.deepEqual(await find("* OR nothing*"), await find("nothing"));
});

test("L3: no byte of what was forgotten is in any file of the store, nor in what stood beside it", TIMEOUT, async () => {
  const tenant = await newTenant(door);
  await collection(tenant);
  const secret = `canary${crypto.randomUUID().replaceAll("-", "")}`;
  const events = [{ text: "before it" }, { text: `it is ${secret}`, metadata: { secret } }, { text: "after it" }];
  const { records } = await tenant.json<{ records: { id: string }[] }>(
    "POST",
    `${HOME}/notes/events`,
    { session: secret, user: "ann", events },
    201,
  );
  const holders = () =>
    globSync(join(door.dataDir, "{memory/*,*.db*,*-wal}")).filter((file) => readFileSync(file, "latin1").includes(secret));
  assert.ok(holders().length > 0, "it was there");
  await tenant.json("POST", `${HOME}/notes/forget`, { filter: { session: secret } });
  assert.deepEqual(holders(), []);
  assert.equal((await tenant.send("GET", `${HOME}/notes/records/${records[1]?.id}`)).status, 404);
});
