import type { Context } from "hono";
import * as z from "zod";
import { readJson } from "#contract/operation.ts";
import { Problem } from "#contract/problem.ts";
import { arrivalOf, arrivalOfRequest } from "./arrival.ts";
import { passOn } from "./data.ts";
import type { App, Bindings } from "./gateway.ts";

/** The paths under a sandbox that tell DevTools clients where to connect. */
export const DEVTOOLS_LISTS = /^\/sandboxes\/[^/]+\/json(\/version|\/list)?\/?$/;

const LISTED_BYTES = 4 * 1024 * 1024;
const Told = z.looseObject({ webSocketDebuggerUrl: z.string().optional() });
const ADDRESSES = new Set(["webSocketDebuggerUrl", "devtoolsFrontendUrl", "devtoolsFrontendUrlCompat"]);
const BROWSER_PATH = /^\/devtools\/browser\//;
const PAGE_PATH = /^\/devtools\/page\/([\w-]{1,64})$/;

/**
 * Answers what DevTools say of themselves with addresses that lead through this door. A client that brought its key in
 * the path, or anything in the query, finds both again in the addresses.
 */
export function mountBrowser(app: App): void {
  for (const path of ["/json", "/json/", "/json/version", "/json/version/", "/json/list", "/json/list/"])
    app.hono.get(`/sandboxes/:sandboxId${path}`, (c) => told(app, c));
}

async function told(app: App, c: Context<Bindings>): Promise<Response> {
  const response = await passOn(app, c);
  if (response.status !== 200) return response;
  const said = z.union([z.array(Told), Told]).safeParse(await readJson(response, LISTED_BYTES));
  if (!said.success) throw new Problem("browser_unavailable", { detail: "The browser says something else than where to connect" });
  const base = baseOf(app.gateway.publicOrigin, c);
  const answer = Array.isArray(said.data) ? said.data.map((it) => led(it, base)) : led(said.data, base);
  return Response.json(answer);
}

interface Base {
  /** Up to the sandbox, with the key in front if the client had it there. */
  url: string;
  query: string;
}

function baseOf(publicOrigin: string, c: Context<Bindings>): Base {
  const { url } = c.env?.incoming ? arrivalOf(c.env.incoming) : arrivalOfRequest(c.req.raw);
  const [path = "", query = ""] = url.split("?", 2);
  const inside = path.lastIndexOf("/json");
  return { url: publicOrigin.replace(/^http/, "ws") + path.slice(0, inside), query: query === "" ? "" : `?${query}` };
}

/** DevTools' own front end is elsewhere on the network and would be told an address inside: it is left out. */
function led(target: z.output<typeof Told>, { url, query }: Base): object {
  const kept = Object.entries(target).filter(([name]) => !ADDRESSES.has(name));
  const rest = Object.fromEntries(kept);
  const path = pathOf(target.webSocketDebuggerUrl);
  const page = PAGE_PATH.exec(path)?.[1];
  if (page !== undefined) return { ...rest, webSocketDebuggerUrl: `${url}/devtools/page/${page}${query}` };
  return BROWSER_PATH.test(path) ? { ...rest, webSocketDebuggerUrl: `${url}/ws/automation${query}` } : rest;
}

function pathOf(url: string | undefined): string {
  return url !== undefined && URL.canParse(url) ? new URL(url).pathname : "";
}
