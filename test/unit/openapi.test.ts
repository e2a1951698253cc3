import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openApiDocument } from "#contract/openapi.ts";
import { OPERATIONS } from "#contract/operations.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";

interface Described {
  operationId: string;
  responses: Record<string, { description: string; content?: Record<string, unknown> }>;
  parameters?: { name: string; in: string }[];
  requestBody?: { content: Record<string, unknown> };
}

const document = JSON.parse(JSON.stringify(openApiDocument())) as { paths: Record<string, Record<string, Described>> };
const described = Object.values(document.paths).flatMap((path) => Object.values(path));

test("docs/openapi.json is what the operations say now; `npm run openapi` writes it", () => {
  assert.deepEqual(JSON.parse(readFileSync("docs/openapi.json", "utf8")), document);
});

test("every operation is described once, with its success and each of its problems", () => {
  assert.deepEqual(described.map(({ operationId }) => operationId).toSorted(), OPERATIONS.map(({ id }) => id).toSorted());
  for (const op of OPERATIONS) {
    const { responses } = described.find(({ operationId }) => operationId === op.id) as Described;
    assert.ok(responses[String(op.status)], `${op.id} has no answer ${op.status}`);
    for (const code of op.errors) {
      const { description = "" } = responses[String(PROBLEMS[code].status)] ?? {};
      assert.ok(description.includes(`\`${code}\``), `${op.id} does not tell of ${code}`);
    }
  }
});

test("every body that is read and every parameter of a path is described", () => {
  for (const op of OPERATIONS) {
    const { requestBody, parameters = [] } = described.find(({ operationId }) => operationId === op.id) as Described;
    assert.equal(requestBody !== undefined, op.body !== undefined || op.streams?.request !== undefined, op.id);
    const inPath = parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name);
    assert.deepEqual(
      inPath,
      [...op.path.matchAll(/:(\w+)/g)].map((match) => match[1]),
      op.id,
    );
  }
});

test("nothing that it refers to is missing", () => {
  const text = JSON.stringify(document);
  const schemas = (document as unknown as { components: { schemas: Record<string, unknown> } }).components.schemas;
  for (const [, name = ""] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) assert.ok(name in schemas, name);
  assert.doesNotMatch(text, /"#\/\$defs/);
});
