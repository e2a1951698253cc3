import * as z from "zod";
import { CLIENT_HEADER, FILES_HEADER, INNER_HEADER, SERVED_HEADER, SKIPPED_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import type { Operation } from "#contract/operation.ts";
import { INNER_OPERATIONS, WORKSPACE_OPERATIONS } from "#contract/operations.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { BROWSER_TYPES, Environment } from "#contract/template.ts";
import { IMAGE_VARIABLE, PROOF_HEADER, SESSION_HEADER, TEMPLATE_TYPE_VARIABLE } from "#contract/workspace.ts";

type Json = Record<string, unknown>;
type Override = NonNullable<z.core.ToJSONSchemaParams["override"]>;

/** Which keyword of JSON Schema a check of zod becomes. */
const KEYWORDS: Readonly<Record<string, string>> = {
  min_length: "minLength",
  max_length: "maxLength",
  string_format: "pattern",
  // The one refinement that there is: how many variables an environment holds.
  custom: "maxProperties",
};

/** The contract as the workspace reads it, which is no JavaScript: what it answers, every Problem, every bound. */
export function contractForWorkspace(): Json {
  return {
    headers: {
      session: SESSION_HEADER,
      proof: PROOF_HEADER,
      inner: INNER_HEADER,
      client: CLIENT_HEADER,
      served: SERVED_HEADER,
      snapshotFiles: FILES_HEADER,
      snapshotSkipped: SKIPPED_HEADER,
    },
    variables: { templateType: TEMPLATE_TYPE_VARIABLE, image: IMAGE_VARIABLE },
    browserTypes: [...BROWSER_TYPES],
    limits: LIMITS,
    problems: PROBLEMS,
    operations: Object.fromEntries([...WORKSPACE_OPERATIONS, ...INNER_OPERATIONS].map((op) => [op.id, describe(op)])),
  };
}

function describe(op: Operation): Json {
  const { method, path, status, streams, rest } = op;
  return {
    method,
    path,
    status,
    bodyLimitBytes: op.bodyLimitBytes ?? LIMITS.jsonBodyBytes,
    ...(op.query ? { query: querySchema(op.query) } : {}),
    ...(op.body ? { body: schemaOf(op.body, "input") } : {}),
    ...(streams ? { streams } : {}),
    ...(rest ? { rest } : {}),
  };
}

/** A query comes as text: its types are those that come out of the parsing, its obligations those that go in. */
function querySchema(schema: z.ZodType): Json {
  const { additionalProperties, required } = schemaOf(schema, "input");
  const { additionalProperties: _out, required: _all, ...types } = schemaOf(schema, "output");
  return { ...types, ...(required ? { required } : {}), ...(additionalProperties === undefined ? {} : { additionalProperties }) };
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, override: keepWords }) as Json;
  return rest;
}

/** Keeps the words that a check of ours has for its failure, under `says` by the keyword that fails. */
const keepWords: Override = ({ zodSchema, jsonSchema }) => {
  if (zodSchema === Environment) (jsonSchema as Json)["maxProperties"] = LIMITS.environmentEntries;
  const says: Record<string, string> = {};
  for (const check of zodSchema._zod.def.checks ?? []) {
    const { check: kind, error } = check._zod.def;
    const keyword = KEYWORDS[kind];
    const words = keyword === undefined ? undefined : error?.({ code: "custom", input: undefined, message: "" } as never);
    if (keyword !== undefined && typeof words === "string") says[keyword] = words;
  }
  if (Object.keys(says).length > 0) (jsonSchema as Json)["says"] = says;
};
