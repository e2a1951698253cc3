import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Display } from "#contract/display.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const show = async (box: Box) => Display.parse(await (await box.inside("GET", "/display")).json());
const start = async (box: Box, body: object = {}) => Display.parse(await (await box.inside("PUT", "/display", body)).json());
const pids = async (box: Box, name: string) => (await box.command(`pgrep -x ${name}`)).result?.stdout.split("\n").filter(Boolean) ?? [];

test("a display is there when it is first wanted, once for all who want it, and is the user's in every respect", async () => {
  await using box = await makeBox(tenant);
  assert.deepEqual(await show(box), { running: false, width: 1280, height: 800 });
  assert.deepEqual(await pids(box, "Xtigervnc"), [], "asking starts nothing");
  const started = await Promise.all([start(box), start(box), start(box)]);
  for (const one of started) assert.deepEqual(one, { running: true, name: ":1", width: 1280, height: 800 });
  const servers = await pids(box, "Xtigervnc");
  assert.equal(servers.length, 1);
  const status = await box.command(`grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/${servers[0]}/status`);
  assert.match(status.result?.stdout ?? "", /Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0+\nNoNewPrivs:\t1\nSeccomp:\t2\n/);
  const size = await box.command("xdotool getdisplaygeometry", { environment: { DISPLAY: ":1" } });
  assert.equal(size.result?.stdout, "1280 800\n", size.result?.stderr);
});

test("a display that code has ended comes back on the next use", async () => {
  await using box = await makeBox(tenant);
  await start(box);
  const [first = ""] = await pids(box, "Xtigervnc");
  await box.command(`kill -9 ${first}`);
  await until("it is known to be gone", async () => !(await show(box)).running);
  assert.equal((await start(box)).running, true);
  const [second = ""] = await pids(box, "Xtigervnc");
  assert.notEqual(second, first);
});

test("a display has the size that was asked for, by a variable or by name, while nobody uses it", async () => {
  await using box = await makeBox(tenant, { environment: { CLEANROOM_DISPLAY_SIZE: "1024x768" } });
  assert.equal((await start(box)).width, 1024);
  assert.deepEqual(await start(box, { width: 800, height: 600 }), { running: true, name: ":1", width: 800, height: 600 });
  const environment = { DISPLAY: ":1" };
  await box.command("exec xterm", { environment, background: true });
  const shown = async () => (await box.command("xdotool search --class xterm", { environment })).result?.stdout !== "";
  await until("a window is on it", shown, 60_000);
  await refused(box.inside("PUT", "/display", { width: 640, height: 480 }), "conflict");
  assert.equal((await show(box)).width, 800);
  for (const [body, field] of [
    [{ width: 10_000 }, "body.width"],
    [{ height: 1 }, "body.height"],
    [{ depth: 8 }, "body"],
  ] as const) {
    const problem = await refused(box.inside("PUT", "/display", body), "invalid_request");
    assert.match(JSON.stringify(problem), new RegExp(field));
  }
});

test("a display whose numbers are taken is a Problem, not a wait", async () => {
  await using box = await makeBox(tenant);
  const squat = `
import socket
kept = []
for number in range(1, 5):
    one = socket.socket(socket.AF_UNIX); one.bind("\\0/tmp/.X11-unix/X%d" % number); one.listen(); kept.append(one)`;
  await box.execute(squat);
  await refused(box.inside("PUT", "/display", {}), "display_unavailable");
});
