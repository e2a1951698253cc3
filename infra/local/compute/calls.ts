import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { Functions } from "./functions.ts";
import type { Invocations } from "./invocations.ts";
import type { Isolation } from "#infra/local/sealed/maker.ts";
import type { Pools } from "./pools.ts";
import type { Place } from "./replies.ts";
import type { Route } from "./router.ts";
import type { Scalings } from "./scaling.ts";
import type { Servers } from "./servers.ts";
import type { Sessions } from "./sessions.ts";
import type { Tasks } from "./tasks.ts";
import type { Triggers } from "./triggers.ts";

/** One signed call of the API: the names in its path, in order, and the rest of it. */
export interface ApiCall {
  path: readonly string[];
  query: URLSearchParams;
  body: Buffer;
  headers: IncomingHttpHeaders;
  requestId: string;
  signal: AbortSignal;
}

/** What a call answers. */
export interface Reply {
  status: number;
  json?: unknown;
  headers?: Record<string, string>;
  /** An instance's answer, passed on as it comes. */
  stream?: IncomingMessage;
}

/** What the routes stand on. */
export interface ApiDeps {
  functions: Functions;
  triggers: Triggers;
  sessions: Sessions;
  scalings: Scalings;
  pools: Pools;
  servers: Servers;
  invocations: Invocations;
  tasks: Tasks;
  isolation: Isolation;
  place: Place;
  origin: () => string;
  /** Told of each function that is new or changed. */
  deployed: (functionName: string) => void;
}

export const NONE: Reply = { status: 204 };
export const ok = (json: unknown, headers: Record<string, string> = {}): Reply => ({ status: 200, json, headers });

export type Routes = Route<(call: ApiCall) => Reply | Promise<Reply>>[];
