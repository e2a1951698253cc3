import assert from "node:assert/strict";
import { after, test } from "node:test";
import { LIMITS } from "#contract/limits.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

// What code gets that takes more than it has, one promise each.

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

test("a full disk is said as one, leaves no torn file, and is nobody else's", async () => {
  await tenant.json("POST", "/api/templates", { name: "small-disk", cpu: 1, memoryMiB: 1024, diskMiB: 512 }, 201);
  await using box = await makeBox(tenant, { template: "small-disk" });
  await using neighbour = await makeBox(tenant, { template: "small-disk" });
  await refused(box.inside("PUT", "/files/content?path=large", zeros(600)), "disk_full");
  await refused(box.inside("GET", "/filesystem/stat?path=large"), "file_not_found");
  await box.command("head -c 600M /dev/zero > filler");
  await refused(box.inside("POST", "/files", { path: "small", content: "x".repeat(100_000) }), "disk_full");
  assert.equal((await neighbour.inside("PUT", "/files/content?path=f", zeros(100))).status, 200);
  assert.equal((await box.execute("print(6 * 7)")).stdout, "42\n", "code runs on a full disk");
  await box.command("rm filler");
  assert.equal((await box.inside("POST", "/files", { path: "small", content: "x" })).status, 200);
  assert.equal((await neighbour.inside("GET", "/health")).status, 200);
});

test("code that never ends is ended by its time-out, which says so; contexts beside it work meanwhile", async () => {
  await using box = await makeBox(tenant);
  await box.execute("kept = 1");
  const endless = box.execute("while True: pass", { timeout: 2 });
  assert.equal((await box.execute("print('beside')", { contextId: "beside" })).stdout, "beside\n");
  assert.equal((await box.execute("console.log('js')", { language: "javascript" })).stdout, "js\n");
  const { end, exitCode } = await endless;
  assert.partialDeepStrictEqual({ ...end, exitCode }, { status: "timeout", stateKept: true, exitCode: 124 });
  assert.ok(end.durationMs >= 2000 && end.durationMs < 4500, `${end.durationMs} ms`);
  assert.equal((await box.execute("print(kept)")).stdout, "1\n");
});

test("code that heeds no interrupt is ended by force, and says what that cost", async () => {
  await using box = await makeBox(tenant);
  const stubborn = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass";
  const { end } = await box.execute(stubborn, { timeout: 0.5 });
  assert.partialDeepStrictEqual(end, { status: "timeout", stateKept: false });
  assert.equal((await box.execute("print('again')")).stdout, "again\n");
  const processes = await box.command("ps -eo stat,comm | grep -c '^R.*python' || true");
  assert.equal(processes.result?.stdout.trim(), "0", "nothing goes on spinning");
});

test("a command that never ends is ended with all that it started", async () => {
  await using box = await makeBox(tenant);
  const ended = await box.command("sleep 1000 & sleep 1000", { timeout: 0.5 });
  assert.deepEqual([ended.status, ended.result?.exitCode], ["timeout", 124]);
  const left = await box.command("pgrep -c sleep || true");
  assert.equal(left.result?.stdout.trim(), "0");
});

test("a flood of output is cut, with how much was dropped, and costs its reader no more than the bound", async () => {
  await using box = await makeBox(tenant);
  const written = 50_000_000;
  const { stdout, end, exitCode } = await box.execute(`print("x" * ${written - 1})`);
  const cut = /\[\.\.\. (\d+) bytes dropped \.\.\.\]/.exec(stdout);
  assert.equal(exitCode, 0);
  assert.equal(end.dropped.stdout, written - LIMITS.outputBytes);
  assert.equal(Number(cut?.[1]), end.dropped.stdout);
  assert.ok(stdout.length < LIMITS.outputBytes + 100);
  const command = await box.command(`head -c ${written} /dev/zero | tr '\\0' y; echo oops >&2`);
  assert.equal(command.result?.dropped.stdout, written - LIMITS.outputBytes);
  assert.match(command.result?.stdout ?? "", /bytes dropped/);
  assert.equal(command.result?.stderr, "oops\n", "what is not flooded is whole");
});

test("an endless flood is ended by its time-out, bounded all the while", async () => {
  await using box = await makeBox(tenant);
  const { end, stdout } = await box.execute("while True: print('y' * 10000)", { timeout: 1 });
  assert.equal(end.status, "timeout");
  assert.ok(end.dropped.stdout > 0 && stdout.length < LIMITS.outputBytes + 100);
});

test("a reader that stops reading stops the flood, and one that leaves ends it", async () => {
  await using box = await makeBox(tenant);
  const leaving = new AbortController();
  const code = "import sys\nwhile True: sys.stdout.write('z' * 65536)";
  const answer = await fetch(`${door.origin}/sandboxes/${box.id}/contexts/execute`, {
    method: "POST",
    body: JSON.stringify({ code, timeout: 60 }),
    headers: { authorization: `Bearer ${tenant.key.apiKey}`, accept: "text/event-stream" },
    signal: leaving.signal,
  });
  const reader = answer.body?.getReader();
  await reader?.read();
  // Nobody reads now: the code comes to rest in its write, and uses no more cpu.
  let mark = { atMs: Date.now(), cpuMs: 0 };
  await until("the code rests", async () => {
    if (Date.now() - mark.atMs < 300) return false;
    const { usage } = await box.read();
    const burntMs = (usage?.cpuMs ?? 0) - mark.cpuMs;
    mark = { atMs: Date.now(), cpuMs: usage?.cpuMs ?? 0 };
    return burntMs < 30;
  });
  leaving.abort();
  assert.equal((await box.execute("print('free')", { timeout: 10 })).stdout, "free\n");
});

test("code that takes all the memory is told so, and so is who reads the sandbox", async () => {
  await tenant.json("POST", "/api/templates", { name: "small-memory", cpu: 0.5, memoryMiB: 512, diskMiB: 512 }, 201);
  await using box = await makeBox(tenant, { template: "small-memory" });
  await box.command("echo kept > file");
  const { end, exitCode, results } = await box.execute("held = []\nwhile True: held.append(bytearray(1 << 24))");
  assert.partialDeepStrictEqual({ ...end, exitCode }, { status: "oom", stateKept: false, exitCode: 137 });
  assert.ok(results.some((item) => item.type === "error" && item.name === "OutOfMemory"));
  const command = await box.command(`python3 -c 'held = []\nwhile True: held.append(bytearray(1 << 24))'`);
  assert.deepEqual([command.status, command.result?.exitCode], ["oom", 137]);
  const { state, usage } = await box.read();
  assert.equal(state, "ready");
  assert.ok((usage?.oomKills ?? 0) >= 2, `${usage?.oomKills} kills are told`);
  assert.equal((await box.execute("print(open('file').read(), end='')")).stdout, "kept\n", "files stay");
});

test("a fork bomb meets the limit of processes, and neighbours do not notice", async () => {
  await using box = await makeBox(tenant);
  await using neighbour = await makeBox(tenant);
  const bomb = box.command("bomb() { bomb | bomb & }; bomb; sleep 2", { timeout: 4 });
  assert.equal((await neighbour.execute("print('calm')")).stdout, "calm\n");
  await bomb;
  assert.ok(((await box.read()).usage?.processes ?? 0) <= 1024);
  assert.equal((await tenant.send("DELETE", `/api/sandboxes/${box.id}`)).status, 200);
});

function zeros(sizeMiB: number): Uint8Array {
  return new Uint8Array(sizeMiB * 1024 * 1024);
}
