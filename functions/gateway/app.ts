import { randomUUID } from "node:crypto";
import { Hono } from "hono";
import { openApiDocument } from "#contract/openapi.ts";
import { Problem } from "#contract/problem.ts";
import { mountAgentrun } from "./agentrun/routes.ts";
import { mountActions } from "./actions.ts";
import { answered } from "./answered.ts";
import { splitKey } from "./arrival.ts";
import { mountAudit } from "./audit.ts";
import { mountArtifacts } from "./artifacts.ts";
import { mountUploads } from "./uploads.ts";
import { mountBrowserProfiles } from "./browser-profiles.ts";
import { mountBrowser } from "./browser.ts";
import { mountBrowsing } from "./browsing.ts";
import { mountControl } from "./control.ts";
import { mountData, mountRoots } from "./data.ts";
import { mountDesktop } from "./desktop.ts";
import type { App, Bindings, Gateway } from "./gateway.ts";
import { mountMcp } from "./mcp.ts";
import { mountPages } from "./pages.ts";
import { mountMem0 } from "./mem0/routes.ts";
import { mountMemory } from "./memory.ts";
import { answerProblem } from "./problems.ts";
import { mountProgram } from "./program.ts";
import { mountProjects } from "./projects.ts";
import { mountRecordings } from "./recordings.ts";
import { mountRecords } from "./records.ts";
import { mountSandboxes } from "./sandboxes.ts";
import { mountSnapshots } from "./snapshots.ts";
import { mountSpans } from "./spans.ts";
import { mountTasks } from "./tasks.ts";
import { mountTemplates } from "./templates.ts";
import { mountTickets } from "./tickets.ts";
import { mountUsage } from "./usage.ts";
import { mountWebhooks } from "./webhooks.ts";

/** The door: every route, one place that answers errors, and headers that every answer has. */
export function createApp(gateway: Gateway): Hono<Bindings> {
  const hono = new Hono<Bindings>({ getPath: (request) => routedPath(request.url) });
  const app: App = { hono, gateway };
  hono.use(async (c, next) => {
    const requestId = randomUUID();
    const startedAtMs = performance.now();
    c.set("requestId", requestId);
    await next();
    answered(gateway, { requestId, method: c.req.method, path: c.req.path, startedAtMs }, c.res.status, c.res.headers);
  });
  hono.onError((error, c) => {
    // Who left reads no answer, and to be left is no failure of ours.
    const left = c.req.raw.signal.aborted && !(error instanceof Problem);
    const told = left ? new Problem("timeout", { detail: "The client left before its answer" }, error) : error;
    return answerProblem(gateway.platform, told, c.req.path, c.get("requestId"));
  });
  hono.notFound((c) => answerProblem(gateway.platform, missing(hono, c.req.method, c.req.path), c.req.path, c.get("requestId")));
  mountProjects(app);
  mountSandboxes(app);
  mountProgram(app);
  mountTemplates(app);
  mountArtifacts(app);
  mountUploads(app);
  mountSnapshots(app);
  mountAudit(app);
  mountSpans(app);
  mountRecords(app);
  mountTasks(app);
  mountTickets(app);
  mountUsage(app);
  mountWebhooks(app);
  mountActions(app);
  mountPages(app);
  mountMcp(app);
  mountControl(app);
  mountDesktop(app);
  mountRecordings(app);
  mountBrowsing(app);
  mountBrowserProfiles(app);
  mountMemory(app);
  mountMem0(app);
  mountRoots(app);
  mountAgentrun(app);
  mountBrowser(app);
  mountData(app);
  let document: string | undefined;
  hono.get(
    "/openapi.json",
    () => new Response((document ??= JSON.stringify(openApiDocument())), { headers: { "content-type": "application/json" } }),
  );
  return hono;
}

/** The path that is routed: without the origin, the query and the key that some clients carry in front. */
function routedPath(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  const end = url.indexOf("?", start);
  const path = start < 0 ? "/" : url.slice(start, end < 0 ? undefined : end);
  return splitKey(path).path;
}

/** Why nothing answered: the route is there for other methods, or not at all. */
function missing(hono: Hono<Bindings>, method: string, path: string): Problem {
  const allow = hono.routes.filter((route) => route.method !== "ALL" && matches(route.path, path)).map((route) => route.method);
  if (allow.length > 0)
    return new Problem("method_not_allowed", { detail: `${path} does not answer ${method}`, allow: [...new Set(allow)] });
  return new Problem("route_not_found", { detail: `No such route: ${method} ${path}` });
}

function matches(pattern: string, path: string): boolean {
  const wanted = pattern.split("/");
  const given = path.split("/");
  return wanted.length === given.length && wanted.every((part, at) => part.startsWith(":") || part === given[at]);
}
