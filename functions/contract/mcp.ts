import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** The revisions of the Model Context Protocol that are answered: one without sessions, and the last one with them. */
export const MCP_REVISIONS = ["2026-07-28", "2025-11-25"] as const;

/** By this header a client of the revision without sessions says that several requests are for one sandbox. */
export const MCP_KEY_HEADER = "cleanroom-session";

/** The tools of each kind, by name. Those of `code` are AgentRun's twenty names, which every template has. */
export const MCP_TOOLS = {
  code: [
    "health",
    "run_code",
    "list_contexts",
    "create_context",
    "get_context",
    "delete_context",
    "read_file",
    "write_file",
    "file_system_list",
    "file_system_stat",
    "file_system_download",
    "file_system_mkdir",
    "file_system_move",
    "file_system_remove",
    "file_system_upload",
    "process_exec_cmd",
    "process_tty",
    "process_list",
    "process_stat",
    "process_kill",
  ],
  terminal: ["terminal_open", "terminal_write", "terminal_read", "terminal_resize", "terminal_list", "terminal_close"],
  browser: [
    "browser_navigate",
    "browser_read",
    "browser_click",
    "browser_type",
    "browser_press",
    "browser_screenshot",
    "browser_wait",
    "browser_pages",
  ],
  desktop: [
    "desktop_screenshot",
    "desktop_click",
    "desktop_double_click",
    "desktop_triple_click",
    "desktop_move",
    "desktop_drag",
    "desktop_scroll",
    "desktop_type",
    "desktop_key",
    "desktop_wait",
    "desktop_cursor",
    "desktop_size",
  ],
} as const;

/** Makes and ends sandboxes for clients that have no session; not among those that a template's owner chooses from. */
export const MCP_HANDLE_TOOLS = ["create_sandbox", "end_sandbox"] as const;

const EnabledTools = z.array(z.string().max(64)).max(LIMITS.mcpToolsListed);

/** A template's MCP server, as its owner set it. `enabledTools` is absent when all are offered. */
export const McpServer = z.object({
  active: z.boolean(),
  /** The tools that are offered now. */
  tools: z.array(z.string()),
  enabledTools: EnabledTools.optional(),
  endpoint: z.string(),
  transport: z.literal("streamable-http"),
  revisions: z.array(z.string()),
});
export type McpServer = z.output<typeof McpServer>;

/** `enabledTools: null` offers all of them again. */
export const ChangeMcpServer = z.strictObject({ active: z.boolean().optional(), enabledTools: EnabledTools.nullable().optional() });
export type ChangeMcpServer = z.output<typeof ChangeMcpServer>;

const ofTemplate = z.object({ name: z.string() });
const ofSandbox = z.object({ sandboxId: z.string() });
const message = { request: "application/json", response: "application/json" } as const;

export const getMcpServer = operation({
  id: "getMcpServer",
  method: "get",
  path: "/api/templates/:name/mcp",
  summary: "Read a template's MCP server: whether it is active, and which tools it offers",
  params: ofTemplate,
  status: 200,
  returns: McpServer,
  errors: ["template_not_found"],
});

export const changeMcpServer = operation({
  id: "changeMcpServer",
  method: "patch",
  path: "/api/templates/:name/mcp",
  summary:
    "Stop or activate a template's MCP server, or choose its tools; it counts for the template's sandboxes too, from the next request",
  params: ofTemplate,
  body: ChangeMcpServer,
  status: 200,
  returns: McpServer,
  errors: ["template_not_found", "invalid_request", "conflict"],
});

export const speakToTemplate = operation({
  id: "speakToTemplate",
  method: "post",
  path: "/templates/:name/mcp",
  summary: "One MCP message to a template, by Streamable HTTP: tools work in a sandbox of the caller's own, made on first need",
  params: ofTemplate,
  streams: message,
  status: 200,
  errors: ["template_not_found", "mcp_stopped", "mcp_session_not_found", "invalid_json", "body_too_large", "quota_exceeded", "forbidden"],
});

export const endTemplateSession = operation({
  id: "endTemplateSession",
  method: "delete",
  path: "/templates/:name/mcp",
  summary: "End an MCP session (revision 2025-11-25), or that of the key in `cleanroom-session`, and its sandbox",
  params: ofTemplate,
  status: 204,
  errors: ["template_not_found", "mcp_session_not_found"],
});

export const speakToSandbox = operation({
  id: "speakToSandbox",
  method: "post",
  path: "/sandboxes/:sandboxId/mcp",
  summary: "One MCP message to a sandbox, by Streamable HTTP: tools work in that sandbox",
  params: ofSandbox,
  streams: message,
  status: 200,
  errors: ["sandbox_not_found", "sandbox_ended", "mcp_stopped", "mcp_session_not_found", "invalid_json", "body_too_large", "forbidden"],
});

export const endSandboxSession = operation({
  id: "endSandboxSession",
  method: "delete",
  path: "/sandboxes/:sandboxId/mcp",
  summary: "End an MCP session (revision 2025-11-25) with a sandbox, which lives on",
  params: ofSandbox,
  status: 204,
  errors: ["sandbox_not_found", "mcp_session_not_found"],
});
