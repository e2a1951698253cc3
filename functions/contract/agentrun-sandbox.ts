import * as z from "zod";
import { AGENTRUN, envelope } from "./agentrun.ts";
import { IdleSeconds } from "./agentrun-template.ts";
import { Count, Name, SandboxId } from "./id.ts";
import { operation } from "./operation.ts";

const Mounts = z.looseObject({ mountPoints: z.array(z.unknown()).nullish() }).nullish();

/** Both spellings of the idle time are in use; a mount is refused while none can be made. */
export const AgentrunCreateSandbox = z.object({
  templateName: Name,
  sandboxId: SandboxId.nullish(),
  sandboxIdleTimeoutSeconds: IdleSeconds,
  sandboxIdleTimeoutInSeconds: IdleSeconds,
  nasConfig: Mounts,
  ossMountConfig: Mounts,
  polarFsConfig: Mounts,
});
export type AgentrunCreateSandbox = z.output<typeof AgentrunCreateSandbox>;

export const AgentrunSandboxStatus = z.enum(["CREATING", "READY", "PAUSED", "TERMINATED"]);
export type AgentrunSandboxStatus = z.output<typeof AgentrunSandboxStatus>;

/** `metadata` holds what the caller hung on the sandbox and, under `fcSessionDetails`, the session behind it. */
export const AgentrunSandbox = z.object({
  sandboxId: z.string(),
  sandboxArn: z.string(),
  templateId: z.string(),
  templateName: z.string(),
  templateType: z.string(),
  status: AgentrunSandboxStatus,
  sandboxIdleTimeoutSeconds: z.int(),
  sandboxIdleTimeoutInSeconds: z.int(),
  createdAt: z.string(),
  lastUpdatedAt: z.string(),
  endedAt: z.string().optional(),
  metadata: z.record(z.string(), z.unknown()),
});
export type AgentrunSandbox = z.output<typeof AgentrunSandbox>;

export const AgentrunSandboxQuery = z.object({
  maxResults: Count(100).default(10),
  nextToken: z.string().optional(),
  sandboxId: z.string().optional(),
  status: z.string().optional(),
  templateName: z.string().optional(),
  templateType: z.string().optional(),
});
export type AgentrunSandboxQuery = z.output<typeof AgentrunSandboxQuery>;

const params = z.object({ sandboxId: z.string() });
const one = envelope(AgentrunSandbox);
const path = `${AGENTRUN}/sandboxes/:sandboxId` as const;
const creation = [
  "invalid_request",
  "template_not_found",
  "already_exists",
  "quota_exceeded",
  "engine_unavailable",
  "not_supported",
] as const;

export const agentrunCreateSandbox = operation({
  id: "agentrunCreateSandbox",
  method: "post",
  path: `${AGENTRUN}/sandboxes`,
  summary: "AgentRun, control plane: make a sandbox",
  body: AgentrunCreateSandbox,
  status: 200,
  returns: one,
  errors: creation,
});

export const agentrunListSandboxes = operation({
  id: "agentrunListSandboxes",
  method: "get",
  path: `${AGENTRUN}/sandboxes`,
  summary: "AgentRun: list the sandboxes that nobody deleted, newest first",
  query: AgentrunSandboxQuery,
  status: 200,
  returns: envelope(z.object({ items: z.array(AgentrunSandbox), nextToken: z.string().optional() })),
  errors: ["invalid_request"],
});

export const agentrunGetSandbox = operation({
  id: "agentrunGetSandbox",
  method: "get",
  path,
  summary: "AgentRun, control plane: read a sandbox",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found"],
});

export const agentrunDeleteSandbox = operation({
  id: "agentrunDeleteSandbox",
  method: "delete",
  path,
  summary: "AgentRun, control plane: end a sandbox and take it off the list; deleting twice is one deletion",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found"],
});

export const agentrunStopSandbox = operation({
  id: "agentrunStopSandbox",
  method: "post",
  path: `${path}/stop`,
  summary: "AgentRun, control plane: end a sandbox; it stays on the list, stopping twice is one stop",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found"],
});

export const agentrunPauseSandbox = operation({
  id: "agentrunPauseSandbox",
  method: "put",
  path: `${path}/pause`,
  summary: "AgentRun: stop a sandbox where it stands; pausing twice is one pause",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready"],
});

export const agentrunResumeSandbox = operation({
  id: "agentrunResumeSandbox",
  method: "put",
  path: `${path}/resume`,
  summary: "AgentRun: let a paused sandbox go on where it stood; resuming twice is one resume",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready"],
});

export const agentrunDataCreateSandbox = operation({
  id: "agentrunDataCreateSandbox",
  method: "post",
  path: "/sandboxes",
  summary: "AgentRun, data plane: make a sandbox",
  body: AgentrunCreateSandbox,
  status: 200,
  returns: one,
  errors: creation,
});

export const agentrunDataGetSandbox = operation({
  id: "agentrunDataGetSandbox",
  method: "get",
  path: "/sandboxes/:sandboxId",
  summary: "AgentRun, data plane: read a sandbox",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found"],
});

export const agentrunDataDeleteSandbox = operation({
  id: "agentrunDataDeleteSandbox",
  method: "delete",
  path: "/sandboxes/:sandboxId",
  summary: "AgentRun, data plane: end a sandbox and take it off the list; a second time there is none",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found"],
});

export const agentrunDataStopSandbox = operation({
  id: "agentrunDataStopSandbox",
  method: "post",
  path: "/sandboxes/:sandboxId/stop",
  summary: "AgentRun, data plane: end a sandbox; stopping twice is one stop",
  params,
  status: 200,
  returns: one,
  errors: ["sandbox_not_found"],
});
