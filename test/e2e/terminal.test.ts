import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Terminal } from "#contract/terminal.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { Trace } from "#contract/span.ts";
import { endedSpans } from "#support/spans.ts";
import { openTty } from "#support/tty.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const bearer = { authorization: `Bearer ${tenant.key.apiKey}` };
const bounded = { timeout: 120_000 };

const ttyOf = (box: Box, query = "", size?: { rows: number; cols: number }) =>
  openTty(`${door.origin}/sandboxes/${box.id}/processes/tty?protocol=json${query}`, bearer, size);
const terminals = async (box: Box) => ((await (await box.inside("GET", "/terminals")).json()) as { items: Terminal[] }).items;

test("a shell answers on a terminal of its own, as the sandbox's user, with colours, job control and its size", bounded, async () => {
  await using box = await makeBox(tenant);
  await using tty = await ttyOf(box, "", { rows: 30, cols: 100 });
  const { terminalId, processId } = await tty.hears("connectionEstablished");
  assert.match(terminalId ?? "", /^tty-/);
  await tty.shows(/\$ $/m);
  tty.type("tty; id -un; echo $TERM; tput colors; stty size; echo $SHLVL\r");
  await tty.shows(/\/dev\/pts\/\d+\nuser\nxterm-256color\n256\n30 100\n/);
  tty.say({ type: "resize", rows: 40, cols: 120 });
  tty.type("clear; stty size\r");
  await tty.shows(/^40 120$/m);
  tty.type("printf '\\033c'; sleep 1000\r");
  await until("it runs in the foreground", async () => (await terminals(box))[0]?.busy === true);
  tty.type("\x1a");
  await tty.shows(/\[1\]\+ +Stopped +sleep 1000/);
  tty.type("bg; jobs\r");
  await tty.shows(/\[1\]\+ +Running +sleep 1000 &/);
  tty.type("fg\r");
  await until("it is in the foreground again", async () => (await terminals(box))[0]?.busy === true);
  tty.type("\x03");
  await tty.shows(/\^C/);
  tty.type("echo status $?\r");
  await tty.shows(/^status 130$/m);
  // It is a process like any other.
  const { items } = (await (await box.inside("GET", "/processes")).json()) as { items: { processId: string; command: string }[] };
  assert.ok(items.some((one) => one.processId === processId && one.command === "bash"));
  assert.equal((await box.command(`cat /proc/${processId}/oom_score_adj`)).result?.stdout, "1000\n");
  tty.say({ type: "ping" });
  await tty.hears("pong");
});

test("how it exits is said, to who looks and to who comes later", bounded, async () => {
  await using box = await makeBox(tenant);
  await using tty = await ttyOf(box);
  const { terminalId = "" } = await tty.hears("connectionEstablished");
  tty.type("exit 7\r");
  assert.deepEqual(await tty.closed, { code: 1000, reason: "" });
  const last = tty.said.at(-2);
  assert.deepEqual([last?.type, last?.status, last?.exitCode], ["status", "exited", 7]);
  assert.deepEqual([tty.said.at(-1)?.type, tty.said.at(-1)?.reason], ["connectionClosing", "exited"]);
  await using again = await ttyOf(box, `&id=${terminalId}`);
  await again.closed;
  assert.match(again.text(), /exit 7/);
  assert.equal(again.said.find((one) => one.status === "exited")?.exitCode, 7);
  assert.deepEqual(
    (await terminals(box)).map((one) => [one.terminalId, one.status, one.exitCode]),
    [[terminalId, "completed", 7]],
  );
});

test("it survives a disconnect: who comes back gets what was missed, and only that, and several see the same", bounded, async () => {
  await using box = await makeBox(tenant);
  const first = await ttyOf(box);
  const { terminalId = "" } = await first.hears("connectionEstablished");
  await first.shows(/\$ $/m);
  first.type("echo be''fore; read -r; for n in 1 2 3; do sleep 0.2; echo mis''sed $n; done\r");
  await first.shows(/^before$/m);
  first.type("\r");
  await until("it has the terminal", async () => (await terminals(box))[0]?.busy === true);
  const at = first.said.findLast((one) => one.type === "output")?.next ?? 0;
  await first[Symbol.asyncDispose]();
  assert.equal(((await (await box.inside("GET", "/terminals")).json()) as { items: Terminal[] }).items[0]?.viewers, 0);
  await until("it has gone on", async () => (await terminals(box))[0]?.busy === false);
  await using back = await ttyOf(box, `&id=${terminalId}&from=${at}`);
  assert.equal((await back.hears("connectionEstablished")).resumed, true);
  await back.shows(/missed 1\nmissed 2\nmissed 3/);
  assert.doesNotMatch(back.text(), /before\r\n/);
  await using other = await ttyOf(box, `&terminalId=${terminalId}`);
  await other.shows(/^before$/m);
  back.type("clear; echo sha''red\r");
  await Promise.all([back.shows(/^shared$/m), other.shows(/^shared$/m)]);
  assert.equal((await terminals(box))[0]?.viewers, 2);
});

test("what was missed is bounded, and what was dropped of it is counted", bounded, async () => {
  await using box = await makeBox(tenant);
  const first = await ttyOf(box);
  const { terminalId = "" } = await first.hears("connectionEstablished");
  await first.shows(/\$ $/m);
  // One job: between two the terminal is the shell's for a moment, and not busy.
  first.type("(sleep 0.5; head -c 9000000 /dev/zero | tr '\\0' x; echo; echo all o''f it)\r");
  await until("it has the terminal", async () => (await terminals(box))[0]?.busy === true);
  await first[Symbol.asyncDispose]();
  await until("it is done", async () => (await terminals(box))[0]?.busy === false, 60_000);
  await using back = await ttyOf(box, `&id=${terminalId}`);
  await back.shows(/all of it/, 30_000);
  const marker = back.said.find((one) => one.dropped !== undefined);
  assert.ok((marker?.dropped ?? 0) > 4_000_000, JSON.stringify(marker));
  assert.match(marker?.data ?? "", new RegExp(`${marker?.dropped} bytes dropped`));
  const shown = back.text().length;
  assert.ok(shown < 4.3 * 1024 * 1024, `${shown} characters were kept`);
});

test("vim, htop and tmux have the whole screen", bounded, async () => {
  await using box = await makeBox(tenant);
  await using tty = await ttyOf(box);
  await tty.shows(/\$ $/m);
  tty.type("vim -u NONE note.txt\r");
  await tty.shows(/note\.txt/);
  tty.type("ihello from vim\x1b");
  await tty.shows(/^hello from vim\n~/m);
  tty.type(":wq\r");
  await tty.shows(/\$ $/m);
  tty.type("clear; cat note.txt\r");
  await tty.shows(/^hello from vim$/m);
  tty.type("htop\r");
  await tty.shows(/PID.*USER.*CPU%.*MEM%/);
  await tty.shows(/F10/);
  tty.type("q");
  tty.type("clear; tmux\r");
  await tty.shows(/\[0\] 0:bash/);
  tty.type('\x02"');
  await tty.shows(/─{40}/);
  tty.type("echo in the sec''ond pane\r");
  await tty.shows(/^in the second pane$/m);
  tty.type("\x02d");
  await tty.shows(/\[detached \(from session 0\)\]/);
});

test("text is bytes both ways, and eight of them a size", bounded, async () => {
  await using box = await makeBox(tenant);
  const socket = new WebSocket(`${door.origin.replace("http", "ws")}/sandboxes/${box.id}/processes/tty?protocol=text`, {
    headers: bearer,
  });
  socket.binaryType = "arraybuffer";
  let text = "";
  socket.addEventListener("message", ({ data }) => (text += Buffer.from(data as ArrayBuffer).toString("latin1")));
  await until("there is a prompt", () => text.includes("$ "));
  const size = Buffer.alloc(8);
  size.writeUInt32BE(33, 0);
  size.writeUInt32BE(111, 4);
  socket.send(size);
  socket.send("stty size; printf '\\xff\\xfe\\n'\r");
  await until("the size has come", () => text.includes("33 111"));
  await until("bytes are as they are", () => text.includes("\xff\xfe\r\n"));
  socket.send(Buffer.from("exit\r"));
  await until("it is over", () => socket.readyState === WebSocket.CLOSED);
});

test("nonsense is answered or passed over, and the terminal goes on", bounded, async () => {
  await using box = await makeBox(tenant);
  await using tty = await ttyOf(box);
  await tty.shows(/\$ $/m);
  for (const rows of [0, -1, 1001, 1e9, 1.5, "24", null, true, [1]]) tty.say({ type: "resize", rows, cols: 80 });
  tty.say({ type: "input" });
  tty.say({ type: "input", data: 5 });
  tty.say({ type: "become-root" });
  for (const raw of ["", "not JSON", "[]", "null", "[".repeat(100_000)]) tty.socket.send(raw);
  tty.socket.send(Buffer.from([0, 1, 2]));
  tty.type("stty size\r");
  await tty.shows(/^24 80$/m);
  assert.ok(tty.said.filter((one) => one.type === "error").length >= 16);
  for (const query of ["rows=0", "cols=1001", "rows=x", "protocol=telnet", "id=tty-none", "cwd=/none"]) {
    const refused = await box.inside("GET", `/processes/tty?${query}`);
    assert.equal(refused.status, 400, query);
    await assert.rejects(openTty(`${door.origin}/sandboxes/${box.id}/processes/tty?${query}`, bearer));
  }
});

test("ending a terminal ends all that it started; a sandbox has only so many", bounded, async () => {
  await using box = await makeBox(tenant);
  await using tty = await ttyOf(box);
  const { terminalId = "" } = await tty.hears("connectionEstablished");
  await tty.shows(/\$ $/m);
  tty.type("trap '' HUP; (setsid sleep 4321 &) ; sleep 4321\r");
  await until("it runs", async () => (await terminals(box))[0]?.busy === true);
  assert.equal((await box.inside("DELETE", `/terminals/${terminalId}`)).status, 204);
  assert.equal((await box.inside("DELETE", `/terminals/${terminalId}`)).status, 204);
  assert.equal((await box.inside("DELETE", "/terminals/tty-none")).status, 404);
  assert.equal((await tty.hears("connectionClosing")).reason, "exited");
  assert.equal((await box.command("pgrep -c sleep")).result?.stdout, "0\n");
  const open = [];
  for (let count = 0; count < 32; count += 1) open.push(await ttyOf(box, "&command=cat"));
  await assert.rejects(ttyOf(box));
  for (const one of open) one.socket.close();
});

test("a connection is a span of its task, with its place inside, how much went by and how it was closed", bounded, async () => {
  await using box = await makeBox(tenant);
  {
    await using tty = await ttyOf(box);
    tty.type("echo place-$TRACEPARENT-\r");
    await tty.shows(/place-00-[0-9a-f]{32}-[0-9a-f]{16}-01-/);
    const trace = Trace.parse(await tenant.json("GET", `/api/tasks/${box.id}/trace`));
    const open = trace.spans.find(({ kind }) => kind === "terminal");
    assert.deepEqual([open?.name, open?.status, open?.durationMs], ["attachTerminal", "unknown", undefined], "it goes on");
    assert.ok(tty.screen().replaceAll("\n", "").includes(`-${open?.spanId}-01-`), "code inside knows its place");
    tty.type("exit 3\r");
    await tty.closed;
  }
  const [span] = await endedSpans(tenant, box.id, "terminal");
  assert.partialDeepStrictEqual(span, { name: "attachTerminal", source: "platform", status: "ok", statusMessage: "closed 1000" });
  assert.equal(span?.attributes["websocket.close_code"], 1000);
  assert.ok(Number(span?.attributes["websocket.bytes_in"]) > 20);
  assert.ok(Number(span?.attributes["websocket.bytes_out"]) > 100);
  const refusal = await fetch(`${door.origin}/sandboxes/${box.id}/processes/tty?id=none`, { headers: bearer });
  assert.ok(!refusal.ok);
});
