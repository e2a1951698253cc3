import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, test } from "node:test";
import { LIMITS } from "#contract/limits.ts";
import { readInput, type Incoming, type Operation } from "#contract/operation.ts";
import { WORKSPACE_OPERATIONS } from "#contract/operations.ts";
import { Problem } from "#contract/problem.ts";
import { contractForWorkspace } from "#infra/contract.ts";
import { gatherWorkspace } from "#infra/gather.ts";
import { tempDir } from "#support/temp.ts";

const dir = await tempDir();
after(() => dir[Symbol.asyncDispose]());
await gatherWorkspace(dir.path);

/** Runs Python beside the workspace's modules, with JSON in and JSON out. */
function python(program: string, input: unknown): unknown {
  const code = `import json, sys\nsys.path.insert(0, ${JSON.stringify(dir.path)})\ninput = json.load(sys.stdin)\n${program}`;
  const { status, stdout, stderr } = spawnSync("python3", ["-I", "-B", "-X", "utf8", "-c", code], {
    input: JSON.stringify(input),
    maxBuffer: 1 << 26,
  });
  assert.equal(status, 0, stderr.toString());
  return JSON.parse(stdout.toString());
}

const PREPARE = `
import schema
refused = []
for name, operation in input.items():
    for part in ("query", "body"):
        try: schema.prepare(operation.get(part, {}))
        except ValueError: refused.append(name)
print(json.dumps(refused))`;

test("the validator knows every keyword that occurs in the contract, and refuses to load one that it does not know", () => {
  const operations = contractForWorkspace()["operations"] as Record<string, object>;
  assert.deepEqual(python(PREPARE, operations), []);
  const strange = { ...operations, strange: { body: { type: "object", properties: { deep: { multipleOf: 2 } } } } };
  assert.deepEqual(python(PREPARE, strange), ["strange"]);
});

const READ = `
import contract, intake
from problem import Problem
class Call:
    def __init__(self, body):
        self.query, self.body, self.headers, self.left = {}, None, {}, body.encode()
    def read(self, size=0):
        piece, self.left = self.left, b""
        return piece
answers = []
for name, query, body in input:
    call = Call(body)
    try:
        intake.read_input(contract.OPERATIONS[name], call, query)
        answers.append({"query": call.query, "body": call.body})
    except Problem as problem:
        answers.append({"code": problem.code, "issues": problem.facts.get("issues")})
print(json.dumps(answers))`;

interface Answer {
  code?: string;
  query?: object;
  body?: object;
  issues?: { field: string; problem: string }[];
}

/** What is said first about each field: zod goes on to measure what it has found to be of another kind. */
function firstOfEach({ issues, ...rest }: Answer): object {
  return { ...rest, issues: issues?.filter((issue, at) => issues.findIndex(({ field }) => field === issue.field) === at) };
}

type Case = [operation: string, query: string, body: string];

const VALID: Readonly<Record<string, object>> = {
  setEnvironment: { variables: { A: "b" } },
  execute: { code: "1", contextId: "a", language: "python", timeout: 1, environment: { A: "b" } },
  createContext: { language: "javascript", cwd: "/tmp" },
  runCommand: { command: "true", cwd: "/tmp", timeout: 1, environment: {}, stdin: "", background: false, tag: "t" },
  signalProcess: { signal: "SIGINT" },
  writeFile: { path: "a", content: "b", mode: "644", encoding: "base64", createDir: false },
  makeDirectory: { path: "a", parents: false, mode: "0755" },
  movePath: { source: "a", destination: "b" },
  removePath: { path: "a" },
};
const QUERIES: Readonly<Record<string, object>> = {
  readOutput: { stdoutFrom: "1", stderrFrom: "2", follow: "no" },
  writeStdin: { close: "true" },
  listDirectory: { path: "a", depth: "2" },
  writeBytes: { path: "a", mode: "755" },
  readFile: { path: "a" },
};
const MANY = Object.fromEntries(Array.from({ length: LIMITS.environmentEntries + 1 }, (_, index) => [`A${index}`, "x"]));
const VALUES = [
  MANY,
  null,
  true,
  0,
  -1,
  1,
  1.5,
  21601,
  "",
  "x",
  "a\0",
  "x".repeat(5000),
  "0644",
  "9",
  [],
  ["x"],
  {},
  { "a b": "c" },
  { a: 1 },
];
const TEXTS = ["", "x", "0", "-1", "1.0", "%207%20", "1e1", "21", "yes", "OFF", "644", "4755", "%zz", "%ff", "a+b", "x".repeat(5000)];
const QUERY_EDGES = ["path=a&path=b", "path", "=", "&&path=a", "path=%00"];

function* cases(): Generator<Case> {
  for (const [name, valid] of Object.entries(VALID)) {
    yield* ["", " ", "{}", "[]", "null", '"x"', "{", '{"a":NaN}', "[1,]"].map((body): Case => [name, "", body]);
    yield [name, "", JSON.stringify({ ...valid, unknown: 1, other: 2 })];
    if ("variables" in valid) yield* VALUES.map((variable): Case => [name, "", JSON.stringify({ variables: { A: variable, "1": "" } })]);
    for (const field of Object.keys(valid)) {
      yield [name, "", JSON.stringify({ ...valid, [field]: undefined })];
      for (const value of VALUES) yield [name, "", JSON.stringify({ ...valid, [field]: value })];
    }
  }
  for (const [name, valid] of Object.entries(QUERIES)) {
    yield* QUERY_EDGES.map((query): Case => [name, query, ""]);
    for (const field of Object.keys(valid)) {
      const others = Object.entries(valid).flatMap(([key, value]) => (key === field ? [] : [`${key}=${value}`]));
      for (const text of TEXTS) yield [name, [...others, `${field}=${text}`].join("&"), ""];
    }
  }
}

async function readByZod([name, query, body]: Case): Promise<unknown> {
  const found = WORKSPACE_OPERATIONS.find(({ id }) => id === name);
  assert.ok(found);
  const { params: _params, ...op }: Operation = found;
  const request: Incoming = { url: `http://x/?${query}`, headers: { get: () => null }, body: once(Buffer.from(body)) };
  try {
    const input = await readInput(op, request, {});
    return { query: input.query, body: input.body ?? null };
  } catch (error) {
    assert.ok(error instanceof Problem);
    return { code: error.code, issues: error.facts["issues"] ?? null };
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

test("the workspace takes and refuses input as the contract that the door and the document are made from does, in the same words", async () => {
  const all = [...cases()];
  const answers = python(READ, all) as Answer[];
  let refused = 0;
  for (const [index, one] of all.entries()) {
    const [answer, expected] = [answers[index], JSON.parse(JSON.stringify(await readByZod(one))) as Answer];
    if (expected.code !== undefined) refused += 1;
    assert.deepEqual(answer && firstOfEach(answer), firstOfEach(expected), JSON.stringify(one).slice(0, 200));
  }
  assert.ok(refused > 100 && all.length - refused > 100);
});
