import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const python = async (code: string) => (await box.send("POST", "/contexts/execute", { code })).json;

test("checkHealth: health answers without a proof", async () => {
  const answer = await box.send("GET", "/health", undefined, { "cleanroom-proof": "", "cleanroom-session-id": "" });
  assert.equal(answer.status, 200);
  assert.equal(answer.json.status, "ok");
});

test("nothing else answers without the gateway's proof, nor to another session's", async () => {
  await box.send("GET", "/contexts");
  const refused: Record<string, string>[] = [
    { "cleanroom-proof": "" },
    { "cleanroom-proof": "1.x" },
    { "cleanroom-session-id": "another" },
    box.headers("another"),
  ];
  for (const headers of refused) {
    const answer = await box.send("GET", "/contexts", undefined, headers);
    assert.equal(answer.status, 401);
    assert.equal(answer.json.code, "unauthenticated");
    assert.equal(answer.json.error.code, "unauthenticated");
  }
});

test("unknown routes, wrong methods, broken JSON and huge bodies are named", async () => {
  const answers = [
    [await box.send("GET", "/nowhere"), 404, "route_not_found"],
    [await box.send("PATCH", "/contexts"), 405, "method_not_allowed"],
    [await box.send("POST", "/contexts", "{"), 400, "invalid_json"],
    [await box.send("POST", "/contexts", { language: "cobol" }), 400, "invalid_request"],
    [await box.send("POST", "/contexts", Buffer.alloc(1024 * 1024 + 1, " ")), 413, "body_too_large"],
    [await box.send("GET", "/contexts/%ff"), 400, "invalid_request"],
  ] as const;
  for (const [answer, status, code] of answers) {
    assert.equal(answer.status, status, answer.text);
    assert.equal(answer.json.code, code);
    assert.equal(answer.json.requestId, answer.headers["x-request-id"]);
    assert.equal(answer.json.message, answer.json.detail);
  }
});

test("setEnvironment: variables hold for what starts afterwards, and unknown fields are refused by name", async () => {
  assert.equal((await box.send("PUT", "/environment", { variables: { GREETING: "hello world" } })).status, 204);
  const command = await box.send("POST", "/processes/cmd", { command: "echo $GREETING" });
  assert.equal(command.json.result.stdout, "hello world\n");
  await box.send("POST", "/contexts/execute", { code: "1", contextId: "with-environment" });
  const code = "import os; print(os.environ['GREETING'])";
  assert.equal((await box.send("POST", "/contexts/execute", { code, contextId: "with-environment" })).json.stdout, "hello world\n");
  const refused = await box.send("PUT", "/environment", { variables: {}, extra: 1 });
  assert.equal(refused.status, 400);
  assert.match(refused.text, /extra/);
});

test("readActivity: asking is no activity, running code is", async () => {
  assert.equal((await box.send("GET", "/activity")).json.busy, false);
  const running = box.send("POST", "/contexts/execute", { code: "import time; time.sleep(0.3)" });
  let busy = false;
  for (let look = 0; look < 100 && !busy; look += 1) busy = (await box.send("GET", "/activity")).json.busy;
  assert.equal(busy, true);
  await running;
  assert.equal((await box.send("GET", "/activity")).json.busy, false);
});

test("user code meets no variable, descriptor, memory or signal of the workspace", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("without root the workspace and user code share the one uid there is");
  const { json } = await box.send("POST", "/processes/cmd", { command: "grep -l '^Uid:.0' /proc/[0-9]*/status" });
  const workspaces = json.result.stdout.matchAll(/\d+/g).toArray();
  assert.ok(workspaces.length > 0);
  for (const [processId] of workspaces) await assertSealed(processId);
});

async function assertSealed(processId: string): Promise<void> {
  const code = `
import os, json
pid = ${processId}
found = {}
def attempt(name, work):
    try:
        found[name] = str(work())[:80]
    except OSError as error:
        found[name] = error.errno
attempt("environ", lambda: open(f"/proc/{pid}/environ").read())
attempt("mem", lambda: open(f"/proc/{pid}/mem", "rb").read(1))
attempt("maps", lambda: open(f"/proc/{pid}/maps").read())
attempt("fds", lambda: os.listdir(f"/proc/{pid}/fd"))
attempt("signal", lambda: os.kill(pid, 0))
attempt("root", lambda: os.setresuid(0, 0, 0))
own = {line.split(":")[0]: line.split(":")[1].strip() for line in open("/proc/self/status")}
print(json.dumps({"found": found, "uid": own["Uid"], "caps": [own["CapPrm"], own["CapEff"], own["CapInh"], own["CapAmb"]], "nnp": own["NoNewPrivs"], "oom": open("/proc/self/oom_score_adj").read(), "keys": [name for name in os.environ if name.startswith(("CLEANROOM_P", "FC_"))]}))
`;
  const { stdout } = await python(code);
  const seen = JSON.parse(stdout);
  assert.deepEqual(seen.found, { environ: 13, mem: 13, maps: 13, fds: 13, signal: 1, root: 1 });
  assert.equal(seen.uid, "1000\t1000\t1000\t1000");
  assert.deepEqual(new Set(seen.caps), new Set(["0000000000000000"]));
  assert.equal(seen.nnp, "1");
  assert.equal(seen.oom.trim(), "1000");
  assert.deepEqual(seen.keys, []);
}

test("a variable that loads code is not loaded by what drops the rights", async () => {
  const answer = await box.send("POST", "/processes/cmd", {
    command: "echo $LD_PRELOAD; id -u",
    environment: { LD_PRELOAD: "/nowhere/evil.so" },
  });
  // Only programs started after the drop complain; the launcher would have been one more.
  const complaints = answer.json.result.stderr.split("\n").filter((line: string) => line.includes("evil.so"));
  assert.equal(answer.json.result.stdout.split("\n")[0], "/nowhere/evil.so");
  assert.equal(complaints.length, 2);
});

test("a command inherits its three descriptors and no other", async () => {
  const { json } = await box.send("POST", "/processes/cmd", { command: "/bin/ls /proc/self/fd | tr '\\n' ' '" });
  // The fourth is ls's own, on the folder that it lists.
  assert.equal(json.result.stdout.trim(), "0 1 2 3");
});
