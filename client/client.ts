import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import type { Operation } from "#contract/operation.ts";
import { Problem, problemFrom, type ProblemCode } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { clientConfig } from "#infra/config.ts";

/** Where Cleanroom is and by which key it is asked; what is left out comes from the environment. */
export interface ClientOptions {
  url?: string | undefined;
  apiKey?: string | undefined;
}

/** An address, a key, and the path that every request starts with: empty, or one sandbox's. */
export interface Client {
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly prefix: string;
  /** What to do about a refused credential, which depends on where the key was looked for. */
  readonly keyHint: string;
}

/** Anything that fetch sends as it is. */
export type Bytes = NonNullable<RequestInit["body"]>;

type Loose<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]: T[K] | undefined } : T;

/** What an operation is sent: the parts that it has. `body` is a document, or bytes where the operation streams. */
export interface Ask<O extends Operation> {
  params?: O["params"] extends z.ZodType ? z.input<O["params"]> : never;
  query?: O["query"] extends z.ZodType ? Loose<z.input<O["query"]>> : never;
  body?: O["body"] extends z.ZodType ? Loose<z.input<O["body"]>> : Bytes;
  accept?: string;
  signal?: AbortSignal | undefined;
}

export type Answer<O extends Operation> = O["returns"] extends z.ZodType ? z.output<O["returns"]> : undefined;

/** Decides address and key: the option, then the environment, then, for this machine only, the key file of its first start. */
export function newClient(options: ClientOptions = {}): Client {
  const config = clientConfig();
  const url = (options.url ?? config.url).replace(/\/+$/, "");
  if (!URL.canParse(url))
    throw new Problem("invalid_request", { detail: `${url} is not a URL`, next: "Write it like http://127.0.0.1:7070." });
  const keyFile = join(config.dataDir, "root-key.json");
  const apiKey = options.apiKey ?? config.apiKey ?? (isLoopback(url) ? keyIn(keyFile) : undefined);
  const keyHint = apiKey
    ? `Check that the key belongs to the Cleanroom at ${url}.`
    : `Pass apiKey, set CLEANROOM_API_KEY, or set CLEANROOM_DATA to the folder with its root-key.json (looked in ${keyFile}).`;
  return { url, apiKey, prefix: "", keyHint };
}

/** The same client, speaking to what is inside one sandbox. */
export function inside(client: Client, sandboxId: string): Client {
  return { ...client, prefix: `/sandboxes/${encodeURIComponent(sandboxId)}` };
}

/** Asks an operation and reads its answer by the operation's own schema. */
export async function call<O extends Operation>(client: Client, op: O, ask: Ask<O> = {}): Promise<Answer<O>> {
  const response = await open(client, op, ask);
  if (!op.returns) {
    await response.body?.cancel();
    return undefined as Answer<O>;
  }
  const body = await bodyOf(client, response, ask.signal);
  const parsed = op.returns.safeParse(body);
  if (parsed.success) return parsed.data as Answer<O>;
  const detail = `${client.url} answered ${op.id} with something else than it should`;
  throw new Problem("internal", {
    detail,
    next: "Check that client and server are of one version.",
    issues: parsed.error.issues.slice(0, 5),
  });
}

/** Asks an operation and hands over the answer unread, for those that stream. A refusal is thrown as its Problem. */
export async function open<O extends Operation>(client: Client, op: O, ask: Ask<O> = {}): Promise<Response> {
  const url = client.url + client.prefix + pathOf(op.path, ask.params ?? {}) + searchOf(ask.query ?? {});
  const sendsBytes = op.streams?.request !== undefined;
  const headers: Record<string, string> = { accept: `${ask.accept ?? "application/json"}, application/problem+json` };
  if (client.apiKey) headers["authorization"] = `Bearer ${client.apiKey}`;
  if (ask.body !== undefined) headers["content-type"] = op.streams?.request ?? "application/json";
  const init: RequestInit & { duplex?: "half" } = { method: op.method.toUpperCase(), headers, redirect: "error" };
  if (ask.body !== undefined) init.body = sendsBytes ? (ask.body as Bytes) : JSON.stringify(ask.body);
  if (init.body instanceof ReadableStream) init.duplex = "half";
  if (ask.signal) init.signal = ask.signal;
  const response = await fetched(client, url, init);
  if (response.ok) return response;
  throw refusal(client, response, await bodyOf(client, response, ask.signal).catch(() => undefined));
}

/** Fetches without a credential, as links are: they carry their own. */
export async function openLink(client: Client, link: string, signal?: AbortSignal): Promise<Response> {
  const url = new URL(link, client.url).href;
  const response = await fetched(client, url, signal ? { signal } : {});
  if (response.ok) return response;
  throw refusal(client, response, await bodyOf(client, response, signal).catch(() => undefined));
}

/** Bytes as they come; a connection that breaks on the way is said as a Problem. */
export async function* chunksOf(client: Client, response: Response, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
  if (!response.body) return;
  try {
    yield* response.body;
  } catch (error) {
    throw unreachable(client.url, error, signal);
  }
}

async function fetched(client: Client, url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    throw unreachable(client.url, error, init.signal ?? undefined);
  }
}

async function bodyOf(client: Client, response: Response, signal: AbortSignal | undefined): Promise<unknown> {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw unreachable(client.url, error, signal);
  }
}

/** An abort stays what it is; anything else that fetch throws means that the server could not be heard. */
function unreachable(url: string, error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof Problem) return error;
  if (error instanceof Error && error.cause instanceof Problem) return error.cause;
  const detail = `Nothing that speaks Cleanroom answers at ${url} (${reasonOf(error)})`;
  const next = "Start it with `npx cleanroom up`, or set CLEANROOM_URL to where it runs.";
  return new Problem("engine_unavailable", { detail, next, url }, error);
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  for (const one of [cause, error]) {
    if (one instanceof Error && "code" in one && typeof one.code === "string") return one.code;
    if (one instanceof Error && one.message) return one.message;
  }
  return "the connection broke";
}

/** The Problem in a refusal, whichever of the envelopes it came in; without one, what the status says. */
function refusal(client: Client, response: Response, body: unknown): Problem {
  const problem = problemFrom(body) ?? plainRefusal(response, body);
  const facts = { ...problem.facts, ...requestIdIn(response, body), ...retryAfterIn(response) };
  if (problem.code === "unauthenticated") return new Problem(problem.code, { ...facts, next: client.keyHint });
  return new Problem(problem.code, facts);
}

function plainRefusal(response: Response, body: unknown): Problem {
  const outer = record(body);
  const inner = record(outer["error"] ?? outer);
  const code = inner["code"];
  const detail = typeof inner["message"] === "string" ? inner["message"] : `HTTP ${response.status} ${response.statusText}`.trim();
  const byStatus = (Object.keys(PROBLEMS) as ProblemCode[]).find((one) => PROBLEMS[one].status === response.status);
  return new Problem(isCode(code) ? code : (byStatus ?? "internal"), { ...record(inner["details"]), detail });
}

function isCode(value: unknown): value is ProblemCode {
  return typeof value === "string" && Object.hasOwn(PROBLEMS, value);
}

function requestIdIn(response: Response, body: unknown): { requestId?: string } {
  const id = record(body)["requestId"] ?? response.headers.get("x-request-id");
  return typeof id === "string" ? { requestId: id } : {};
}

function retryAfterIn(response: Response): { retryAfterMs?: number } {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {};
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function pathOf(path: string, params: Record<string, unknown>): string {
  return path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(String(params[name])));
}

function searchOf(query: Record<string, unknown>): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined);
  if (pairs.length === 0) return "";
  return `?${new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, String(value)])).toString()}`;
}

function isLoopback(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);
}

/** The file is there only on the machine that made it, and readable only by its owner: anything else is no key. */
function keyIn(file: string): string | undefined {
  try {
    const key: unknown = record(JSON.parse(readFileSync(file, "utf8")))["apiKey"];
    return typeof key === "string" ? key : undefined;
  } catch {
    return undefined;
  }
}
