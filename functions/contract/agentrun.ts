import * as z from "zod";
import { operation } from "./operation.ts";
import type { ProblemCode } from "./problem.ts";

/** The version under which AgentRun's control plane lives, as its path. */
export const AGENTRUN = "/2025-09-10";

/** How AgentRun answers a success: both of its SDKs ask for this code. */
export const envelope = <T extends z.ZodType>(data: T) => z.object({ code: z.literal("SUCCESS"), requestId: z.string(), data });

export const PageOf = <T extends z.ZodType>(item: T) =>
  z.object({ items: z.array(item), pageNumber: z.int(), pageSize: z.int(), total: z.int() });

/**
 * How AgentRun answers a failure. Its two planes and their SDKs read the outer three fields; `error` says the same in the
 * place where AgentRun puts it under a sandbox.
 */
export const AgentrunFailure = z.object({
  code: z.string(),
  requestId: z.string(),
  message: z.string(),
  error: z.object({ code: z.string(), message: z.string(), details: z.record(z.string(), z.unknown()) }),
});
export type AgentrunFailure = z.output<typeof AgentrunFailure>;

/** AgentRun's word for each Problem; what is not here is a bad request below 500 and a server error from there on. */
export const AGENTRUN_CODES: Partial<Record<ProblemCode, string>> = {
  invalid_request: "ERR_VALIDATION_FAILED",
  invalid_path: "ERR_VALIDATION_FAILED",
  unauthenticated: "InvalidAccessKey",
  signature_mismatch: "ERR_FORBIDDEN",
  forbidden: "ERR_FORBIDDEN",
  link_not_valid: "ERR_FORBIDDEN",
  route_not_found: "ERR_NOT_FOUND",
  template_not_found: "ERR_NOT_FOUND",
  sandbox_not_found: "ERR_NOT_FOUND",
  context_not_found: "ERR_NOT_FOUND",
  process_not_found: "ERR_NOT_FOUND",
  file_not_found: "ERR_NOT_FOUND",
  collection_not_found: "ERR_NOT_FOUND",
  already_exists: "ERR_ALREADY_EXISTS",
  conflict: "ERR_CONFLICT",
  control_held: "ERR_CONFLICT",
  sandbox_not_ready: "ERR_CONFLICT",
  sandbox_ended: "ERR_SANDBOX_TERMINATED",
  body_too_large: "ERR_BODY_TOO_LARGE",
  not_supported: "ERR_NOT_SUPPORTED",
  quota_exceeded: "Throttling.QuotaExceeded",
  rate_limited: "Throttling.User",
  engine_unavailable: "ERR_SERVICE_UNAVAILABLE",
  timeout: "ERR_TIMEOUT",
  disk_full: "ERR_DISK_FULL",
};

/** What else AgentRun's control plane has, by the path under its version: asked for, each answers that it is not served yet. */
export const AGENTRUN_UNSERVED: Readonly<Record<string, string>> = {
  "agents/runtimes": "Agent runtimes",
  "agents/credentials": "Credentials",
  "agents/model-services": "Model services",
  "agents/model-proxies": "Model proxies",
  "agents/model-providers": "Model providers",
  "agents/knowledgebases": "Knowledge bases",
  "agents/tools": "Tools",
  "agents/custom-domains": "Custom domains",
  "agents/im-bots": "IM bots",
  "agents/browsers": "Browsers of the deprecated kind",
  "agents/code-interpreters": "Code interpreters of the deprecated kind",
  workspaces: "Workspaces",
  flows: "Flows",
  "super-agents": "Super agents",
};

export const AccessTokenQuery = z.object({
  resourceType: z.enum(["sandbox", "template", "runtime", "litellm", "tool"]),
  resourceId: z.string().optional(),
  resourceName: z.string().optional(),
});
export type AccessTokenQuery = z.output<typeof AccessTokenQuery>;

export const agentrunGetAccessToken = operation({
  id: "agentrunGetAccessToken",
  method: "get",
  path: `${AGENTRUN}/agents/accessToken`,
  summary: "AgentRun: a token for the data plane, good for one sandbox or one template until it expires",
  query: AccessTokenQuery,
  status: 200,
  returns: envelope(z.object({ accessToken: z.string() })),
  errors: ["invalid_request", "sandbox_not_found", "template_not_found", "not_supported"],
});
