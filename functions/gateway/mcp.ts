import { isIP } from "node:net";
import type { Context } from "hono";
import { LIMITS } from "#contract/limits.ts";
import { changeMcpServer, getMcpServer, MCP_KEY_HEADER, MCP_REVISIONS, type McpServer } from "#contract/mcp.ts";
import { readJson } from "#contract/operation.ts";
import { Problem } from "#contract/problem.ts";
import type { Template } from "#contract/template.ts";
import { activeMcp, changeMcpSettings, type McpSettings, offeredTools, readMcpSettings } from "#core/mcp.ts";
import type { Principal } from "#core/projects.ts";
import { getSandbox } from "#core/sandboxes.ts";
import { findTemplate } from "#core/templates.ts";
import { type Arrival, arrivalOf, arrivalOfRequest } from "./arrival.ts";
import { authenticate, isSameOrigin, permitSandbox } from "./auth.ts";
import { isBodyless } from "./data.ts";
import type { App, Bindings, Gateway } from "./gateway.ts";
import type { Mcp } from "./mcp/serve.ts";
import type { Place, Speaker } from "./mcp/place.ts";
import { mount } from "./mount.ts";

const KEY = /^[\x21-\x7e]{1,128}$/;

/** Every template and every sandbox is an MCP server. What serves them is loaded by the first who asks. */
export function mountMcp(app: App): void {
  const { gateway, hono } = app;
  mount(app, getMcpServer).to(async ({ principal, params }) => {
    const template = await templateOf(gateway, principal, params.name);
    return shown(gateway, template, await readMcpSettings(gateway.platform, principal.project, template));
  });
  mount(app, changeMcpServer).to(async ({ principal, params, body }) => {
    const template = await templateOf(gateway, principal, params.name);
    return shown(gateway, template, await changeMcpSettings(gateway.platform, principal.project, template, body));
  });
  let mcp: Promise<Mcp> | undefined;
  const load = () => (mcp ??= import("./mcp/serve.ts").then(({ openMcp }) => openMcp(gateway)));
  hono.all("/templates/:name/mcp", (c) => speak(gateway, c, load, toTemplate));
  hono.all("/sandboxes/:sandboxId/mcp", (c) => speak(gateway, c, load, toSandbox));
}

/** The address at which a template's server is reached. */
export function mcpEndpoint({ publicOrigin }: Pick<Gateway, "publicOrigin">, name: string): string {
  return `${publicOrigin}/templates/${name}/mcp`;
}

type Addressed = (gateway: Gateway, principal: Principal, c: Context<Bindings>) => Promise<Speaker>;

async function speak(gateway: Gateway, c: Context<Bindings>, load: () => Promise<Mcp>, addressed: Addressed): Promise<Response> {
  const { incoming } = c.env ?? {};
  const arrival = incoming ? arrivalOf(incoming) : arrivalOfRequest(c.req.raw);
  refuseForeign(gateway, arrival);
  const { principal, request } = await authenticate(gateway, arrival, c.req.raw);
  gateway.turnstile.control(principal.project.id);
  const speaker = await addressed(gateway, principal, c);
  // There is nothing that a server would say by itself, so that a stream for it is not offered.
  if (request.method !== "POST" && request.method !== "DELETE")
    throw new Problem("method_not_allowed", { detail: "MCP messages are sent by POST", allow: ["POST", "DELETE"] });
  const unread = request === c.req.raw && incoming && !isBodyless(request.method, request.headers);
  const from = unread ? { url: "", headers: request.headers, body: incoming.iterator({ destroyOnReturn: false }) } : request;
  const body = request.method === "POST" ? await readMessage(from) : undefined;
  return (await load()).answer(speaker, { request, body });
}

async function readMessage(from: Parameters<typeof readJson>[0]): Promise<unknown> {
  const body = await readJson(from, LIMITS.mcpMessageBytes);
  if (typeof body === "object" && body !== null) return body;
  throw new Problem("invalid_request", { detail: "A message is a JSON object" });
}

/** A page that made its own name lead here would name itself; an address cannot be made to lead elsewhere. */
function refuseForeign({ publicOrigin }: Gateway, arrival: Arrival): void {
  const named = String(arrival.headers["host"] ?? "");
  const host = hostnameOf(`http://${named}`);
  // Every browser names a host.
  const isOwn = named === "" || host === "localhost" || isIP(host.replace(/^\[|\]$/g, "")) !== 0 || host === hostnameOf(publicOrigin);
  if (!isOwn) throw new Problem("forbidden", { detail: "The header Host names another server", permission: "host" });
  if (!isSameOrigin(arrival)) throw new Problem("forbidden", { detail: "MCP is not for pages of other origins", permission: "origin" });
}

function hostnameOf(origin: string): string {
  return URL.parse(origin)?.hostname ?? "";
}

async function toTemplate(gateway: Gateway, principal: Principal, c: Context<Bindings>): Promise<Speaker> {
  const name = c.req.param("name") ?? "";
  const { scope } = principal;
  if (scope && !("template" in scope && scope.template === name))
    throw new Problem("template_not_found", { detail: `Template ${name} not found`, template: name });
  const key = c.req.header(MCP_KEY_HEADER);
  if (key !== undefined && !KEY.test(key))
    throw new Problem("invalid_request", { detail: `The header ${MCP_KEY_HEADER} has 1 to 128 visible characters` });
  const place: Place = key === undefined ? { kind: "named" } : { kind: "key", key };
  return speakerOf(gateway, principal, name, place);
}

async function toSandbox(gateway: Gateway, principal: Principal, c: Context<Bindings>): Promise<Speaker> {
  const sandboxId = c.req.param("sandboxId") ?? "";
  await permitSandbox(gateway, principal, sandboxId);
  const { state, endReason, template } = await getSandbox(gateway.platform, principal.project, sandboxId);
  if (state !== "ending" && state !== "ended") return speakerOf(gateway, principal, template, { kind: "sandbox", sandboxId });
  const reason = endReason ?? "lost";
  throw new Problem("sandbox_ended", { detail: `The sandbox ${sandboxId} has ended: ${reason}`, sandboxId, reason });
}

async function speakerOf(gateway: Gateway, principal: Principal, name: string, place: Place): Promise<Speaker> {
  const template = await templateOf(gateway, principal, name);
  return { principal, template, settings: await activeMcp(gateway.platform, principal.project, template), place };
}

async function templateOf({ platform, limits }: Gateway, { project }: Principal, name: string): Promise<Template> {
  return (await findTemplate(platform, limits, project, name)).template;
}

function shown(gateway: Gateway, template: Template, settings: McpSettings): McpServer {
  const { active, enabledTools } = settings;
  return {
    active,
    tools: [...offeredTools(template, settings)],
    ...(enabledTools ? { enabledTools: [...enabledTools] } : {}),
    endpoint: mcpEndpoint(gateway, template.name),
    transport: "streamable-http",
    revisions: [...MCP_REVISIONS],
  };
}
