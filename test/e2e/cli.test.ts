import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test, { after, before } from "node:test";
import { Sandbox } from "#client/sandbox.ts";
import type { Receipt } from "#cli/receipt.ts";
import { projectDir } from "#infra/config.ts";
import { newTenant, openDoor, type Door } from "#support/door.ts";
import { tempDir } from "#support/temp.ts";

let door: Door;
let client: { url: string; apiKey: string };

before(async () => {
  door = await openDoor();
  client = { url: door.origin, apiKey: (await newTenant(door)).key.apiKey };
});
after(() => door[Symbol.asyncDispose]());

function start(args: string[], options: { cwd?: string; environment?: Record<string, string> } = {}) {
  const env = { ...process.env, CLEANROOM_URL: client.url, CLEANROOM_API_KEY: client.apiKey, ...options.environment };
  const launcher = join(projectDir(), "cli/cleanroom.mjs");
  return spawn(process.execPath, [launcher, ...args], { env, cwd: options.cwd, stdio: ["pipe", "pipe", "pipe"] });
}

async function cleanroom(args: string[], options: Parameters<typeof start>[1] & { stdin?: string } = {}) {
  const child = start(args, options);
  child.stdin.end(options.stdin ?? "");
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { stdout, stderr, code };
}

const living = async (): Promise<string[]> => {
  const ids: string[] = [];
  for await (const info of Sandbox.list(client)) if (info.state !== "ended") ids.push(info.id);
  return ids;
};

test("run: the program gets its input and arguments, what is named is kept, the rest is gone, the receipt says so", async () => {
  await using dir = await tempDir();
  await writeFile(
    join(dir.path, "count.py"),
    "import os, sys\nrows = open('in.csv').read().split()\nprint(len(rows), sys.argv[1], os.environ['LEVEL'])\nopen('out.md', 'w').write('# Counted\\n')\n",
  );
  await writeFile(join(dir.path, "in.csv"), "a\nb\nc\n");
  const ran = await cleanroom(
    ["run", "count.py", "--input", "in.csv", "--keep", "out.md", "--save", "kept", "--env", "LEVEL=x y", "--", "an 'arg'"],
    { cwd: dir.path },
  );
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(ran.stdout, "3 an 'arg' x y\n");
  for (const said of [
    /✓ ran +count\.py/,
    /exit 0/,
    /of cpu/,
    /of memory at the peak/,
    /✓ kept +out\.md {2}10 B/,
    /sha256 [0-9a-f]{64}/,
    /✓ destroyed/,
  ])
    assert.match(ran.stderr, said);
  assert.equal(await readFile(join(dir.path, "kept/out.md"), "utf8"), "# Counted\n");
  const link = /http\S+/.exec(ran.stderr)?.[0] ?? "";
  assert.equal(await (await fetch(link)).text(), "# Counted\n");
  assert.deepEqual(await living(), []);
});

test("run --json: the same as data, the program's output beside it", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "say.sh"), "echo out; echo err >&2; echo kept > k; exit 7\n");
  const ran = await cleanroom(["run", "say.sh", "--json", "--keep", "k", "--keep", "missing"], { cwd: dir.path });
  const receipt = JSON.parse(ran.stdout) as Receipt;
  assert.equal(ran.code, 7);
  assert.deepEqual(receipt.outcome, { status: "completed", exitCode: 7 });
  assert.deepEqual([receipt.output.stdout, receipt.output.stderr], ["out\n", "err\n"]);
  assert.deepEqual(
    receipt.kept.map((one) => [one.name, one.sizeBytes]),
    [["k", 5]],
  );
  assert.deepEqual(
    receipt.notKept.map((one) => [one.path, one.code]),
    [["missing", "file_not_found"]],
  );
  assert.equal(receipt.destroyed.ended, true);
  assert.ok((receipt.usage?.cpuMs ?? 0) > 0 && (receipt.usage?.memoryPeakBytes ?? 0) > 0);
});

test("run: a program that does well but leaves nothing to keep ends with 73, one out of time with 124", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "fine.js"), "console.log(1)\n");
  await writeFile(join(dir.path, "slow"), "#!/bin/sh\nsleep 60\n");
  assert.equal((await cleanroom(["run", "fine.js", "--keep", "missing"], { cwd: dir.path })).code, 73);
  const slow = await cleanroom(["run", "slow", "--timeout", "0.5"], { cwd: dir.path });
  assert.equal(slow.code, 124);
  assert.match(slow.stderr, /its time was up/);
});

test("run: an interrupt destroys the sandbox and says so", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "long.py"), "import time\nprint('started', flush=True)\ntime.sleep(60)\n");
  const child = start(["run", "long.py"], { cwd: dir.path });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const stderr = text(child.stderr);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  assert.equal((await living()).length, 1);
  child.kill("SIGINT");
  assert.equal(await exited, 130);
  assert.match(await stderr, /interrupted[\s\S]*✓ destroyed/);
  assert.deepEqual(await living(), []);
});

test("sandbox and snapshot: files are kept, go on in a fresh sandbox, and are copied", async () => {
  await using box = await Sandbox.create(client);
  await box.files.write("note", "from before");
  assert.match((await cleanroom(["sandbox", "snapshot", box.id, "halfway"])).stdout, /^halfway {2}\d+ files {2}/);
  assert.match((await cleanroom(["snapshot", "ls"])).stdout, new RegExp(`halfway +\\d+ +.* code-interpreter +${box.id}`));
  const made = (await cleanroom(["sandbox", "create", "--snapshot", "halfway"])).stdout.trim();
  const forks = (await cleanroom(["sandbox", "fork", made, "--count", "2"])).stdout.trim().split("\n");
  assert.equal(forks.length, 2);
  for (const id of [made, ...forks]) assert.equal((await cleanroom(["exec", id, "cat", "note"])).stdout, "from before");
  assert.equal((await cleanroom(["sandbox", "rm", made, ...forks])).code, 0);
  assert.equal((await cleanroom(["snapshot", "rm", "halfway"])).stdout, "halfway is deleted\n");
  assert.notEqual((await cleanroom(["snapshot", "rm", "halfway"])).code, 0);
});

test("exec, sandbox and artifact work on what lives and what is kept", async () => {
  await using box = await Sandbox.create({ ...client, name: "seen" });
  const ran = await cleanroom(["exec", box.id, "--stdin", "cat; exit 3"], { stdin: "through\n" });
  assert.deepEqual([ran.stdout, ran.code], ["through\n", 3]);
  assert.equal((await cleanroom(["exec", box.id, "printf", "%s|", "a b", "$HOME"])).stdout, "a b|$HOME|");
  assert.match((await cleanroom(["sandbox", "ls"])).stdout, new RegExp(`${box.id} +ready +code-interpreter .* seen`));
  assert.equal((JSON.parse((await cleanroom(["sandbox", "get", box.id, "--json"])).stdout) as { id: string }).id, box.id);
  await box.files.write("k.txt", "kept");
  const { id } = await box.artifacts.keep("k.txt");
  assert.equal((await cleanroom(["artifact", "get", id, "-o", "-"])).stdout, "kept");
  assert.match((await cleanroom(["artifact", "ls"])).stdout, new RegExp(`${id} +k\\.txt +1 +4 B`));
  assert.equal((await cleanroom(["artifact", "rm", id])).code, 0);
  for (const [verb, state, word] of [
    ["pause", "paused", "stands still"],
    ["resume", "ready", "goes on"],
  ] as const) {
    assert.equal((await cleanroom(["sandbox", verb, box.id])).stdout, `${box.id} ${word}\n`);
    assert.equal((JSON.parse((await cleanroom(["sandbox", verb, box.id, "--json"])).stdout) as { state: string }).state, state);
  }
  assert.equal((await cleanroom(["sandbox", "rm", box.id])).code, 0);
  assert.deepEqual(await living(), []);
  assert.match((await cleanroom(["template", "ls"])).stdout, /code-interpreter +CodeInterpreter/);
});

test("what goes wrong is said in two lines: what, and what to do next; with --json as data", async () => {
  const cases: [string[], number, RegExp][] = [
    [["frob"], 64, /no command frob\n.*--help/],
    [["run"], 64, /needs FILE/],
    [["run", "--wat", "x.py"], 64, /--wat/],
    [["run", "no-such-file.py"], 66, /no file no-such-file\.py/],
    [["sandbox", "get", "never-was"], 70, /never-was[\s\S]*\n.*(Create|list)/],
  ];
  for (const [args, code, said] of cases) {
    const ran = await cleanroom(args);
    assert.equal(ran.code, code, args.join(" "));
    assert.match(ran.stderr, said);
    assert.equal(ran.stderr.trimEnd().split("\n").length, 2);
  }
  const nobody = await cleanroom(["sandbox", "ls", "--json"], { environment: { CLEANROOM_API_KEY: "nobody" } });
  assert.equal((JSON.parse(nobody.stdout) as { error: { code: string } }).error.code, "unauthenticated");
  const away = await cleanroom(["sandbox", "ls"], { environment: { CLEANROOM_URL: "http://127.0.0.1:1" } });
  assert.deepEqual([away.code, /cleanroom up/.test(away.stderr)], [69, true]);
});

test("every command has help with an example", async () => {
  for (const name of ["up", "doctor", "run", "exec", "sandbox", "template", "artifact"]) {
    const { stdout, code } = await cleanroom([name, "--help"]);
    assert.equal(code, 0, name);
    assert.match(stdout, new RegExp(`^cleanroom ${name}[\\s\\S]*--json[\\s\\S]*For example\n.*cleanroom ${name}`));
  }
});

test("a pipe gets what the program wrote, byte for byte", async () => {
  await using dir = await tempDir();
  await writeFile(join(dir.path, "raw.py"), "import sys\nsys.stdout.write('\\x1b[2J\\x1b]0;t\\x07a\\rb\\n')\n");
  assert.equal((await cleanroom(["run", "raw.py"], { cwd: dir.path })).stdout, "\u001B[2J\u001B]0;t\u0007a\rb\n");
});

test("doctor says of every need whether it is there, with the fix where it is not", async () => {
  const { stdout } = await cleanroom(["doctor", "--json"]);
  const checks = JSON.parse(stdout) as { need: string; state: string; fix?: string }[];
  assert.ok(checks.length >= 8);
  for (const check of checks) assert.ok(check.state === "ok" || typeof check.fix === "string", check.need);
});

test("cost: a bill that one can read, and the same for programs", async () => {
  await using box = await Sandbox.create(client);
  await box.runCode("sum(range(10**6))");
  const id = box.id;
  await box.kill();
  const shown = await cleanroom(["cost", id, "--currency", "cny"]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /^METER +USED +UNIT +PRICE +AMOUNT$/m);
  assert.match(shown.stdout, /^vCPU, allocated +[\d.]+ {2}vCPU-second +0\.00011 +0\.\d+$/m);
  assert.match(shown.stdout, /^Total +0\.\d+ CNY$/m);
  const told = JSON.parse((await cleanroom(["cost", id, "--json"])).stdout) as { currency: string; final: boolean };
  assert.partialDeepStrictEqual(told, { currency: "USD", final: true });
  assert.equal((await cleanroom(["cost", id, "--currency", "eur"])).code, 64);
});
