import assert from "node:assert/strict";
import { after, test } from "node:test";
import { execute } from "#support/executions.ts";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const run = (code: string, more: object = {}) => execute(box, code, more);

test("execute: the last expression is the result, prints are output, state is kept", async () => {
  const first = await run("x = 20\nprint('hello')\nx + 1");
  assert.equal(first.json.stdout, "hello\n");
  assert.equal(first.json.exitCode, 0);
  assert.equal(first.result?.text, "21");
  assert.equal(first.end.status, "ok");
  assert.equal((await run("x * 2")).result?.text, "40");
  assert.equal((await run("x;")).result, undefined);
});

test("output of programs that a cell starts comes too, and /dev/stderr can be opened", async () => {
  const { json } = await run("import os\nos.system('echo out; echo err > /dev/stderr')");
  assert.equal(json.stdout, "out\n");
  assert.equal(json.stderr, "err\n");
});

test("an error has its name, value and a traceback of user code alone; the state stays", async () => {
  const { error, end, json } = await run("def f():\n    raise ValueError('no')\nf()");
  assert.equal(error?.name, "ValueError");
  assert.equal(error?.value, "no");
  assert.match(error?.traceback ?? "", /line 2, in f\n {4}raise ValueError/);
  assert.doesNotMatch(error?.traceback ?? "", /kernel\.py/);
  assert.equal(end.status, "error");
  assert.equal(json.exitCode, 1);
  const syntax = await run("def (:");
  assert.equal(syntax.error?.name, "SyntaxError");
  assert.equal((await run("x")).result?.text, "20");
});

test("input() is refused clearly; sys.exit() ends the cell and not the interpreter", async () => {
  assert.match((await run("input('name?')")).error?.value ?? "", /input\(\) is not available/);
  const quit = await run("import sys\nsys.exit(3)");
  assert.equal(quit.error?.name, "SystemExit");
  assert.equal(quit.end.stateKept, true);
  assert.equal((await run("sys.exit()")).end.status, "ok");
  assert.equal((await run("x")).result?.text, "20");
});

test("top-level await works", async () => {
  assert.equal((await run("import asyncio\nawait asyncio.sleep(0.01, 'slept')")).result?.text, "'slept'");
});

test("rich results: what a value offers, display(), and its order among prints", async () => {
  const code = `
class Table:
    def _repr_html_(self): return "<b>t</b>"
    def _repr_json_(self): return {"a": 1}
    def __repr__(self): return "table"
display(Table(), {"text/markdown": "# hi"})
Table()`;
  const { items } = await run(code);
  const results = items.filter((item) => item.type === "result");
  assert.equal(results.length, 3);
  assert.deepEqual(results[0]?.data, { "text/plain": "table", "text/html": "<b>t</b>", "application/json": '{"a": 1}' });
  assert.deepEqual(results[1]?.data, { "text/markdown": "# hi" });
});

test("a figure comes as PNG and SVG, a data frame as HTML", async (t) => {
  const probe = await run("import importlib.util as u\nbool(u.find_spec('pandas') and u.find_spec('matplotlib'))");
  if (probe.result?.text !== "True") return t.skip("this host's Python has no pandas and matplotlib; the sandbox's has");
  const { items } = await run(
    "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\nimport pandas\npandas.DataFrame({'a': [1]})",
    { timeout: 60 },
  );
  const figure = items.find((item) => item.data?.["image/png"]);
  assert.ok(figure?.data?.["image/png"]?.startsWith("iVBOR"));
  assert.match(figure?.data?.["image/svg+xml"] ?? "", /<svg/);
  assert.ok(items.some((item) => item.data?.["text/html"]?.includes("<table")));
});

test("code that never ends is interrupted at its time-out, keeps its output so far and its state", async () => {
  const { json, end } = await run("print('begun')\nwhile True: pass", { timeout: 0.3 });
  assert.equal(json.stdout, "begun\n");
  assert.equal(end.status, "timeout");
  assert.equal(end.stateKept, true);
  assert.equal(json.exitCode, 124);
  assert.equal((await run("x")).result?.text, "20");
});

test("code that heeds no interrupt is killed with all that it started, and the answer says that the state is gone", async () => {
  const code = `
import subprocess, time
started = None
while True:
    try:
        started = started or subprocess.Popen(["setsid", "sleep", "4242"])
        time.sleep(60)
    except KeyboardInterrupt:
        pass`;
  const { end, error } = await run(code, { timeout: 0.2, contextId: "stubborn" });
  assert.equal(end.status, "timeout");
  assert.equal(end.stateKept, false);
  assert.match(error?.value ?? "", /variables are gone, files stay/);
  const { json } = await box.send("GET", "/processes");
  assert.equal(
    json.items.some((one: { command: string }) => one.command.includes("4242")),
    false,
  );
  assert.equal((await run("1", { contextId: "stubborn" })).result?.text, "1");
});

test("a dead interpreter is an execution error and is replaced", async () => {
  for (const code of [
    "import os; os._exit(3)",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "import os; os.write(3, b'\\xff' * 64)",
  ]) {
    const { end, error } = await run(code, { contextId: "fragile" });
    assert.notEqual(end.status, "ok", code);
    assert.equal(end.stateKept, false, code);
    assert.equal(error?.name, "InterpreterEnded");
    assert.equal((await run("2", { contextId: "fragile" })).result?.text, "2");
  }
  const { end } = await run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", { contextId: "fragile" });
  assert.equal(end.status, "killed");
});

test("a fork that falls out of its cell is no second interpreter", async () => {
  const { json } = await run("import os\nif os.fork() == 0: print('child')\nelse: os.wait(); print('parent')", { contextId: "forked" });
  assert.deepEqual(json.stdout.trim().split("\n").toSorted(), ["child", "parent"]);
  assert.equal((await run("3", { contextId: "forked" })).result?.text, "3");
});

test("createContext, listContexts, getContext, deleteContext: contexts are apart and have their folder", async () => {
  const { json: context } = await box.send("POST", "/contexts", { language: "python", cwd: "/tmp" });
  assert.equal(context.language, "python");
  assert.equal((await run("import os; os.getcwd()", { contextId: context.id })).result?.text, "'/tmp'");
  assert.equal((await run("x", { contextId: context.id })).error?.name, "NameError");
  assert.deepEqual((await box.send("GET", `/contexts/${context.id}`)).json, context);
  const { json: all } = await box.send("GET", "/contexts");
  assert.ok(all.some((one: { id: string }) => one.id === context.id));
  assert.equal((await box.send("DELETE", `/contexts/${context.id}`)).status, 204);
  assert.equal((await box.send("GET", `/contexts/${context.id}`)).json.code, "context_not_found");
  assert.equal((await box.send("POST", "/contexts", { cwd: "/missing" })).json.code, "file_not_found");
});

test("an unknown contextId makes a context of that id; another language than its own is refused", async () => {
  await run("preserved = 1", { contextId: "ctx-a" });
  assert.equal((await run("preserved", { contextId: "ctx-a" })).result?.text, "1");
  const { json } = await box.send("POST", "/contexts/execute", { code: "1", contextId: "ctx-a", language: "javascript" });
  assert.equal(json.code, "invalid_request");
});

test("a context deleted while it runs ends what runs, and stays deleted", async () => {
  const running = run("import time; time.sleep(60)", { contextId: "doomed" });
  for (let there = false; !there;) there = (await box.send("POST", "/contexts/doomed/interrupt")).status === 200;
  await box.send("DELETE", "/contexts/doomed");
  assert.notEqual((await running).end.status, "ok");
  assert.equal((await box.send("GET", "/contexts/doomed")).status, 404);
});

test("code that sends its output elsewhere still ends", async () => {
  const code = "import os, subprocess\nchild = subprocess.Popen(['sleep', '60'])\nos.dup2(os.open('/dev/null', os.O_WRONLY), 1)\n5";
  const { end, result } = await run(code, { contextId: "elsewhere", timeout: 20 });
  assert.deepEqual([end.status, result?.text], ["ok", "5"]);
  await box.send("DELETE", "/contexts/elsewhere");
});

test("restartContext: same id, fresh state", async () => {
  await run("y = 1", { contextId: "again" });
  assert.equal((await box.send("POST", "/contexts/again/restart")).json.id, "again");
  assert.equal((await run("y", { contextId: "again" })).error?.name, "NameError");
});

test("interruptContext: what runs is interrupted, the state stays; idle contexts have nothing to interrupt", async () => {
  await run("z = 5", { contextId: "busy" });
  assert.deepEqual((await box.send("POST", "/contexts/busy/interrupt")).json, { interrupted: false });
  const running = run("import time\nwhile True: time.sleep(0.01)", { contextId: "busy" });
  for (let done = false; !done;) done = (await box.send("POST", "/contexts/busy/interrupt")).json.interrupted;
  const { end } = await running;
  assert.equal(end.status, "interrupted");
  assert.equal((await run("z", { contextId: "busy" })).result?.text, "5");
});

test("executions of one context take turns in order; other contexts run meanwhile", async () => {
  await run("order = []", { contextId: "queue" });
  const slow = run(
    "import os, time\nopen('/tmp/there', 'w').close()\nwhile not os.path.exists('/tmp/go'): time.sleep(0.01)\norder.append(1)",
    {
      contextId: "queue",
    },
  );
  // Requests sent one after the other may arrive in any order, so the slow one is known to run before the next are sent.
  await run("import os, time\nwhile not os.path.exists('/tmp/there'): time.sleep(0.01)", { contextId: "other" });
  const next = [2, 3, 4].map((number) => run(`order.append(${number})`, { contextId: "queue" }));
  // The slow one waits for what another context does meanwhile.
  await run("open('/tmp/go', 'w').close()", { contextId: "other" });
  await Promise.all([slow, ...next]);
  // Three callers at once come in any order, but none before the one who was there.
  assert.match((await run("order", { contextId: "queue" })).result?.text ?? "", /^\[1, /);
  assert.equal((await run("sorted(order)", { contextId: "queue" })).result?.text, "[1, 2, 3, 4]");
});

test("variables of one execution hold for that one", async () => {
  assert.equal((await run("import os; os.environ.get('ONCE')", { environment: { ONCE: "1" } })).result?.text, "'1'");
  assert.equal((await run("os.environ.get('ONCE', 'gone')")).result?.text, "'gone'");
});

test("the 33rd context is refused with a quota", async () => {
  const crowded = await startWorkspace();
  await using _close = crowded;
  const made = await Promise.all(Array.from({ length: 32 }, () => crowded.send("POST", "/contexts", {})));
  assert.ok(made.every((answer) => answer.status === 200));
  assert.equal((await crowded.send("POST", "/contexts", {})).json.code, "quota_exceeded");
});
