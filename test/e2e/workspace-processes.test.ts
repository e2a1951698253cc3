import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const cmd = async (command: string, more: object = {}) => (await box.send("POST", "/processes/cmd", { command, ...more })).json;
const living = async () =>
  (await box.send("GET", "/processes")).json.items.filter((one: { exitCode?: number }) => one.exitCode === undefined) as {
    command: string;
    processId: string;
  }[];
const running = async (command: string) => (await living()).filter((one) => one.command === command);

interface Event {
  type: string;
  text: string;
  offset: number;
  status: string;
  exitCode: number;
  processId: string;
  dropped: { stdout: number };
}

const events = (text: string): Event[] => [...text.matchAll(/^data: (.*)$/gm)].map((match) => JSON.parse(match[1] ?? ""));
const output = async (id: string, query = "") => events((await box.send("GET", `/processes/${id}/output${query}`)).text);

test("runCommand: exit code, both streams, folder and variables", async () => {
  const answer = await cmd("pwd; echo $NAME; echo no >&2; exit 3", { cwd: "/tmp", environment: { NAME: "a b" } });
  assert.equal(answer.status, "completed");
  assert.deepEqual(
    [answer.result.exitCode, answer.result.stdout, answer.result.stderr, answer.result.cwd],
    [3, "/tmp\na b\n", "no\n", "/tmp"],
  );
});

test("standard input is given and ended; without one it is empty", async () => {
  assert.equal((await cmd("cat", { stdin: "Żółw\n" })).result.stdout, "Żółw\n");
  assert.equal((await cmd("cat")).result.stdout, "");
});

test("a time-out ends the whole tree, also what left its group, and keeps the output so far", async () => {
  const answer = await cmd("echo begun; setsid sleep 3131 & (trap '' TERM; sleep 3232)", { timeout: 0.3 });
  assert.equal(answer.status, "timeout");
  assert.equal(answer.result.exitCode, 124);
  assert.equal(answer.result.stdout, "begun\n");
  let left = 1;
  for (let look = 0; look < 300 && left > 0; look += 1) left = (await running("sleep 3131")).length + (await running("sleep 3232")).length;
  assert.equal(left, 0);
});

test("what a command leaves in the background neither delays the answer nor dies with it", async () => {
  const answer = await cmd("sleep 3333 & echo left");
  assert.equal(answer.result.stdout, "left\n");
  assert.ok(answer.executionTimeMs < 2000);
  const [left] = await running("sleep 3333");
  assert.equal((await box.send("DELETE", `/processes/${left?.processId}`)).json.stopped, true);
});

test("a command that a signal ended says which; killed from outside is `killed`", async () => {
  assert.equal((await cmd("kill -TERM $$")).result.exitCode, 143);
  const answer = await cmd("kill -KILL $$");
  assert.deepEqual([answer.status, answer.result.exitCode], ["killed", 137]);
});

test("a relative folder starts at home", async () => {
  await cmd("mkdir -p below");
  assert.equal((await cmd("pwd", { cwd: "below" })).result.stdout, "/home/user/below\n");
});

test("a missing folder, a file for a folder, NULs and endless commands are refused", async () => {
  assert.equal((await cmd("true", { cwd: "/missing" })).code, "file_not_found");
  assert.equal((await cmd("true", { cwd: "/etc/passwd" })).code, "not_a_directory");
  assert.equal((await cmd("echo \0")).code, "invalid_request");
  assert.equal((await cmd(`true ${"x".repeat(200_000)}`)).code, "invalid_request");
  assert.equal((await cmd("true", { environment: { "A=B": "1" } })).code, "invalid_request");
});

test("a flood is cut with a marker; one line of 100 MB too", async () => {
  const answer = await cmd("head -c 100000000 /dev/zero | tr '\\0' x", { timeout: 60 });
  assert.equal(answer.result.dropped.stdout, 100_000_000 - 4 * 1024 * 1024);
  assert.ok(answer.result.stdout.endsWith(`[... ${answer.result.dropped.stdout} bytes dropped ...]\n`));
});

test("streamed: start, output with its offsets, end", async () => {
  const { text } = await box.send("POST", "/processes/cmd", { command: "echo one; sleep 0.1; echo two" }, { accept: "text/event-stream" });
  const seen = events(text);
  assert.deepEqual(
    seen.map((event) => event.type),
    ["start", "stdout", "stdout", "end"],
  );
  assert.deepEqual(
    seen.slice(1, 3).map((event) => [event.text, event.offset]),
    [
      ["one\n", 0],
      ["two\n", 4],
    ],
  );
  assert.equal(seen[3]?.exitCode, 0);
});

test("a caller who hangs up ends a command that it waits for", async () => {
  const abort = new AbortController();
  const gone = box.open("POST", "/processes/cmd", JSON.stringify({ command: "sleep 3434" }), {}, abort.signal);
  for (let there = 0; there === 0;) there = (await running("sleep 3434")).length;
  abort.abort();
  await assert.rejects(gone);
  let left = 1;
  for (let look = 0; look < 300 && left > 0; look += 1) left = (await running("sleep 3434")).length;
  assert.equal(left, 0);
});

test("writeStdin, readOutput: a background process takes input and is read again from any offset", async () => {
  const { processId: id, status } = await cmd("while read line; do echo got $line; done; echo bye", { background: true, tag: "reader" });
  assert.equal(status, "running");
  assert.equal((await box.send("POST", `/processes/${id}/stdin`, "one\ntwo\n")).status, 204);
  assert.equal((await box.send("POST", `/processes/${id}/stdin?close=true`, "")).status, 204);
  const seen = await output(id);
  assert.equal(
    seen
      .filter((event) => event.type === "stdout")
      .map((event) => event.text)
      .join(""),
    "got one\ngot two\nbye\n",
  );
  assert.equal(seen.at(-1)?.type, "end");
  assert.equal(
    (await output(id, "?stdoutFrom=8"))
      .filter((event) => event.type === "stdout")
      .map((event) => event.text)
      .join(""),
    "got two\nbye\n",
  );
  assert.equal((await box.send("POST", `/processes/${id}/stdin`, "late")).json.code, "conflict");
  assert.equal((await box.send("GET", `/processes/${id}`)).json.tag, "reader");
});

test("a background process counts as activity until it ends", async () => {
  const { processId } = await cmd("sleep 3535", { background: true });
  assert.equal((await box.send("GET", "/activity")).json.busy, true);
  await box.send("DELETE", `/processes/${processId}`);
  assert.equal((await box.send("GET", "/activity")).json.busy, false);
});

test("the backlog keeps the newest output and says how much is gone", async () => {
  const { processId } = await cmd("head -c 6000000 /dev/zero | tr '\\0' a; echo end", { background: true });
  for (let done = false; !done;) done = (await box.send("GET", `/processes/${processId}`)).json.status === "completed";
  const seen = await output(processId);
  const [marker, ...rest] = seen.filter((event) => event.type === "stdout");
  assert.equal(marker?.text, `\n[... ${6_000_004 - 4 * 1024 * 1024} bytes dropped ...]\n`);
  assert.ok(rest.at(-1)?.text.endsWith("end\n"));
});

test("listProcesses, getProcess: every process of the user's is there, with its folder, variables and use", async () => {
  const { processId } = await cmd("sleep 3636; true", { background: true, cwd: "/tmp", environment: { SHOWN: "yes" }, tag: "shown" });
  for (let there = 0; there === 0;) there = (await running("sleep 3636")).length;
  const { json } = await box.send("GET", "/processes");
  assert.equal(json.total, json.items.length);
  assert.ok(
    json.items.every((one: { processId: string }) => one.processId !== "1"),
    "what the sandbox hangs from is not",
  );
  assert.equal(json.items.find((one: { processId: string }) => one.processId === processId).status, "running");
  const { json: detail } = await box.send("GET", `/processes/${processId}`);
  assert.equal(detail.working_dir, "/tmp");
  assert.equal(detail.environment.SHOWN, "yes");
  assert.equal(detail.environment.CLEANROOM_TREE, undefined);
  assert.ok(detail.resourceUsage.memoryMb > 0);
  assert.equal((await box.send("GET", "/processes/1")).status, 200);
  await box.send("DELETE", `/processes/${processId}`);
});

test("signalProcess: a signal reaches the command and what it waits for", async () => {
  const { processId } = await cmd("trap 'echo caught' USR1; echo set; while true; do sleep 0.02; done", { background: true });
  for (let set = false; !set;) set = (await output(processId, "?follow=false")).some((event) => event.text === "set\n");
  for (let heard = false; !heard;) {
    assert.equal((await box.send("POST", `/processes/${processId}/signal`, { signal: "SIGUSR1" })).status, 204);
    const seen = await output(processId, "?follow=false");
    heard = seen.some((event) => event.text?.includes("caught"));
  }
  assert.equal((await box.send("POST", `/processes/${processId}/signal`, { signal: "SIGNOPE" })).json.code, "invalid_request");
  await box.send("DELETE", `/processes/${processId}`);
});

test("killProcess: the tree is ended, ending twice is one ending, and the workspace's own are refused", async () => {
  const { processId } = await cmd("sleep 3737 & sleep 3838", { background: true });
  for (let there = 0; there < 2;) there = (await running("sleep 3737")).length + (await running("sleep 3838")).length;
  assert.equal((await box.send("DELETE", `/processes/${processId}`)).json.stopped, true);
  assert.equal((await running("sleep 3737")).length + (await running("sleep 3838")).length, 0);
  assert.equal((await box.send("DELETE", `/processes/${processId}`)).json.stopped, true);
  const own = (await cmd(`ps -eo pid=,comm= | awk '$2 == "workspace" || $2 == "launcher" { print $1 }'`)).result.stdout.trim().split("\n");
  assert.equal(own.length, 2);
  for (const id of ["1", ...own]) {
    assert.equal((await box.send("DELETE", `/processes/${id}`)).json.code, "forbidden");
    assert.equal((await box.send("POST", `/processes/${id}/signal`, { signal: "SIGKILL" })).json.code, "forbidden");
  }
  for (const id of ["999999", "x", "-1", "0"]) assert.equal((await box.send("DELETE", `/processes/${id}`)).json.code, "process_not_found");
});

test("code that ends or stops the launcher takes no command with it, and the next one finds another", async () => {
  const { processId } = await cmd("sleep 0.3; echo lived; exit 9", { background: true });
  const ended = await cmd("pkill -KILL -x launcher; echo on; exit 7");
  assert.deepEqual([ended.status, ended.result.exitCode, ended.result.stdout], ["completed", 7, "on\n"]);
  const seen = await output(processId);
  assert.deepEqual([seen[0]?.text, seen.at(-1)?.exitCode], ["lived\n", 9]);
  const stopped = await cmd("pkill -STOP -x launcher; echo said", { timeout: 0.2 });
  assert.deepEqual([stopped.status, stopped.result.stdout], ["timeout", "said\n"]);
  assert.equal((await cmd("echo again")).result.stdout, "again\n");
});
