import type { IncomingMessage } from "node:http";
import type { FunctionRecord, Functions } from "./functions.ts";
import { refusal } from "./refusals.ts";
import type { Servers } from "./servers.ts";
import type { Sessions } from "./sessions.ts";
import { call, type Upstream } from "./upstream.ts";

export interface Invocation {
  requestId: string;
  body: Uint8Array;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  signal?: AbortSignal | undefined;
}

/** Finds the instance that a request is for, and asks it. */
export class Invocations {
  readonly #functions: Functions;
  readonly #sessions: Sessions;
  readonly #servers: Servers;
  readonly #place: { region: string; accountId: string };

  constructor(functions: Functions, sessions: Sessions, servers: Servers, place: { region: string; accountId: string }) {
    this.#functions = functions;
    this.#sessions = sessions;
    this.#servers = servers;
    this.#place = place;
  }

  /** Sessions are never created by a request that names a new one: what runs has been asked for by name. */
  upstream(record: FunctionRecord, headers: Invocation["headers"]): Upstream | Promise<Upstream> {
    if (!record.affinity) return this.#servers.upstream(record);
    const name = record.affinity.affinityHeaderFieldName;
    const id = headers[name.toLowerCase()];
    if (typeof id !== "string" || id === "") throw refusal("MissingRequiredHeader", `The header ${name} must name a session`);
    return this.#sessions.upstream(record.name, id);
  }

  /** An event call: `POST /invoke` with the event as its body. */
  async invoke(
    functionName: string,
    { requestId, body, headers, signal }: Invocation,
  ): Promise<{ answer: IncomingMessage; failed: boolean; upstream: Upstream }> {
    const record = this.#functions.get(functionName);
    const upstream = await this.upstream(record, headers);
    const type = headers["content-type"];
    const answer = await call(upstream, {
      method: "POST",
      path: "/invoke",
      headers: [
        "host",
        "localhost",
        "content-type",
        typeof type === "string" ? type : "application/octet-stream",
        "content-length",
        String(body.byteLength),
        ...this.platformHeaders(record, requestId, "/invoke"),
      ],
      body,
      timeoutMs: record.definition.timeout * 1000,
      signal,
    });
    const failed = (answer.statusCode ?? 500) >= 400 || answer.headers["x-fc-status"] === "404";
    return { answer, failed, upstream };
  }

  /** What the platform tells an instance about each request. */
  platformHeaders(record: FunctionRecord, requestId: string, controlPath: "/invoke" | "/http-invoke"): string[] {
    const { definition } = record;
    return [
      "x-fc-request-id",
      requestId,
      "x-fc-function-name",
      record.name,
      "x-fc-function-memory",
      String(definition.memorySize),
      "x-fc-function-timeout",
      String(definition.timeout),
      "x-fc-region",
      this.#place.region,
      "x-fc-account-id",
      this.#place.accountId,
      "x-fc-qualifier",
      "LATEST",
      "x-fc-control-path",
      controlPath,
    ];
  }
}
