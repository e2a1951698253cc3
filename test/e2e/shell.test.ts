import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, test } from "node:test";
import { Sandbox } from "#client/sandbox.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const client = { url: door.origin, apiKey: tenant.key.apiKey };
const bounded = { timeout: 120_000 };

test("a terminal of the client types, resizes, comes back by itself and says how it ended", bounded, async () => {
  await using box = await Sandbox.create(client);
  let text = "";
  const pty = await box.pty.create({ cols: 90, rows: 25, onData: (data) => (text += Buffer.from(data).toString()) });
  await box.pty.sendInput(pty.pid, "stty size\r");
  await until("the size is there", () => text.includes("25 90"));
  pty.resize({ cols: 100, rows: 30 });
  pty.sendInput("stty size\r");
  await until("the new size is there", () => text.includes("30 100"));
  const again = await box.pty.connect(pty.terminalId, { cols: 100, rows: 30, onData: () => {} });
  again.disconnect();
  pty.sendInput("exit 3\r");
  assert.deepEqual(await pty.wait(), { exitCode: 3 });
  const other = await box.pty.create({ cols: 80, rows: 24, onData: () => {} });
  assert.equal(await other.kill(), true);
  assert.notEqual((await other.wait()).exitCode, 0);
});

test("who waits for a terminal learns that its sandbox has ended", bounded, async () => {
  await using box = await Sandbox.create(client);
  const pty = await box.pty.create({ cols: 80, rows: 24, onData: () => {} });
  await box.kill();
  await assert.rejects(pty.wait(), { code: "sandbox_ended" });
});

/** Runs `cleanroom shell`, on pipes as a script has it. */
function shell(...args: string[]) {
  const child = spawn(process.execPath, ["cli/cleanroom.mjs", "shell", ...args], {
    env: { ...process.env, CLEANROOM_URL: client.url, CLEANROOM_API_KEY: client.apiKey },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const code = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { type: (typed: string) => child.stdin.write(typed), text: () => text, code };
}

test("`cleanroom shell` ends as its shell does; Ctrl-] leaves it running, and --attach comes back", bounded, async () => {
  await using box = await Sandbox.create(client);
  const first = shell(box.id);
  await until("there is a prompt", () => first.text().includes("$ "), 30_000);
  first.type("echo be''fore\r");
  await until("it answers", () => first.text().includes("before"));
  first.type("\x1d");
  assert.equal(await first.code, 0);
  const terminalId = /--attach (tty-\w+)/.exec(first.text())?.[1] ?? assert.fail(first.text());
  const second = shell(box.id, "--attach", terminalId);
  await until("what was there is there", () => second.text().includes("before"), 30_000);
  second.type("exit 9\r");
  assert.equal(await second.code, 9);
  const none = shell("no-such-box");
  assert.notEqual(await none.code, 0);
  assert.match(none.text(), /No such sandbox/);
});
