/**
 * Runs the test suites and ends with one line: `N passed, N failed, N skipped`.
 * `node test/run.mjs [unit|contract|fuzz|e2e|attack|alone …]` runs some of them; without a name, all.
 */
import { spawn } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

const SUITES = {
  unit: { files: "test/unit/**/*.test.ts", concurrency: 2, timeoutMs: 120_000 },
  contract: { files: "test/contract/**/*.test.ts", concurrency: 1, timeoutMs: 300_000 },
  fuzz: { files: "test/fuzz/**/*.fuzz.ts", concurrency: 2, timeoutMs: 300_000, door: true },
  e2e: { files: "test/e2e/**/*.test.ts", concurrency: 2, timeoutMs: 600_000, door: true },
  attack: { files: "test/attack/*.test.ts", concurrency: 2, timeoutMs: 600_000, door: true },
  // What is about time has the machine to itself.
  alone: { files: "test/attack/alone/*.test.ts", concurrency: 1, timeoutMs: 900_000, door: true },
};

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(`There is no suite ${unknown.join(", ")}; there are ${Object.keys(SUITES).join(", ")}.`);
  process.exit(2);
}

const totals = { passed: 0, failed: 0, skipped: 0 };
/** How the attack of each case of the threat model ended. */
const proofs = new Map();
const names = asked.length > 0 ? asked : Object.keys(SUITES);
const doorNeeded = names.some((name) => SUITES[name].door && globSync(SUITES[name].files).length > 0);
const door = doorNeeded ? await startDoor() : undefined;
try {
  for (const name of names) {
    await runSuite(name, SUITES[name]);
    if (name === "e2e" && door) await judgeCoverage(door);
  }
} finally {
  await door?.close();
}
if (proofs.size > 0) {
  const { claimTable } = await import("./support/claims.ts");
  console.log(`\n${claimTable(proofs)}\n`);
}
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);

/** Runs one suite's files as processes of their own and adds up its tests; a suite's own entry is no test. */
async function runSuite(name, { files, concurrency, timeoutMs }) {
  const found = globSync(files).toSorted();
  if (found.length === 0) return;
  const startedAtMs = performance.now();
  console.log(`\n── ${name} ── ${found.length} files`);
  const stream = run({ files: found, concurrency, timeout: timeoutMs });
  stream.on("test:pass", (test) => count(test, "passed"));
  stream.on("test:fail", (test) => count(test, "failed"));
  const printed = stream.compose(spec);
  printed.pipe(process.stdout, { end: false });
  await new Promise((resolve) => printed.once("end", resolve));
  console.log(`── ${name} took ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`);
}

/** One test more, which only the whole suite can answer: each operation was answered, as the log of the server tells. */
async function judgeCoverage({ dataDir }) {
  const { unexercised } = await import("./support/coverage.ts");
  // The log is bounded: what was before lies beside it.
  const logs = globSync(join(dataDir, "log/cleanroom.log{.1,}")).map((file) => readFileSync(file, "utf8"));
  const missing = unexercised(logs.join("\n"));
  totals[missing.length === 0 ? "passed" : "failed"] += 1;
  if (missing.length === 0) console.log("✔ every operation is exercised end to end");
  else console.log(`✖ every operation is exercised end to end; these are not: ${missing.join(", ")}`);
}

/** Adds a test up; one that proves a case of the threat model, named first in its title, is noted under it. */
function count(test, outcome) {
  const isFile = test.nesting === 0 && /\.(test|fuzz)\.ts$/.test(test.name);
  if (test.details?.type === "suite" || (isFile && outcome === "passed")) return;
  const isSkipped = test.skip !== undefined || test.todo !== undefined;
  totals[isSkipped ? "skipped" : outcome] += 1;
  const [, id, title] = /^([A-Z]\d{1,2}[a-z]?): (.*)$/s.exec(test.name) ?? [];
  if (id) proofs.set(id, isSkipped ? { title, outcome: "skipped", why: String(test.skip) } : { title, outcome });
}

/** One server for all black-box suites; each file works in a project of its own. Tests that kill things start their own. */
async function startDoor() {
  const child = spawn(process.execPath, ["test/support/shared-door.ts"], { stdio: ["pipe", "pipe", "inherit"] });
  const line = await new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
    });
    child.once("exit", (code) => reject(new Error(`The test server ended with ${code} before it was ready`)));
  });
  process.env.CLEANROOM_TEST_DOOR = line;
  return {
    dataDir: JSON.parse(line).dataDir,
    async close() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin.end();
      await ended;
      if (child.exitCode !== 0) totals.failed += 1;
    },
  };
}
