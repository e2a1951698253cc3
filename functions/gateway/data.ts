import type { Context } from "hono";
import { asProblem, Problem } from "#contract/problem.ts";
import { rowKey, SANDBOXES, type SandboxRow } from "#core/sandbox-rows.ts";
import { requestServed } from "#core/sandboxes.ts";
import { arrivalOf, arrivalOfRequest, splitKey } from "./arrival.ts";
import { authenticate, permitSandbox } from "./auth.ts";
import { paced } from "./flow.ts";
import type { App, Bindings } from "./gateway.ts";
import { beginPassing } from "./passing.ts";
import { asServed, servedPlace } from "./served.ts";
import { countWire } from "./wire.ts";

/** Passes everything under a sandbox that is its owner's into it, both ways unparsed. */
export function mountData(app: App): void {
  app.hono.all("/sandboxes/:sandboxId/*", (c) => passOn(app, c));
}

/** With a slash at its end a sandbox's address is the root of its program, where an image's answers; elsewhere it is the sandbox's. */
export function mountRoots(app: App): void {
  app.hono.get("/sandboxes/:sandboxId/", async (c, next) => {
    const arrival = c.env?.incoming ? arrivalOf(c.env.incoming) : arrivalOfRequest(c.req.raw);
    const { principal } = await authenticate(app.gateway, arrival, c.req.raw);
    const key = rowKey(principal.project.id, c.req.param("sandboxId"));
    const row = await app.gateway.platform.recent.get<SandboxRow>(SANDBOXES, key);
    return row?.value.type === "CustomImage" ? passOn(app, c) : next();
  });
}

/** Passes a request into its sandbox and answers what that answers. */
export async function passOn({ gateway }: App, c: Context<Bindings>): Promise<Response> {
  const { incoming } = c.env ?? {};
  const arrival = incoming ? arrivalOf(incoming) : arrivalOfRequest(c.req.raw);
  const target = targetOf(arrival.url);
  const caller = await authenticate(gateway, arrival, c.req.raw);
  await permitSandbox(gateway, caller.principal, target.sandboxId);
  const flow = gateway.turnstile.enter(caller.principal.project.id, target.sandboxId, c.env?.outgoing);
  const { method, headers } = caller.request;
  // A body that nobody had to read for its signature goes as the stream it came as.
  const body = isBodyless(method, headers) ? null : caller.request === c.req.raw && incoming ? incoming : caller.request.body;
  const passed = new Headers(headers);
  // A Problem of the workspace names the same request as the door does.
  passed.set("x-request-id", c.get("requestId"));
  const passage = { method, url: target.path, headers: passed, body, client: true as const };
  const asked = { sandboxId: target.sandboxId, method, path: target.path };
  const passing = await beginPassing(gateway.platform, caller.principal, asked, passed);
  const length = headers.get("content-length");
  passing?.watchInput(null, length === null ? 0 : Number(length));
  const { project } = caller.principal;
  const asking = requestServed(gateway.platform, project, target.sandboxId, passage, c.req.raw.signal);
  const { response, served } = await asking.catch((error: unknown) => {
    passing?.refused(asProblem(error).code);
    throw error;
  });
  const place = servedPlace(target.sandboxId, served);
  if (place && !target.path.startsWith("/ports/")) asServed(response, place);
  if (passing && incoming) {
    const { socket } = incoming;
    const source = { projectId: project.id, id: target.sandboxId };
    c.env?.outgoing?.once("close", () => countWire(gateway.platform, source, socket));
  }
  passing?.answered({ status: response.status, headers: response.headers, body: null });
  response.headers.set("x-request-id", c.get("requestId"));
  const answer = paced(response.body, response.headers.get("content-type"), flow);
  return answer === response.body ? response : new Response(answer, response);
}

// A slash that is encoded, or lies on its other side, is one for somebody who decodes before resolving.
const DOT_SEGMENT = /(\/|\\|%2f|%5c)(\.|%2e){1,2}(?=\/|\\|%2f|%5c|$)/i;

/** The sandbox and the path inside it, undecoded. Dot segments are refused: proxies on the way would resolve them, each at another point. */
export function targetOf(rawUrl: string): { sandboxId: string; path: string } {
  const { path } = splitKey(rawUrl);
  const match = /^\/sandboxes\/([^/?]+)(\/[^?]*)(\?.*)?$/s.exec(path);
  const [, sandboxId = "", inside = "", query = ""] = match ?? [];
  if (!match) throw new Problem("route_not_found", { detail: "No such route" });
  if (DOT_SEGMENT.test(inside)) throw new Problem("invalid_path", { detail: "A path has no `.` or `..` segments" });
  return { sandboxId, path: inside + query };
}

/** Whether a request has no body, by its head. */
export function isBodyless(method: string, headers: Headers): boolean {
  if (method === "GET" || method === "HEAD") return true;
  return headers.get("content-length") === "0" || (!headers.has("content-length") && !headers.has("transfer-encoding"));
}
