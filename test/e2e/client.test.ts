import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Artifacts } from "#client/artifacts.ts";
import { Sandbox } from "#client/sandbox.ts";
import { projectDir } from "#infra/config.ts";
import { newTenant, openDoor, type Door } from "#support/door.ts";
import { isProblem } from "#support/problem.ts";
import { tempDir } from "#support/temp.ts";
import { until } from "#support/until.ts";

let door: Door;
let client: { url: string; apiKey: string };

before(async () => {
  door = await openDoor();
  client = { url: door.origin, apiKey: (await newTenant(door)).key.apiKey };
});
after(() => door[Symbol.asyncDispose]());

test("every example of docs/client.md runs", async () => {
  await using dir = await tempDir();
  await mkdir(join(dir.path, "data/deep"), { recursive: true });
  await writeFile(join(dir.path, "data/deep/file"), "1");
  const blocks = [...(await readFile(join(projectDir(), "docs/client.md"), "utf8")).matchAll(/```ts\n([\s\S]*?)```/g)].map(
    (match) => match[1] ?? "",
  );
  assert.ok(blocks.length >= 9);
  const body = blocks.map((block) => `{\n${block.replaceAll(/^import .*$/gm, "")}\n}`).join("\n");
  const main = pathToFileURL(join(projectDir(), "client/main.ts")).href;
  const source = `import { Artifacts, BrowserProfiles, Problem, Sandbox, Snapshots } from ${JSON.stringify(main)};\nawait using box = await Sandbox.create();\n${body}\n`;
  const file = join(dir.path, "examples.mts");
  await writeFile(file, source);
  const env = { ...process.env, CLEANROOM_URL: client.url, CLEANROOM_API_KEY: client.apiKey };
  const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: dir.path, env });
  for (const said of [
    "42",
    "deleted",
    "ZeroDivisionError division by zero",
    "stdout got one",
    "8 2 2 1000000",
    "# Done",
    "file_not_found 404",
  ]) {
    assert.ok(stdout.includes(said), `the examples said ${JSON.stringify(said)}:\n${stdout}`);
  }
  assert.equal(await readFile(join(dir.path, "data-back/deep/file"), "utf8"), "1");
  assert.equal(await readFile(join(dir.path, "summary.md"), "utf8"), "# Done\n");
});

test("a sandbox is gone after its block, and says why it ended", async () => {
  let id = "";
  {
    await using box = await Sandbox.create(client);
    ({ id } = box);
    assert.equal((await box.info()).state, "ready");
  }
  const ended = await (await Sandbox.connect(id, client)).info();
  assert.deepEqual([ended.state, ended.endReason], ["ended", "deleted"]);
  await assert.rejects((await Sandbox.connect(id, client)).runCode("1"), isProblem("sandbox_ended"));
});

test("one id is one sandbox, and another project's is not found", async () => {
  const id = `mine-${crypto.randomUUID().slice(0, 8)}`;
  await using box = await Sandbox.create({ ...client, id });
  const again = await Sandbox.create({ ...client, id });
  assert.equal(again.id, box.id);
  const stranger = { url: door.origin, apiKey: (await newTenant(door)).key.apiKey };
  await assert.rejects(Sandbox.connect(id, stranger), isProblem("sandbox_not_found"));
  await assert.rejects(Sandbox.connect(id, { ...client, apiKey: "nobody" }), isProblem("unauthenticated"));
});

test("output arrives while the code runs, and an abort stops it", async () => {
  await using box = await Sandbox.create(client);
  const stop = new AbortController();
  const reason = new Error("enough");
  const code = "import time\nfor i in range(600):\n    print(i, flush=True)\n    time.sleep(0.05)";
  const onStdout = (text: string) => {
    if (text.includes("3")) stop.abort(reason);
  };
  await assert.rejects(box.runCode(code, { timeoutMs: 60_000, signal: stop.signal, onStdout }), reason);
  assert.equal((await box.runCode("'still here'", { timeoutMs: 20_000 })).text, "'still here'");
});

test("an aborted command ends in the sandbox too", async () => {
  await using box = await Sandbox.create(client);
  const stop = new AbortController();
  const reason = new Error("enough");
  const beside = await box.commands.run("exec sleep 1234", { background: true });
  const run = box.commands.run("echo started; exec sleep 4321", { signal: stop.signal, onStdout: () => stop.abort(reason) });
  await assert.rejects(run, reason);
  const running = async () =>
    (await box.commands.list())
      .filter((one) => one.status === "running")
      .map((one) => one.command)
      .join("\n");
  await until("the aborted command is gone", async () => !(await running()).includes("sleep 4321"));
  assert.match(await running(), /sleep 1234/);
  assert.equal(await beside.kill(), true);
});

test("time that is up is said as such, and the state that can be kept is kept", async () => {
  await using box = await Sandbox.create(client);
  await box.runCode("kept = 5");
  const slow = await box.runCode("import time; time.sleep(30)", { timeoutMs: 300 });
  assert.equal(slow.status, "timeout");
  assert.equal((await box.runCode("kept")).text, "5");
  const command = await box.commands.run("sleep 30", { timeoutMs: 300 });
  assert.deepEqual([command.status, command.exitCode], ["timeout", 124]);
});

test("large files go both ways byte for byte", async () => {
  await using box = await Sandbox.create(client);
  const bytes = Buffer.alloc(10_000_001, "0123456789abcdef\u00ff");
  assert.equal((await box.files.write("big", bytes)).size, bytes.length);
  assert.ok(bytes.equals(await box.files.read("big", { format: "bytes" })));
});

test("a link that leads out of a downloaded directory stays in the sandbox", async () => {
  await using box = await Sandbox.create(client);
  await using dir = await tempDir();
  await box.commands.run("mkdir -p out && ln -s /etc/passwd out/leak && ln -s real out/fine && echo 1 > out/real && chmod 4755 out/real");
  const { skipped } = await box.files.downloadDirectory("out", join(dir.path, "out"));
  assert.deepEqual(
    skipped.map((one) => one.path),
    ["leak"],
  );
  assert.equal(await readFile(join(dir.path, "out/fine"), "utf8"), "1\n");
});

test("an artifact outlives its sandbox and is deleted once", async () => {
  let id = "";
  {
    await using box = await Sandbox.create({ ...client, taskId: "task-e2e" });
    await box.files.write("kept.bin", new Uint8Array([1, 2, 3]));
    id = (await box.artifacts.keep("kept.bin")).id;
    await assert.rejects(box.artifacts.keep("not-there"), isProblem("file_not_found"));
  }
  assert.deepEqual([...(await Artifacts.download(id, client))], [1, 2, 3]);
  await Artifacts.remove(id, client);
  await assert.rejects(Artifacts.get(id, client), isProblem("artifact_not_found"));
});
