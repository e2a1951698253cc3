import * as z from "zod";
import { AGENTRUN, envelope, PageOf } from "./agentrun.ts";
import { Name } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";
import { Environment } from "./template.ts";

const IDLE_MIN_S = LIMITS.idleMinMs / 1000;
const IDLE_MAX_S = LIMITS.idleMaxMs / 1000;

/** How long a sandbox may be idle, in seconds. AgentRun's clients send null for what they leave out. */
export const IdleSeconds = z.number().int().min(IDLE_MIN_S).max(IDLE_MAX_S).nullish();

const LifeSeconds = z
  .number()
  .int()
  .min(1)
  .max(LIMITS.lifeDefaultMs / 1000)
  .nullish();
/** Of AgentRun's warm pool only its least size is acted on; what else it says is kept. */
const ScalingSettings = z.looseObject({ minInstances: z.number().int().min(0).max(LIMITS.preparedMax).nullish() }).nullish();

const Settings = z.record(z.string(), z.unknown()).nullish();

/** What AgentRun can say of a template and Cleanroom does not act on yet: kept beside it and answered as it was sent. */
export const TemplateExtras = z.object({
  networkConfiguration: Settings,
  executionRoleArn: z.string().nullish(),
  templateConfiguration: Settings,
  containerConfiguration: Settings,
  credentialConfiguration: Settings,
  logConfiguration: Settings,
  armsConfiguration: Settings,
  ossConfiguration: z.array(z.record(z.string(), z.unknown())).nullish(),
  nasConfig: Settings,
  scalingConfig: ScalingSettings,
  allowAnonymousManage: z.boolean().nullish(),
  enableAgent: z.boolean().nullish(),
  enablePreStop: z.boolean().nullish(),
  preStopTimeoutInSeconds: z.number().nullish(),
  workspaceId: z.string().nullish(),
});
export type TemplateExtras = z.output<typeof TemplateExtras>;

const changeable = {
  cpu: z.number().min(0.05).max(16).nullish(),
  memory: z.number().int().min(256).max(32_768).nullish(),
  description: z.string().max(1000).nullish(),
  environmentVariables: Environment.nullish(),
  sandboxIdleTimeoutInSeconds: IdleSeconds,
  sandboxTTLInSeconds: LifeSeconds,
  ...TemplateExtras.shape,
};

/** `cpu` in cores, `memory` and `diskSize` in MiB. */
export const AgentrunCreateTemplate = z.object({
  templateName: Name,
  templateType: z.string().min(1),
  diskSize: z.literal([512, 10_240], "must be 512 or 10240").nullish(),
  ...changeable,
});
export type AgentrunCreateTemplate = z.output<typeof AgentrunCreateTemplate>;

export const AgentrunUpdateTemplate = z.object(changeable);
export type AgentrunUpdateTemplate = z.output<typeof AgentrunUpdateTemplate>;

/** Its two times in seconds are text, as AgentRun's generated clients declare them. */
export const AgentrunTemplate = TemplateExtras.extend({
  templateId: z.string(),
  templateArn: z.string(),
  templateName: z.string(),
  templateType: z.string(),
  templateVersion: z.string(),
  resourceName: z.string(),
  description: z.string(),
  cpu: z.number(),
  memory: z.int(),
  diskSize: z.int(),
  environmentVariables: z.record(z.string(), z.string()),
  sandboxIdleTimeoutInSeconds: z.string(),
  sandboxTTLInSeconds: z.string(),
  mcpOptions: z.object({ enabledTools: z.array(z.string()), transport: z.literal("streamable-http") }),
  mcpState: z.object({ accessEndpoint: z.string(), status: z.enum(["READY", "STOPPED"]), statusReason: z.string() }),
  /** Only where one template is read. */
  scalingStatus: z.object({ currentInstances: z.int(), minInstances: z.int(), targetInstances: z.int() }).optional(),
  status: z.enum(["CREATING", "READY", "CREATE_FAILED", "UPDATING", "UPDATE_FAILED", "DELETING", "DELETE_FAILED"]),
  statusReason: z.string(),
  createdAt: z.string(),
  lastUpdatedAt: z.string(),
});
export type AgentrunTemplate = z.output<typeof AgentrunTemplate>;

/** A page by number. Other filters than these are tolerated and ignored, as unknown fields are. */
export const AgentrunTemplateQuery = z.object({
  pageNumber: z.coerce.number().int().min(1).default(1),
  pageSize: z.coerce.number().int().min(1).max(100).default(10),
  status: z.string().optional(),
  templateName: z.string().optional(),
  templateType: z.string().optional(),
  workspaceId: z.string().optional(),
});
export type AgentrunTemplateQuery = z.output<typeof AgentrunTemplateQuery>;

export const ActivateMcp = z.object({
  enabledTools: z.array(z.string().max(64)).max(LIMITS.mcpToolsListed).nullish(),
  transport: z.literal("streamable-http", "must be streamable-http").nullish(),
});

const params = z.object({ templateName: z.string() });
const path = `${AGENTRUN}/templates/:templateName` as const;

export const agentrunCreateTemplate = operation({
  id: "agentrunCreateTemplate",
  method: "post",
  path: `${AGENTRUN}/templates`,
  summary: "AgentRun: make a template; it is ready at once",
  body: AgentrunCreateTemplate,
  status: 200,
  returns: envelope(AgentrunTemplate),
  errors: ["invalid_request", "already_exists", "image_not_found", "image_not_valid"],
});

export const agentrunListTemplates = operation({
  id: "agentrunListTemplates",
  method: "get",
  path: `${AGENTRUN}/templates`,
  summary: "AgentRun: list the templates, newest first, by page number",
  query: AgentrunTemplateQuery,
  status: 200,
  returns: envelope(PageOf(AgentrunTemplate)),
  errors: ["invalid_request"],
});

export const agentrunGetTemplate = operation({
  id: "agentrunGetTemplate",
  method: "get",
  path,
  summary: "AgentRun: read a template",
  params,
  status: 200,
  returns: envelope(AgentrunTemplate),
  errors: ["template_not_found"],
});

export const agentrunUpdateTemplate = operation({
  id: "agentrunUpdateTemplate",
  method: "put",
  path,
  summary: "AgentRun: change a template; fields left out stay as they are",
  params,
  body: AgentrunUpdateTemplate,
  status: 200,
  returns: envelope(AgentrunTemplate),
  errors: ["template_not_found", "invalid_request", "forbidden", "image_not_found", "image_not_valid"],
});

export const agentrunDeleteTemplate = operation({
  id: "agentrunDeleteTemplate",
  method: "delete",
  path,
  summary: "AgentRun: delete a template; answers what it was",
  params,
  status: 200,
  returns: envelope(AgentrunTemplate),
  errors: ["template_not_found", "template_in_use", "forbidden"],
});

export const agentrunActivateMcp = operation({
  id: "agentrunActivateMcp",
  method: "patch",
  path: `${path}/mcp/activate`,
  summary: "AgentRun: offer a template's tools by MCP; without enabledTools, or with none in it, all of them",
  params,
  body: ActivateMcp,
  status: 200,
  returns: envelope(AgentrunTemplate),
  errors: ["template_not_found", "invalid_request", "conflict"],
});

export const agentrunStopMcp = operation({
  id: "agentrunStopMcp",
  method: "patch",
  path: `${path}/mcp/stop`,
  summary: "AgentRun: withdraw a template's MCP tools",
  params,
  status: 200,
  returns: envelope(AgentrunTemplate),
  errors: ["template_not_found", "conflict"],
});
