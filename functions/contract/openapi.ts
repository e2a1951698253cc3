import * as z from "zod";
import { AgentrunFailure } from "./agentrun.ts";
import type { Operation } from "./operation.ts";
import { OPERATIONS } from "./operations.ts";
import { ProblemBody } from "./problem.ts";
import { PROBLEMS } from "./problem-codes.ts";
import { VERSION } from "./version.ts";

type Json = Record<string, unknown>;

const PUBLIC = new Set(["getHealth", "downloadArtifact", "sendUploadPart", "openPage", "renewPage", "controlFromPage", "actionsFromPage"]);
const SECURITY = {
  bearer: { type: "http", scheme: "bearer", description: "`Authorization: Bearer <apiKey>`" },
  apiKey: { type: "apiKey", in: "header", name: "X-API-KEY" },
  accessToken: {
    type: "apiKey",
    in: "header",
    name: "Agentrun-Access-Token",
    description: "An API key, or a token for one sandbox or template",
  },
};

/** The OpenAPI document of the door, made from the operations that it runs by. */
export function openApiDocument(operations: readonly Operation[] = OPERATIONS): Json {
  const paths: Record<string, Json> = {};
  for (const op of operations) {
    const path = op.path.replace(/:([A-Za-z]+)/g, "{$1}");
    paths[path] = { ...paths[path], [op.method]: describe(op, path) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Cleanroom",
      version: VERSION,
      description: "Disposable, sealed workspaces for AI agents",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    security: Object.keys(SECURITY).map((name) => ({ [name]: [] })),
    paths: Object.fromEntries(Object.entries(paths).toSorted(([a], [b]) => (a < b ? -1 : 1))),
    components: {
      securitySchemes: SECURITY,
      schemas: { Problem: schemaOf(ProblemBody, "output"), AgentrunFailure: schemaOf(AgentrunFailure, "output") },
    },
  };
}

function describe(op: Operation, path: string): Json {
  return {
    operationId: op.id,
    summary: op.summary,
    ...(PUBLIC.has(op.id) ? { security: [] } : {}),
    parameters: [...pathParameters(path), ...queryParameters(op)],
    ...(op.body || op.streams?.request ? { requestBody: { required: true, content: requestContent(op) } } : {}),
    responses: { [String(op.status)]: success(op), ...failures(op) },
  };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{([A-Za-z]+)\}/g)].map(([, name]) => ({ name, in: "path", required: true, schema: { type: "string" } }));
}

function queryParameters(op: Operation): Json[] {
  if (!op.query) return [];
  const { properties = {} } = schemaOf(op.query, "output") as { properties?: Record<string, Json> };
  const { required = [] } = schemaOf(op.query, "input") as { required?: string[] };
  return Object.entries(properties).map(([name, schema]) => ({ name, in: "query", required: required.includes(name), schema }));
}

function requestContent(op: Operation): Json {
  if (op.streams?.request) return { [op.streams.request]: { schema: { type: "string", format: "binary" } } };
  return { "application/json": { schema: schemaOf(op.body, "input") } };
}

function success(op: Operation): Json {
  const json = op.returns ? { "application/json": { schema: schemaOf(op.returns, "output") } } : {};
  const streamed = op.streams?.response ? { [op.streams.response]: { schema: { type: "string" } } } : {};
  const content = { ...json, ...streamed };
  return { description: op.summary, ...(Object.keys(content).length > 0 ? { content } : {}) };
}

/** Problems that share a status are one response that names them all. */
function failures(op: Operation): Json {
  const codes = PUBLIC.has(op.id) ? op.errors : [...new Set([...op.errors, "unauthenticated" as const, "rate_limited" as const])];
  const byStatus = Map.groupBy(codes, (code) => PROBLEMS[code].status);
  const content = failureContent(op);
  return Object.fromEntries(
    [...byStatus]
      .toSorted(([a], [b]) => a - b)
      .map(([status, named]) => [
        String(status),
        { description: named.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join("; "), content },
      ]),
  );
}

/** Each plane has its own envelope: AgentRun's, ours, and under a sandbox ours as plain JSON. */
function failureContent(op: Operation): Json {
  if (op.id.startsWith("agentrun")) return { "application/json": { schema: { $ref: "#/components/schemas/AgentrunFailure" } } };
  const type = op.path.startsWith("/sandboxes/") ? "application/json" : "application/problem+json";
  return { [type]: { schema: { $ref: "#/components/schemas/Problem" } } };
}

function schemaOf(schema: z.ZodType | undefined, io: "input" | "output"): Json {
  if (!schema) return {};
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return json;
}
