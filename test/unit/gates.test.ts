import assert from "node:assert/strict";
import { test } from "node:test";
import { DOOR_OPERATIONS, OPERATIONS } from "#contract/operations.ts";
import { operationOf, unexercised } from "#support/coverage.ts";

const answered = (method: string, path: string, status: number) => JSON.stringify({ at: "now", event: "request", method, path, status });

test("an operation's id names it alone, and so do its method and path", () => {
  const ids = OPERATIONS.map(({ id }) => id);
  const routes = OPERATIONS.map(({ method, path }) => `${method} ${path.replaceAll(/:\w+/g, ":")}`);
  for (const names of [ids, routes])
    assert.deepEqual(
      names.filter((name, at) => names.indexOf(name) !== at),
      [],
    );
});

test("every operation of our own API refuses fields that it does not know", () => {
  const tolerant = DOOR_OPERATIONS.filter(({ body, query, id }) => {
    const refuses = [body, id === "downloadArtifact" ? undefined : query].every((schema) => {
      const issues = schema?.safeParse({ nobodyKnowsThis: "1" }).error?.issues ?? [];
      return schema === undefined || issues.some(({ code }) => code === "unrecognized_keys");
    });
    return !refuses;
  });
  assert.deepEqual(
    tolerant.map(({ id }) => id),
    [],
  );
});

test("every path parameter of our own API is in its path, and the other way round", () => {
  for (const { id, path, params } of DOOR_OPERATIONS) {
    const named = [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? "");
    const parsed = Object.keys((params as { shape?: object } | undefined)?.shape ?? {});
    assert.deepEqual(parsed.toSorted(), named.toSorted(), id);
  }
});

test("a request in the log is told to be of one operation, the one that names most of its path", () => {
  for (const op of OPERATIONS) {
    const path = op.path.replaceAll(/:\w+/g, "some-value");
    assert.equal(operationOf(op.method.toUpperCase(), path)?.id, op.id, `${op.method} ${path}`);
  }
  assert.equal(operationOf("GET", "/nothing"), undefined);
  assert.equal(operationOf("POST", "/sandboxes/")?.id, "agentrunDataCreateSandbox");
});

test("an operation counts as exercised only when it was answered as it promises", () => {
  const all = OPERATIONS.map(({ id }) => id);
  assert.deepEqual(unexercised(""), all);
  const log = [
    "not json",
    answered("GET", "/health", 200),
    answered("POST", "/api/sandboxes", 400),
    answered("DELETE", "/api/sandboxes/x", 501),
  ].join("\n");
  const missing = unexercised(log);
  assert.deepEqual(all.filter((id) => !missing.includes(id)).toSorted(), ["getHealth"]);
});
