import type { HttpBindings } from "@hono/node-server";
import type { McpServer, McpServerOptions } from "@modelcontextprotocol/server";
import type { Hono } from "hono";
import type { NonceMemory } from "#contract/acs3.ts";
import type { Isolation } from "#contract/sandbox.ts";
import type { Limits } from "#core/limits.ts";
import type { Platform } from "#core/ports.ts";
import type { Recorders } from "#core/recorder.ts";
import type { Pages } from "./pages.ts";
import type { Turnstile } from "./turnstile.ts";
import type { Witnesses } from "./witness/witnesses.ts";

/** What every route of the door stands on. */
export interface Gateway {
  platform: Platform;
  limits: Limits;
  accountId: string;
  region: string;
  publicOrigin: string;
  /** Whether requests from this machine may come without a credential. */
  allowAnonymous: boolean;
  nonces: NonceMemory;
  turnstile: Turnstile;
  /** Who records displays while clients that asked for it are connected. */
  recorders: Recorders;
  /** Who writes down what is done in browsers. */
  witnesses: Witnesses;
  /** What people see of it in a browser. */
  pages: Pages;
  /** How sandboxes are isolated; an engine that finds something else is another engine, with another gateway. */
  isolation: Isolation;
  /** How those are that have a browser. */
  browserIsolation: Isolation;
  startedAtMs: number;
  /** Leaves requests into sandboxes without their spans: only the bench does, to hold the cost of spans against it. */
  untraced?: true;
  /** Adds to each MCP server that is built. Only tests of the protocol itself give one. */
  mcpExtension?: { options: McpServerOptions; extend: (server: McpServer) => void };
}

export interface Bindings {
  Bindings: Partial<HttpBindings>;
  Variables: { requestId: string };
}

/** The routes that are being put together. */
export interface App {
  hono: Hono<Bindings>;
  gateway: Gateway;
}
