import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { fail, forward, forwardUpgrade, type Passage, refuseUpgrade } from "./forward.ts";
import type { FunctionRecord, Functions } from "./functions.ts";
import type { Invocations } from "./invocations.ts";
import { refusal } from "./refusals.ts";
import type { TriggerRecord, Triggers } from "./triggers.ts";
import type { Upstream } from "./upstream.ts";

const PREFIX = "/door/";

/** The HTTP triggers: requests find their function by the host's name or, on a machine without such names, by `/door/<function>/`. */
export class Door {
  readonly #functions: Functions;
  readonly #triggers: Triggers;
  readonly #invocations: Invocations;

  constructor(functions: Functions, triggers: Triggers, invocations: Invocations) {
    this.#functions = functions;
    this.#triggers = triggers;
    this.#invocations = invocations;
  }

  /** Whether a request is for a trigger at all. */
  takes(req: IncomingMessage): boolean {
    return (req.url ?? "").startsWith(PREFIX) || hostId(req) !== undefined;
  }

  serve(req: IncomingMessage, res: ServerResponse, requestId: string): void {
    this.#route(
      req,
      requestId,
      "serve",
      (upstream, passage) => forward(upstream, req, res, passage),
      (error) => fail(res, error, requestId),
    );
  }

  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, requestId: string): void {
    socket.on("error", () => socket.destroy());
    this.#route(
      req,
      requestId,
      "upgrade",
      (upstream, passage) => forwardUpgrade(upstream, req, socket, head, passage),
      (error) => refuseUpgrade(socket, error, requestId),
    );
  }

  /** A running session answers in the same turn; a trusted function may have to start first. */
  #route(
    req: IncomingMessage,
    requestId: string,
    kind: "serve" | "upgrade",
    pass: (upstream: Upstream, passage: Passage) => void,
    refuse: (error: unknown) => void,
  ): void {
    try {
      const { record, path } = this.#find(req, kind);
      const passage = {
        path,
        requestId,
        headers: this.#invocations.platformHeaders(record, requestId, "/http-invoke"),
        timeoutMs: record.definition.timeout * 1000,
      };
      const upstream = this.#invocations.upstream(record, req.headers);
      if (upstream instanceof Promise) upstream.then((ready) => pass(ready, passage)).catch(refuse);
      else pass(upstream, passage);
    } catch (error) {
      refuse(error);
    }
  }

  #find(req: IncomingMessage, kind: "serve" | "upgrade"): { record: FunctionRecord; path: string } {
    const { trigger, path } = this.#trigger(req);
    const method = req.method as never;
    if (kind === "serve" && !trigger.http?.methods.includes(method))
      throw refusal("MethodNotAllowed", `The trigger does not take ${req.method}`);
    return { record: this.#functions.get(trigger.function), path };
  }

  #trigger(req: IncomingMessage): { trigger: TriggerRecord; path: string } {
    const url = req.url ?? "/";
    if (!url.startsWith(PREFIX)) {
      const byHost = this.#triggers.doorById(hostId(req) ?? "");
      if (!byHost) throw refusal("TriggerNotFound", `No trigger answers to ${req.headers.host}`);
      return { trigger: byHost, path: url };
    }
    const end = url.slice(PREFIX.length).search(/[/?]/);
    const name = end < 0 ? url.slice(PREFIX.length) : url.slice(PREFIX.length, PREFIX.length + end);
    const rest = url.slice(PREFIX.length + name.length);
    const trigger = this.#triggers.door(name);
    if (!trigger) throw refusal("TriggerNotFound", `There is no function ${name} with an HTTP trigger`);
    return { trigger, path: rest.startsWith("/") ? rest : `/${rest}` };
  }
}

function hostId(req: IncomingMessage): string | undefined {
  const host = req.headers.host;
  if (!host?.includes(".fcapp.run")) return undefined;
  return /^([a-z0-9-]+)\.[a-z0-9-]+\.fcapp\.run(?::\d+)?$/.exec(host)?.[1];
}
