import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MCP_REVISIONS } from "#contract/mcp.ts";
import { openDoor } from "#gateway/server.ts";
import { openGate, ROOT } from "#support/gate.ts";
import { FIXTURES } from "#support/mcp-fixtures.ts";

const SUITE = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
const BOUND_MS = 240_000;

/** Scenarios that a revision names and that are not passed, each with the reason. */
const EXPECTED: Record<string, Record<string, string>> = { "2025-11-25": {}, "2026-07-28": {} };

interface Check {
  id: string;
  status: string;
  errorMessage?: string;
}

/** The real door, with a key in its path as the suite sends none, and the suite's fixtures beside the gateway's own tools. */
async function openJudged() {
  const { gateway } = await openGate({ mcpExtension: FIXTURES });
  const door = await openDoor(gateway, { host: "127.0.0.1", port: 0 });
  return {
    url: `http://127.0.0.1:${door.port}/k/${ROOT.apiKey}/templates/code-interpreter/mcp`,
    [Symbol.asyncDispose]: () => door[Symbol.asyncDispose](),
  };
}

async function judge(url: string, revision: string): Promise<{ said: string; scenarios: Map<string, Check[]> }> {
  const results = await mkdtemp(join(tmpdir(), "cleanroom-conformance-"));
  try {
    const args = [SUITE, "server", "--url", url, "--requirements", revision, "--output-dir", results];
    const said = await new Promise<string>((resolve) =>
      execFile(process.execPath, args, { timeout: BOUND_MS, maxBuffer: 64 * 1024 * 1024 }, (_error, stdout, stderr) =>
        resolve(stdout + stderr),
      ),
    );
    const scenarios = new Map<string, Check[]>();
    for (const folder of await readdir(results)) {
      const name = folder.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, "");
      scenarios.set(name, JSON.parse(await readFile(join(results, folder, "checks.json"), "utf8")) as Check[]);
    }
    return { said, scenarios };
  } finally {
    await rm(results, { recursive: true, force: true });
  }
}

/** The scenarios that the suite's own frozen list names for a server of that revision. */
async function requiredBy(revision: string): Promise<string[]> {
  const text = await readFile(`node_modules/@modelcontextprotocol/conformance/requirements/${revision}.yaml`, "utf8");
  const [, list = ""] = /^server:\n((?: {2}- \S+\n|\s*#.*\n|\n)+)/m.exec(text) ?? [];
  return [...list.matchAll(/^ {2}- (\S+)$/gm)].map((match) => match[1] ?? "");
}

for (const revision of MCP_REVISIONS) {
  test(`every scenario that the official suite requires of a server passes in ${revision}`, { timeout: BOUND_MS + 30_000 }, async (t) => {
    await using judged = await openJudged();
    const required = await requiredBy(revision);
    assert.ok(required.length >= 30);
    const { said, scenarios } = await judge(judged.url, revision);
    const failing = (name: string) =>
      (scenarios.get(name) ?? [{ id: "did-not-run", status: "FAILURE" }]).filter(({ status }) => status === "FAILURE");
    const passed = required.filter((name) => failing(name).length === 0);
    t.diagnostic(`${revision}: ${passed.length} of ${required.length} required scenarios pass: ${passed.join(", ")}`);
    for (const [name, reason] of Object.entries(EXPECTED[revision] ?? {}))
      t.diagnostic(`${revision}: expected to fail: ${name}: ${reason}`);
    const others = [...scenarios.keys()].filter((name) => !required.includes(name));
    t.diagnostic(
      `${revision}: beyond what is required: ${others.map((name) => `${name} ${failing(name).length === 0 ? "passes" : "fails"}`).join(", ")}`,
    );
    const failed = required.filter((name) => !passed.includes(name));
    const why = failed.map(
      (name) =>
        `${name}: ${failing(name)
          .map(({ id, errorMessage }) => `${id} ${errorMessage ?? ""}`)
          .join("; ")}`,
    );
    assert.deepEqual(failed, Object.keys(EXPECTED[revision] ?? {}), `${why.join("\n")}\n${said.slice(-2000)}`);
  });
}
