import * as z from "zod";
import { Problem, type ProblemCode } from "./problem.ts";

export type Method = "get" | "post" | "put" | "patch" | "delete";

/**
 * A route as data. From it come validation, the OpenAPI document, the client's types and the gate that
 * every operation is exercised end to end. Paths are written `/a/:b`, as Hono does.
 * `strict` refuses unknown body fields by name; AgentRun's dialect leaves it off and tolerates them.
 * `streams` marks an operation whose body or answer is not JSON: the handler reads the Request itself.
 */
export interface Operation<P extends z.ZodType = z.ZodType, Q extends z.ZodType = z.ZodType, B extends z.ZodType = z.ZodType> {
  readonly id: string;
  readonly method: Method;
  readonly path: string;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** Takes every method, and whatever follows its path. */
  readonly rest?: true;
  readonly status: number;
  readonly returns?: z.ZodType;
  readonly streams?: { readonly request?: string; readonly response?: string };
  readonly bodyLimitBytes?: number;
  readonly errors: readonly ProblemCode[];
}

/** What a handler gets: the three parts of the request, parsed. */
export interface Input<O extends Operation> {
  params: O["params"] extends z.ZodType ? z.output<O["params"]> : Record<string, never>;
  query: O["query"] extends z.ZodType ? z.output<O["query"]> : Record<string, never>;
  body: O["body"] extends z.ZodType ? z.output<O["body"]> : undefined;
}

/** Declares an operation, keeping its exact types. */
export function operation<const O extends Operation>(spec: O): O {
  return spec;
}

const DEFAULT_BODY_LIMIT_BYTES = 1024 * 1024;

/** What is read of a request: a web `Request` is one, and so is any server's own form of it. */
export interface Incoming {
  readonly url: string;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}

/** Parses a request by its operation: Problems name each field that is wrong, and bodies are bounded while they arrive. */
export async function readInput<O extends Operation>(op: O, request: Incoming, params: Record<string, string>): Promise<Input<O>> {
  const query = queryOf(new URL(request.url).searchParams);
  const body = op.body ? await readJson(request, op.bodyLimitBytes ?? DEFAULT_BODY_LIMIT_BYTES) : undefined;
  return {
    params: parse(op.params, params, "path"),
    query: parse(op.query, query, "query"),
    body: op.body ? parse(op.body, body, "body") : undefined,
  } as Input<O>;
}

function parse(schema: z.ZodType | undefined, value: unknown, where: string): unknown {
  if (!schema) return {};
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => ({
    field: [where, ...issue.path].join("."),
    problem: issue.message,
    ...(issue.code === "unrecognized_keys" ? { unknown: issue.keys } : {}),
  }));
  const detail = issues.map((issue) => `${issue.field}: ${issue.problem}`).join("; ");
  throw new Problem("invalid_request", { detail, issues });
}

function queryOf(search: URLSearchParams): Record<string, string> {
  return Object.fromEntries(search);
}

/** Reads a JSON body of at most `limitBytes`; an empty body is `{}`, as clients that send none expect. */
export async function readJson(request: Incoming, limitBytes: number): Promise<unknown> {
  const text = new TextDecoder().decode(await readBytes(request, limitBytes));
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem("invalid_json", { detail: error instanceof Error ? error.message : "not JSON" });
  }
}

/** Reads a body of at most `limitBytes` into memory; refuses with 413 as soon as it is known to be larger. */
export async function readBytes(request: Incoming, limitBytes: number): Promise<Uint8Array> {
  const tooLarge = () => new Problem("body_too_large", { limitBytes });
  if (Number(request.headers.get("content-length") ?? 0) > limitBytes) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.byteLength;
    if (size > limitBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
