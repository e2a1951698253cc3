import assert from "node:assert/strict";
import { after, test } from "node:test";
import { execute } from "#support/executions.ts";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const js = (code: string, more: object = {}) => execute(box, code, { language: "javascript", ...more });

test("declarations persist and may be repeated, console and errors are captured", async () => {
  await js("const a = 1; let b = { deep: [1, 2] }; function twice(n) { return 2 * n }");
  assert.equal((await js("const a = 2; twice(a)")).result?.text, "4");
  assert.equal((await js("b")).result?.text, "{ deep: [ 1, 2 ] }");
  const { json } = await js("console.log('out'); console.error('err')");
  assert.deepEqual([json.stdout, json.stderr], ["out\n", "err\n"]);
  const thrown = await js("function bad() { throw new TypeError('no') }\nbad()");
  assert.equal(thrown.error?.name, "TypeError");
  assert.match(thrown.error?.traceback ?? "", /at bad \(cell-\d+:1:24\)/);
  assert.doesNotMatch(thrown.error?.traceback ?? "", /kernel\.cjs/);
  assert.equal((await js("10n ** 20n")).result?.text, "100000000000000000000n");
});

test("require and imports of both kinds work from the context's folder", async () => {
  await box.send("PUT", "/files/content?path=lib.mjs", "export const answer = 42; export default 'whole';");
  const { result } = await execute(
    box,
    "import whole, { answer } from './lib.mjs';\nconst os = require('node:os');\n[whole, answer, typeof os.cpus, (await import('node:path')).sep]",
    { language: "javascript" },
  );
  assert.equal(result?.text, "[ 'whole', 42, 'function', '/' ]");
});

test("loops and endless waits are interrupted at the time-out, process.exit() ends the cell", async () => {
  await js("const kept = 1");
  for (const code of ["while (true);", "await new Promise(() => {})"]) {
    const { end } = await js(code, { timeout: 0.3 });
    assert.equal(end.status, "timeout");
    assert.equal(end.stateKept, true);
  }
  assert.equal((await js("process.exit(0)")).end.status, "ok");
  const { result, json } = await js("kept");
  assert.equal(result?.text, "1");
  assert.equal(json.stderr, "");
});

test("top-level await works, and a rejected one is an error", async () => {
  assert.equal((await js("await new Promise((done) => setTimeout(() => done(7), 5))")).result?.text, "7");
  assert.equal((await js("await Promise.reject(new RangeError('far'))")).error?.name, "RangeError");
});

test("display() shows values and media, and a value may offer HTML", async () => {
  const { items } = await js("display(1, { 'text/markdown': '# hi' }); ({ _repr_html_: () => '<b>x</b>' })");
  const results = items.filter((item) => item.type === "result");
  assert.deepEqual(results[1]?.data, { "text/markdown": "# hi" });
  assert.equal(results[2]?.data?.["text/html"], "<b>x</b>");
});
