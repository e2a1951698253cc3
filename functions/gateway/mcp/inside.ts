import { EventEmitter } from "node:events";
import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import { readJson } from "#contract/operation.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import { readEvents } from "#contract/sse.ts";
import { formatTraceparent, type TraceContext, TRACEPARENT_HEADER } from "#contract/traceparent.ts";
import type { Project } from "#contract/project.ts";
import { actOnDesktop } from "#core/desktop.ts";
import { connectSandbox, requestSandbox } from "#core/sandboxes.ts";
import { browse } from "#gateway/browsing/browse.ts";
import { socketHeaders } from "#gateway/browsing/client.ts";
import { paced } from "#gateway/flow.ts";
import type { Gateway } from "#gateway/gateway.ts";
import type { Asked, Work } from "./tool.ts";

/** A little longer than anything may run inside; a sandbox that would not end its answer is left then. */
const LONGEST_MS = LIMITS.timeoutMaxMs + 60_000;

/** One call's way into its sandbox, counted and paced like every other request there. Closing it says that the call is done. */
export function openInside(
  gateway: Gateway,
  project: Project,
  { sandboxId, requestId, signal, trace }: { sandboxId: string; requestId: string; signal: AbortSignal; trace: TraceContext | undefined },
): Pick<Work, "ask" | "json" | "events" | "browse" | "desktop" | "connect"> & Disposable {
  const passing = new EventEmitter();
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(LONGEST_MS)]);

  async function ask(method: string, path: string, asked: Asked = {}): Promise<Response> {
    const flow = gateway.turnstile.enter(project.id, sandboxId, passing);
    const headers = new Headers({ ...asked.headers, "x-request-id": requestId });
    if (trace) headers.set(TRACEPARENT_HEADER, formatTraceparent(trace));
    const body = bodyOf(asked, headers);
    const passage = { method, url: path + queryOf(asked), headers, body };
    const response = await requestSandbox(gateway.platform, project, sandboxId, passage, bounded);
    if (!response.ok) throw await refusal(response);
    const answer = paced(response.body, response.headers.get("content-type"), flow);
    return answer === response.body ? response : new Response(answer, response);
  }

  return {
    ask,
    async json(schema, method, path, asked) {
      const parsed = schema.safeParse(await readJson(read(await ask(method, path, asked)), LIMITS.mcpMessageBytes));
      if (parsed.success) return parsed.data;
      throw new Problem("sandbox_lost", { detail: `The sandbox's answer could not be read: ${z.prettifyError(parsed.error)}` });
    },
    async *events(schema, method, path, asked = {}) {
      const response = await ask(method, path, { ...asked, headers: { ...asked.headers, accept: "text/event-stream" } });
      if (!response.body) return;
      for await (const { data } of readEvents(response.body)) yield readEvent(schema, data);
    },
    browse: (which, doing) => browse({ gateway, project, sandboxId, requestId, signal }, which, doing),
    async desktop(action) {
      gateway.turnstile.enter(project.id, sandboxId, passing);
      return actOnDesktop(gateway.platform, project, sandboxId, action, bounded);
    },
    async connect(path) {
      gateway.turnstile.enter(project.id, sandboxId, passing);
      const passage = { method: "GET", url: path, headers: socketHeaders(requestId), body: null };
      return connectSandbox(gateway.platform, project, sandboxId, passage, bounded);
    },
    [Symbol.dispose]: () => void passing.emit("close"),
  };
}

/** One event; what is told in the middle of a stream may be a Problem. */
function readEvent<S extends z.ZodType>(schema: S, data: string): z.output<S> {
  const value: unknown = JSON.parse(data);
  const problem = problemFrom(value);
  if (problem) throw problem;
  return schema.parse(value);
}

async function refusal(response: Response): Promise<Problem> {
  const said = await readJson(read(response), LIMITS.jsonBodyBytes).catch(() => undefined);
  return problemFrom(said) ?? new Problem("sandbox_lost", { detail: `The sandbox answered ${response.status}` });
}

function read({ headers, body }: Response) {
  return { url: "", headers, body };
}

function bodyOf({ json, bytes }: Asked, headers: Headers): ReadableStream<Uint8Array> | null {
  if (json === undefined && bytes === undefined) return null;
  headers.set("content-type", bytes ? "application/octet-stream" : "application/json");
  const sent = bytes ?? Buffer.from(JSON.stringify(json));
  headers.set("content-length", String(sent.byteLength));
  return ReadableStream.from([sent]);
}

function queryOf({ query = {} }: Asked): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
  return search.size === 0 ? "" : `?${search.toString()}`;
}
