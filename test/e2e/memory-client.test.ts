import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test, { after, before } from "node:test";
import { Memory } from "#client/memory.ts";
import { projectDir } from "#infra/config.ts";
import { type Door, newTenant, openDoor } from "#support/door.ts";
import { isProblem } from "#support/problem.ts";
import { tempDir } from "#support/temp.ts";

let door: Door;
let client: { url: string; apiKey: string };

before(async () => {
  door = await openDoor();
  client = { url: door.origin, apiKey: (await newTenant(door)).key.apiKey };
});
after(() => door[Symbol.asyncDispose]());

const newName = () => `n${crypto.randomUUID().replaceAll("-", "")}`;
const bytesOf = async (chunks: AsyncIterable<Uint8Array>) => Buffer.concat(await Array.fromAsync(chunks));

/** The command line, by what it is given and what comes by its standard input. */
async function cleanroom(args: string[], stdin = "") {
  const env = { ...process.env, CLEANROOM_URL: client.url, CLEANROOM_API_KEY: client.apiKey };
  const child = spawn(process.execPath, [join(projectDir(), "cli/main.ts"), "memory", ...args], { env, stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.end(stdin);
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { stdout, stderr, code };
}

test("the client says, adds, finds, revises, lists, forgets and carries a memory; opening it twice is opening it", async () => {
  const name = newName();
  const memory = await Memory.open(name, { ...client, eventLifeMs: 86_400_000 });
  const again = await Memory.open(name, client);
  const { events, records } = await memory.say(
    "s1",
    ["Did Acme renew?", { text: "No, they have gone quiet since March.", role: "assistant", speaker: "Ann" }],
    { user: "ann" },
  );
  assert.deepEqual(await again.events("s1"), events);
  assert.deepEqual(await again.events("s1", 1), [events[1]]);
  assert.equal(records.length, 2);
  const [hit] = await again.search("who has gone quiet?", { filter: { user: "ann" }, limit: 1 });
  assert.equal(hit?.record.id, records[1]?.id);
  assert.ok(hit?.why.some(({ word, field }) => word === "quiet" && field === "text"));
  assert.deepEqual(await memory.search("who has gone quiet?", { filter: { user: "bob" } }), []);
  const added = await memory.add("Acme pays in euros", { user: "ann", type: "fact" });
  const revised = await memory.revise(added.id, { text: "Acme pays in dollars" });
  assert.deepEqual(
    (await memory.history(revised.id)).map(({ id }) => id),
    [added.id, revised.id],
  );
  assert.equal((await memory.get(added.id)).supersededBy, revised.id);
  assert.equal((await memory.records({ user: "ann" })).length, 3, "what is superseded is no longer what is remembered");
  const lines = await bytesOf(memory.export());
  const copy = await Memory.open(newName(), client);
  const counts = await copy.import(lines);
  assert.deepEqual([counts.events, counts.records], [2, 4]);
  assert.deepEqual(await bytesOf(copy.export()), lines, "what is carried over is what was there, byte for byte");
  const stone = await memory.forget({ ids: [added.id] });
  assert.equal(stone.records, 2, "a record takes along its versions");
  await assert.rejects(memory.get(revised.id), isProblem("memory_not_found"));
  const named = async () => (await Memory.list(client)).map((one) => one.name);
  assert.ok((await named()).includes(name));
  await memory.delete();
  assert.ok(!(await named()).includes(name));
  await assert.rejects(again.search("Acme"), isProblem("collection_not_found"));
});

test("the client's lists are whole beyond a page", async () => {
  const memory = await Memory.open(newName(), client);
  for (let at = 0; at < 250; at += 50)
    await memory.say(
      "s",
      Array.from({ length: 50 }, (_, n) => `turn ${at + n}`),
    );
  const texts = (await memory.records()).map((record) => record.text);
  assert.deepEqual(
    texts,
    Array.from({ length: 250 }, (_, n) => `turn ${249 - n}`),
  );
});

test("`cleanroom memory` remembers, finds with why, lists and forgets", async () => {
  const [collection, hostile] = [newName(), "Acme \u001b]0;owned\u0007has gone quiet since March"];
  const of = ["-c", collection];
  const added = await cleanroom(["add", hostile, "--user", "ann", ...of]);
  assert.equal(added.code, 0, added.stderr);
  assert.match(added.stdout, /^mem_\w+\n$/);
  const memory = await Memory.open(collection, client);
  await memory.add("Globex signed", { user: "bob" });
  const found = await cleanroom(["search", "quiet", "Acme", "--user", "ann", ...of]);
  assert.match(found.stdout, /SCORE.*\n.*0\.\d\d .*gone quiet since March.*quiet/);
  assert.ok(!found.stdout.includes("\u001B") && !found.stdout.includes("\u0007"));
  const [kept] = await memory.records({ user: "ann" });
  assert.equal(kept?.text, hostile, "it is kept as it was said");
  assert.match((await cleanroom(["list", ...of])).stdout, /bob.*Globex signed/);
  assert.match((await cleanroom(["forget", "--user", "ann", ...of])).stdout, /0 events and 1 records are forgotten/);
  assert.deepEqual(await memory.records({ user: "ann" }), []);
});

test("`cleanroom memory` carries a collection from one to another by a file and by its streams", async () => {
  await using dir = await tempDir();
  const [from, to, third] = [newName(), newName(), newName()];
  const memory = await Memory.open(from, client);
  for (const user of ["ann", "bob"]) await memory.add(`one of ${user}'s`, { user });
  const file = join(dir.path, "memory.jsonl");
  assert.equal((await cleanroom(["export", "--file", file, "-c", from])).code, 0);
  assert.match((await cleanroom(["import", "--file", file, "-c", to])).stdout, /0 events and 2 records are in/);
  assert.equal(String(await bytesOf((await Memory.open(to, client)).export())), await readFile(file, "utf8"));
  const { stdout: anns } = await cleanroom(["export", "--user", "ann", "-c", from]);
  assert.match((await cleanroom(["import", "-c", third], anns)).stdout, /0 events and 1 records are in/);
  assert.notEqual((await cleanroom(["export", "--file", file, "-c", from])).code, 0, "a file that is there is not written over");
  await writeFile(file, "no JSON\n");
  const refused = await cleanroom(["import", "--file", file, "-c", third]);
  assert.notEqual(refused.code, 0);
  assert.notEqual(refused.stderr, "");
});

test("`cleanroom memory` refuses what it does not know, and says how it is used", async () => {
  for (const args of [["dream"], ["forget", "x", "--user", "ann"]]) {
    const { code, stderr } = await cleanroom(args);
    assert.equal(code, 64, args.join(" "));
    assert.match(stderr, /cleanroom memory takes add TEXT/);
  }
});
