import { createHash } from "node:crypto";
import type {
  AgentrunCreateTemplate,
  AgentrunTemplate,
  AgentrunTemplateQuery,
  AgentrunUpdateTemplate,
  TemplateExtras,
} from "#contract/agentrun-template.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Isolation } from "#contract/sandbox.ts";
import { ContainerInput, type Template, TemplateType, type UpdateTemplate } from "#contract/template.ts";
import type { Limits } from "#core/limits.ts";
import { changeMcpSettings, type McpSettings, offeredTools, readMcpSettings } from "#core/mcp.ts";
import type { Platform } from "#core/ports.ts";
import { createTemplate, deleteTemplate, findTemplate, getTemplate, listTemplates, updateTemplate } from "#core/templates.ts";
import { mcpEndpoint } from "#gateway/mcp.ts";
import { moment, naming } from "./envelope.ts";
import { announceExtras, changeExtras, extrasOf, forgetExtras, readExtras } from "./template-extras.ts";

/** What AgentRun's dialect stands on, and the account and region that its resource names speak of. */
export interface Agentrun {
  platform: Platform;
  limits: Limits;
  region: string;
  accountId: string;
  isolation: Isolation;
  publicOrigin: string;
}

/** What AgentRun gives a template of a type that names no size of its own. */
const DEFAULT_SIZES: Readonly<Partial<Record<TemplateType, { cpu: number; memory: number; diskSize: 512 | 10_240 }>>> = {
  CodeInterpreter: { cpu: 2, memory: 4096, diskSize: 512 },
  Browser: { cpu: 2, memory: 4096, diskSize: 10_240 },
  AllInOne: { cpu: 4, memory: 8192, diskSize: 10_240 },
  // A type of ours: AgentRun has its desktop as an image.
  Desktop: { cpu: 4, memory: 8192, diskSize: 10_240 },
  CustomImage: { cpu: 2, memory: 4096, diskSize: 512 },
};
const TEMPLATES_MAX = 10_000;

/** Makes a template of AgentRun's fields; those that the core has no place for are written first. */
export async function makeTemplate(agentrun: Agentrun, project: Project, body: AgentrunCreateTemplate): Promise<AgentrunTemplate> {
  const { platform, limits } = agentrun;
  const name = body.templateName;
  const type = servedType(body.templateType);
  const container = containerOf(body.containerConfiguration, type === "CustomImage");
  const sizes = DEFAULT_SIZES[type];
  await refuseExisting(agentrun, project, name);
  const extras = extrasOf(body);
  const takeBack = await announceExtras(platform, project, name, extras);
  try {
    const size = {
      cpu: body.cpu ?? sizes?.cpu,
      memoryMiB: body.memory ?? sizes?.memory,
      diskMiB: body.diskSize ?? sizes?.diskSize,
    };
    const template = await createTemplate(platform, limits, project, { name, type, ...changeOf(body), ...size, ...container });
    return await answerOf(agentrun, project, template, extras);
  } catch (error) {
    await takeBack();
    throw error;
  }
}

export async function readTemplate(agentrun: Agentrun, project: Project, name: string): Promise<AgentrunTemplate> {
  const template = await naming("control", "Template", name, getTemplate(agentrun.platform, agentrun.limits, project, name));
  const answer = await answerOf(agentrun, project, template, await readExtras(agentrun.platform, project, template));
  const { ready, wanted } = template.prepared;
  return { ...answer, scalingStatus: { currentInstances: ready, minInstances: template.scaling.minPrepared, targetInstances: wanted } };
}

/** A page by number, newest first. */
export async function pageTemplates(agentrun: Agentrun, project: Project, query: AgentrunTemplateQuery) {
  const { pageNumber, pageSize } = query;
  const all = (await allTemplates(agentrun, project)).filter((template) => matches(template, query));
  all.sort((a, b) => (a.createdAt === b.createdAt ? (a.name < b.name ? -1 : 1) : a.createdAt < b.createdAt ? 1 : -1));
  const shown = all.slice((pageNumber - 1) * pageSize, pageNumber * pageSize);
  const items = await Promise.all(
    shown.map(async (template) => answerOf(agentrun, project, template, await readExtras(agentrun.platform, project, template))),
  );
  return { items, pageNumber, pageSize, total: all.length };
}

export async function changeTemplate(
  agentrun: Agentrun,
  project: Project,
  name: string,
  body: AgentrunUpdateTemplate,
): Promise<AgentrunTemplate> {
  const { platform, limits } = agentrun;
  const { type } = await naming("control", "Template", name, getTemplate(platform, limits, project, name));
  const change = {
    ...changeOf(body),
    ...containerOf(body.containerConfiguration, type === "CustomImage" && isGiven(body.containerConfiguration)),
  };
  const template = await naming("control", "Template", name, updateTemplate(platform, limits, project, name, change));
  return answerOf(agentrun, project, template, await changeExtras(platform, project, template, extrasOf(body)));
}

/** Activates or stops a template's MCP server; the built-in template's too, for the project that asks. */
export async function changeMcp(
  agentrun: Agentrun,
  project: Project,
  name: string,
  change: { active: boolean; enabledTools?: readonly string[] | null },
): Promise<AgentrunTemplate> {
  const { platform, limits } = agentrun;
  const { template } = await naming("control", "Template", name, findTemplate(platform, limits, project, name));
  await changeMcpSettings(platform, project, template, change);
  return answerOf(agentrun, project, template, await readExtras(platform, project, template));
}

/** Deletes a template and answers what it was. Its extras go last: what a crash leaves of them is replaced by the next of its name. */
export async function removeTemplate(agentrun: Agentrun, project: Project, name: string): Promise<AgentrunTemplate> {
  const was = await readTemplate(agentrun, project, name);
  await naming("control", "Template", name, deleteTemplate(agentrun.platform, project, name));
  await forgetExtras(agentrun.platform, project, name);
  return { ...was, status: "DELETING" };
}

async function answerOf(agentrun: Agentrun, project: Project, template: Template, extras: TemplateExtras): Promise<AgentrunTemplate> {
  return templateAnswer(agentrun, project, template, extras, await readMcpSettings(agentrun.platform, project, template));
}

/** A template in AgentRun's fields. */
function templateAnswer(
  agentrun: Agentrun,
  project: Project,
  template: Template,
  extras: TemplateExtras,
  mcp: McpSettings,
): AgentrunTemplate {
  const uuid = templateUuid(project, template.name);
  return {
    ...extras,
    scalingConfig: { ...extras.scalingConfig, minInstances: template.scaling.minPrepared },
    templateId: uuid,
    templateArn: `acs:agentrun:${agentrun.region}:${agentrun.accountId}:templates/${uuid}`,
    templateName: template.name,
    templateType: template.type,
    templateVersion: String(template.version),
    resourceName: `agentrun-${uuid}`,
    description: template.description,
    cpu: template.cpu,
    memory: template.memoryMiB,
    diskSize: template.diskMiB,
    environmentVariables: template.environment,
    sandboxIdleTimeoutInSeconds: String(Math.round(template.idleTimeoutMs / 1000)),
    sandboxTTLInSeconds: String(Math.round(template.lifetimeMs / 1000)),
    mcpOptions: { enabledTools: [...offeredTools(template, mcp)], transport: "streamable-http" },
    mcpState: { accessEndpoint: mcpEndpoint(agentrun, template.name), status: mcp.active ? "READY" : "STOPPED", statusReason: "" },
    status: "READY",
    statusReason: reasonOf(extras),
    createdAt: moment(template.createdAt),
    lastUpdatedAt: moment(template.updatedAt),
  };
}

/** A template's id in AgentRun's form: always the same for one name in one project. */
export function templateUuid(project: Pick<Project, "id">, name: string): string {
  const hex = createHash("sha256").update(`agentrun-template/${project.id}/${name}`).digest("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join("-");
}

// A setting that is kept but does nothing must not look as if it did.
function reasonOf(extras: TemplateExtras): string {
  const mode = extras.networkConfiguration?.["networkMode"];
  const notes = [
    typeof mode === "string" ? `networkMode ${mode} is recorded; sandboxes have no network yet` : "",
    extras.ossConfiguration?.length || extras.nasConfig ? "mounts are recorded; none is made yet" : "",
    hasEntries(extras.scalingConfig?.["scheduledPolicies"]) ? "scheduledPolicies are recorded; instances are prepared by demand" : "",
    extras.containerConfiguration?.["registryConfig"] || extras.containerConfiguration?.["acrInstanceId"]
      ? "registries are recorded; images are read from this machine"
      : "",
    extras.allowAnonymousManage ? "allowAnonymousManage is recorded; every request needs a credential" : "",
  ];
  return notes.filter((note) => note !== "").join("; ");
}

function changeOf(body: AgentrunUpdateTemplate): UpdateTemplate {
  const { cpu, memory, description, environmentVariables, sandboxIdleTimeoutInSeconds: idle, sandboxTTLInSeconds: life } = body;
  const minPrepared = body.scalingConfig?.minInstances;
  return {
    ...(isGiven(cpu) ? { cpu } : {}),
    ...(isGiven(memory) ? { memoryMiB: memory } : {}),
    ...(isGiven(description) ? { description } : {}),
    ...(isGiven(environmentVariables) ? { environment: environmentVariables } : {}),
    ...(isGiven(idle) ? { idleTimeoutMs: idle * 1000 } : {}),
    ...(isGiven(life) ? { lifetimeMs: life * 1000 } : {}),
    ...(isGiven(minPrepared) ? { scaling: { minPrepared } } : {}),
  };
}

async function refuseExisting(agentrun: Agentrun, project: Project, name: string): Promise<void> {
  try {
    await getTemplate(agentrun.platform, agentrun.limits, project, name);
  } catch (error) {
    if (error instanceof Problem && error.code === "template_not_found") return;
    throw error;
  }
  throw new Problem("already_exists", { detail: `Template ${name} already exists` });
}

async function allTemplates(agentrun: Agentrun, project: Project): Promise<Template[]> {
  const all: Template[] = [];
  let after: string | undefined;
  do {
    const page = await listTemplates(agentrun.platform, agentrun.limits, project, { limit: LIMITS.pageMax, after });
    all.push(...page.items);
    after = page.next;
  } while (after !== undefined && all.length < TEMPLATES_MAX);
  return all;
}

function matches(template: Template, query: AgentrunTemplateQuery): boolean {
  return (
    (query.status === undefined || query.status === "READY") &&
    (query.templateName === undefined || template.name.includes(query.templateName)) &&
    (query.templateType === undefined || query.templateType === template.type)
  );
}

function servedType(type: string): TemplateType {
  const found = TemplateType.safeParse(type);
  if (found.success) return found.data;
  const supported = TemplateType.options;
  const detail = `body.templateType: ${type} is not supported; the types are ${supported.join(", ")}`;
  throw new Problem("invalid_request", { detail, supported });
}

function hasEntries(list: unknown): boolean {
  return Array.isArray(list) && list.length > 0;
}

/** What of a container's settings is acted on: for a template of images all that says what runs, for others nothing. */
function containerOf(settings: TemplateExtras["containerConfiguration"], isWanted: boolean): { container?: ContainerInput } {
  if (!isWanted) return {};
  const { image, command, port } = settings ?? {};
  const given = Object.entries({ image, command, port }).filter(([, value]) => isGiven(value));
  const result = ContainerInput.safeParse(Object.fromEntries(given));
  if (result.success) return { container: result.data };
  const issues = result.error.issues.map((issue) => ({
    field: ["body.containerConfiguration", ...issue.path].join("."),
    problem: issue.message,
  }));
  throw new Problem("invalid_request", { detail: issues.map(({ field, problem }) => `${field}: ${problem}`).join("; "), issues });
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}
