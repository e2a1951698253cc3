import assert from "node:assert/strict";
import * as fc from "fast-check";
import * as z from "zod";
import { type Operation, readInput } from "#contract/operation.ts";
import { WORKSPACE_OPERATIONS } from "#contract/operations.ts";
import { Problem } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { segments, texts } from "./hostile.ts";
import { hold, property } from "./property.ts";
import { base64, cannotParse, openParsers } from "./workspace.ts";

interface Input {
  query: unknown;
  body: unknown;
}

/** What the door's own reader makes of the same request. */
async function expected(op: Operation, query: string, body: Buffer): Promise<Input | string> {
  const headers = new Headers();
  // What stands in the path is another parser's.
  const { params: _params, ...rest } = op;
  try {
    const input: { query: unknown; body: unknown } = await readInput(
      rest,
      { url: `http://workspace/?${query}`, headers, body: streamOf(body) },
      {},
    );
    return { query: input.query, body: input.body };
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
}

async function* streamOf(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The contract's schemas as JSON Schema, from which values are made that are right or nearly so. */
type Schema = Readonly<{ [key: string]: unknown }>;
const jsonOf = (schema: z.ZodType | undefined): Schema | undefined =>
  schema && z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });

function valuesOf(schema: Schema): fc.Arbitrary<unknown> {
  const wrong = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    texts(8),
    fc.constantFrom<unknown>(1, 0, -1, 1.5, 1e21, 2 ** 53, -0, true, null, "", "1", [], {}, [null]),
  );
  return fc.oneof({ weight: 5, arbitrary: rightOf(schema) }, { weight: 1, arbitrary: wrong });
}

function rightOf(schema: Schema): fc.Arbitrary<unknown> {
  const { type, enum: options, anyOf, const: only } = schema as { type?: string; enum?: unknown[]; anyOf?: Schema[]; const?: unknown };
  if (options) return fc.constantFrom(...options);
  if (only !== undefined) return fc.constant(only);
  if (anyOf) return fc.oneof(...anyOf.map(rightOf));
  if (type === "object") return objectsOf(schema);
  if (type === "array") return fc.array(valuesOf((schema["items"] as Schema | undefined) ?? {}), { maxLength: 3 });
  if (type === "boolean") return fc.boolean();
  if (type === "integer" || type === "number") return numbersOf(schema);
  return textsOf(schema);
}

function textsOf(schema: Schema): fc.Arbitrary<string> {
  const max = schema["maxLength"] as number | undefined;
  // Lengths are counted at their bound, in characters that are one unit and in some that are two.
  const long =
    max === undefined || max > 5000
      ? []
      : [
          fc
            .tuple(fc.constantFrom("a", "é", "𝒳"), fc.constantFrom(max - 1, max, max + 1, Math.ceil(max / 2)))
            .map(([one, times]) => one.repeat(times)),
        ];
  return fc.oneof(texts(16), fc.constantFrom("644", "0755", "python", "a", "/home/user", "SIGINT", "1", "644\n", "name\n"), ...long);
}

function numbersOf(schema: Schema): fc.Arbitrary<number> {
  const edges = ["minimum", "maximum", "exclusiveMinimum"].flatMap((name) => (typeof schema[name] === "number" ? [schema[name]] : []));
  const near = edges.flatMap((edge) => [edge, edge - 1, edge + 1, edge + 0.5]);
  return fc.oneof(
    fc.integer({ min: -2, max: 100 }),
    fc.double({ noNaN: true }),
    fc.constantFrom(1, 1.5, 0, -0, 2 ** 53, 2 ** 53 + 2, 1e21, ...near),
  );
}

function objectsOf(schema: Schema): fc.Arbitrary<unknown> {
  const known = Object.entries((schema["properties"] ?? {}) as Record<string, Schema>);
  const rest = schema["additionalProperties"];
  const fields = known.map(([name, one]) => fc.option(fc.tuple(fc.constant(name), valuesOf(one)), { freq: 4, nil: undefined }));
  const extra = typeof rest === "object" && rest !== null ? valuesOf(rest as Schema) : fc.constantFrom<unknown>(1, "x");
  const names = fc.oneof(fc.constantFrom("NAME", "_a1", "x", "constructor", "1", "A\n", "toString"), texts(6));
  const more = fc.array(fc.tuple(names, extra), { maxLength: typeof rest === "object" ? 3 : 1 });
  return fc.tuple(fc.tuple(...fields), more).map(([one, other]) => {
    const object = Object.create(null) as Record<string, unknown>;
    for (const pair of [...one, ...other])
      if (pair) Object.defineProperty(object, pair[0], { value: pair[1], enumerable: true, configurable: true });
    return object;
  });
}

/** JSON as it comes over the wire, with what JSON may also say and what is none. */
function bodiesOf(schema: Schema | undefined): fc.Arbitrary<Buffer> {
  const right = schema === undefined ? fc.jsonValue() : valuesOf(schema);
  const written = right.map((value) => JSON.stringify(value) ?? "");
  const odd = fc.constantFrom(
    "",
    " ",
    "\n",
    "\uFEFF{}",
    "{}x",
    "NaN",
    "[1,]",
    '{"a":1,"a":2}',
    "1e999",
    "-1e999",
    '{"timeout":1e999}',
    '{"timeout":Infinity}',
    "\u00a0",
    "\u2028",
    '"\\ud800"',
    '{"path":"\\ud800"}',
    "01",
    "1.",
    "\x1f{}",
    "'a'",
    "nul",
    '{"path":"a\tb"}',
  );
  const deep = fc.constantFrom(10, 900, 1100, 5000).map((depth) => `${"[".repeat(depth)}${"]".repeat(depth)}`);
  return fc.oneof(
    { weight: 12, arbitrary: written.map((text) => Buffer.from(text)) },
    { weight: 2, arbitrary: odd.map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: deep.map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(written, fc.uint8Array({ maxLength: 3 }), fc.nat())
        .map(([text, bytes, at]) =>
          Buffer.concat([Buffer.from(text.slice(0, at % (text.length + 1))), bytes, Buffer.from(text.slice(at % (text.length + 1)))]),
        ),
    },
  );
}

/** Queries as they stand in a request's target, which has no blanks and no control characters. */
function queriesOf(schema: Schema | undefined): fc.Arbitrary<string> {
  const names = Object.keys(schema?.["properties"] ?? {});
  const name = fc.oneof(
    { weight: 6, arbitrary: names.length > 0 ? fc.constantFrom(...names) : fc.constant("x") },
    { weight: 1, arbitrary: texts(6) },
  );
  const value = fc.oneof(
    fc.constantFrom(
      "1",
      "0",
      "",
      "2.0",
      "1e1",
      "0x10",
      " 5 ",
      "-1",
      "true",
      "no",
      "TRUE",
      "Infinity",
      "NaN",
      "1_000",
      "20",
      "21",
      "644",
      "/home",
      "٣",
      "+1",
      ".5",
      "0b1",
      "\u00a01",
      "9007199254740993",
      "1n",
      "1.0000000000000001",
    ),
    texts(8),
  );
  const encoded = fc.constantFrom(
    (text: string) => encodeURIComponent(text.toWellFormed()),
    (text: string) => text.toWellFormed().replaceAll(/[^!-~]|#/gu, encodeURIComponent),
  );
  return fc.array(fc.tuple(name, value, encoded, fc.constantFrom("&", "&&", ";")), { maxLength: 4 }).map((pairs) =>
    pairs
      .map(([one, text, write, mark]) => `${write(one)}=${write(text)}${mark}`)
      .join("")
      .slice(0, -1),
  );
}

const asked = fc.constantFrom(...WORKSPACE_OPERATIONS.filter(({ body, query }) => body ?? query)).chain((op) =>
  fc
    .record({
      op: fc.constant(op),
      body: bodiesOf(jsonOf(op.body)),
      query: queriesOf(jsonOf(op.query)),
      size: fc.integer({ min: 1, max: 100_000 }),
    })
    .map((one) => ({
      ...one,
      [fc.toStringMethod]: () =>
        `${op.id} ?${one.query} ${JSON.stringify(one.body.toString("latin1").slice(0, 2000))} in pieces of ${one.size}`,
    })),
);

const statusOf = (code: string): number | undefined => PROBLEMS[code as keyof typeof PROBLEMS]?.status;

await using parsers = await openParsers();

await hold(
  import.meta.url,
  [
    property(
      "the workspace takes and refuses the requests that the contract does, and reads the same in them",
      asked,
      async ({ op, query, body, size }) => {
        const answer = await parsers.ask<Input>("input", { operation: op.id, query, bytes: base64(body), sizes: [size] });
        // A fault throws, whatever was asked; what only JavaScript reads in its own way has no word in the contract.
        const wanted = await expected(op, query, body);
        // What is nested too deeply for the one is no JSON to it, and still of the wrong shape to the other.
        if ("problem" in answer && typeof wanted === "string") return assert.equal(statusOf(answer.problem), statusOf(wanted));
        if (isOddNumber(query) || body.includes("__proto__")) return;
        if ("problem" in answer || typeof wanted === "string") return assert.deepEqual(answer, wanted);
        assert.deepEqual(plain(answer.value), plain({ query: op.query ? wanted.query : {}, body: op.body ? wanted.body : null }));
      },
    ),
    property(
      "a path leads to one operation, or to a Problem",
      fc.tuple(fc.constantFrom(...WORKSPACE_OPERATIONS), segments, fc.array(segments, { maxLength: 2 })),
      async ([op, parameter, more]) => {
        const path = [...op.path.split("/").map((part) => (part.startsWith(":") ? parameter : part)), ...more].join("/");
        const target = Buffer.from(path).toString("latin1").split("?", 1)[0] ?? "";
        const answer = await parsers.ask<{ operation: string }>("route", { method: op.method.toUpperCase(), path: target });
        if ("problem" in answer)
          assert.ok(["route_not_found", "method_not_allowed", "invalid_request"].includes(answer.problem), answer.problem);
      },
    ),
  ],
  cannotParse(),
);

/** A value as JSON says it, with whole characters only: what half of one means is nobody's promise. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll(/\\ud[89a-f][0-9a-f]{2}/gi, "\uFFFD"));
}

/** Whether a query writes a number as only JavaScript reads it: in another base, or among blanks of its own. */
function isOddNumber(query: string): boolean {
  return [...new URLSearchParams(query).values()].some((value) => /^[+-]?0[xob]|^[\s\p{Cc}]|[\s\p{Cc}]$/iu.test(value));
}
