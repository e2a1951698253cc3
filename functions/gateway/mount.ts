import type { Context } from "hono";
import { parseTraceparent, TRACEPARENT_HEADER } from "#contract/traceparent.ts";
import { type Incoming, type Input, type Operation, readInput } from "#contract/operation.ts";
import type { Caller } from "#core/caller.ts";
import type { Principal } from "#core/projects.ts";
import { type Arrival, arrivalOf, arrivalOfRequest } from "./arrival.ts";
import { audited, auditRefusal } from "./audited.ts";
import { authenticate, requireProject } from "./auth.ts";
import { bodyOf } from "./bodies.ts";
import type { App, Bindings } from "./gateway.ts";

/** What a handler gets: the request's parts, parsed; who sent it; and the request itself for what is streamed. */
export interface Call<O extends Operation> extends Input<O> {
  principal: Principal;
  request: Request;
  /** The body of an operation that parses none. */
  stream: () => ReadableStream<Uint8Array>;
  requestId: string;
  signal: AbortSignal;
  /** Who is behind it, for what the core writes down. */
  caller: Caller;
}

type Answer = Response | object | undefined | void;
type Handler<C> = (call: C) => Answer | Promise<Answer>;

/**
 * Puts an operation on its route: `to` for keys that act for a whole project, `toScoped` when the handler itself confines
 * tokens to their scope, `toAnyone` for what needs no credential.
 */
export function mount<O extends Operation>(app: App, op: O) {
  const { hono, gateway } = app;
  const routed = (answer: (c: Context<Bindings>) => Promise<Response>) => void hono.on(op.method.toUpperCase(), op.path, answer);

  async function called(c: Context<Bindings>): Promise<Call<O>> {
    const arrival = c.env?.incoming ? arrivalOf(c.env.incoming) : arrivalOfRequest(c.req.raw);
    const { principal, request } = await authenticate(gateway, arrival, c.req.raw);
    gateway.turnstile.control(principal.project.id);
    return {
      ...(await readInput(op, request === c.req.raw ? unread(op, c) : request, c.req.param())),
      principal,
      request,
      stream: () => (request === c.req.raw ? streamOf(c) : (request.body ?? nothing())),
      requestId: c.get("requestId"),
      signal: c.req.raw.signal,
      caller: callerOf(arrival, principal, c.get("requestId")),
    };
  }

  const { platform } = gateway;
  const handled = (handler: Handler<Call<O>>, call: Call<O>) =>
    platform.callers.run(call.caller, () => audited(platform, op, call as Call<Operation>, async () => handler(call)));

  return {
    to(handler: Handler<Call<O>>): void {
      routed(async (c) => {
        const call = await called(c);
        if (call.principal.scope) auditRefusal(platform, call.principal, { action: op.id });
        requireProject(call.principal);
        return answerOf(op, await handled(handler, call));
      });
    },
    toScoped(handler: Handler<Call<O>>): void {
      routed(async (c) => answerOf(op, await handled(handler, await called(c))));
    },
    toAnyone(handler: Handler<Omit<Call<O>, "principal" | "caller">>): void {
      routed(async (c) => {
        const request = c.req.raw;
        const call = {
          ...(await readInput(op, request, c.req.param())),
          request,
          stream: () => streamOf(c),
          requestId: c.get("requestId"),
          signal: request.signal,
        };
        return answerOf(op, await handler(call));
      });
    },
  };
}

const ON_BEHALF_OF = "cleanroom-on-behalf-of";
const ON_BEHALF_OF_CHARS = 128;

/** Who is behind a request. Of whom it acts for there is only its own word, and that is bounded. */
export function callerOf(arrival: Arrival, principal: Principal, requestId: string): Caller {
  const { headers, remoteAddress } = arrival;
  const behalf = headers[ON_BEHALF_OF];
  const trace = parseTraceparent(String(headers[TRACEPARENT_HEADER] ?? ""));
  return {
    accessKeyId: principal.accessKeyId,
    requestId,
    ...(remoteAddress === undefined ? {} : { remoteAddress }),
    ...(typeof behalf === "string" && behalf !== "" ? { onBehalfOf: behalf.slice(0, ON_BEHALF_OF_CHARS) } : {}),
    ...(trace ? { trace } : {}),
  };
}

/** A body that nobody has read is read off its own stream; a web stream around it costs more than all the rest of its reading. */
function unread(op: Operation, c: Context<Bindings>): Incoming {
  const { raw } = c.req;
  const { incoming } = c.env ?? {};
  if (!op.body || !incoming) return raw;
  return { url: raw.url, headers: raw.headers, body: incoming.iterator({ destroyOnReturn: false }) };
}

function streamOf(c: Context<Bindings>): ReadableStream<Uint8Array> {
  const { incoming } = c.env ?? {};
  return incoming ? bodyOf(incoming) : (c.req.raw.body ?? nothing());
}

function nothing(): ReadableStream<Uint8Array> {
  return new Blob([]).stream();
}

function answerOf(op: Operation, answer: Answer): Response {
  if (answer instanceof Response) return answer;
  if (answer === undefined) return new Response(null, { status: op.status });
  return Response.json(answer, { status: op.status });
}
