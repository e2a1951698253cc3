import { MCP_TOOLS } from "#contract/mcp.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Template, TemplateType } from "#contract/template.ts";
import type { Platform, Row } from "./ports.ts";

const TABLE = "mcp-templates";

type ToolKind = keyof typeof MCP_TOOLS;

const KINDS: Record<TemplateType, readonly ToolKind[]> = {
  CodeInterpreter: ["code"],
  Browser: ["code"],
  AllInOne: ["code"],
  Desktop: ["code"],
  CustomImage: [],
};

/** What a template's owner set; without a row the server is active and offers everything. */
export interface McpSettings {
  active: boolean;
  enabledTools?: readonly string[];
}

/** `forCreatedAt` names the template that it belongs to: one of the same name that comes later is another. */
interface SettingsRow extends McpSettings {
  forCreatedAt: string;
}

type Owned = Pick<Template, "name" | "createdAt" | "type">;

/** All tools that sandboxes of a type can serve, in the order in which they are listed. */
export function toolsOf(type: TemplateType): readonly string[] {
  return KINDS[type].flatMap((kind): readonly string[] => MCP_TOOLS[kind]);
}

/** The tools that a template's server offers. */
export function offeredTools(template: Owned, { enabledTools }: McpSettings): readonly string[] {
  const all = toolsOf(template.type);
  return enabledTools ? all.filter((name) => enabledTools.includes(name)) : all;
}

/** Reads a template's settings as they were at most a second ago. */
export async function readMcpSettings(platform: Platform, project: Pick<Project, "id">, template: Owned): Promise<McpSettings> {
  return settingsOf(await platform.recent.get<SettingsRow>(TABLE, keyOf(project, template.name)), template);
}

/** The same, refused when the server is stopped. */
export async function activeMcp(platform: Platform, project: Pick<Project, "id">, template: Owned): Promise<McpSettings> {
  const settings = await readMcpSettings(platform, project, template);
  if (settings.active) return settings;
  const next = `Activate it: PATCH /api/templates/${template.name}/mcp with {"active": true}.`;
  throw new Problem("mcp_stopped", { detail: `The MCP server of template ${template.name} is stopped`, next, template: template.name });
}

/** Changes what is given and leaves the rest; null offers all tools. A tool that the template does not have is refused by its name. */
export async function changeMcpSettings(
  platform: Platform,
  project: Pick<Project, "id">,
  template: Owned,
  change: { active?: boolean | undefined; enabledTools?: readonly string[] | null | undefined },
): Promise<McpSettings> {
  refuseUnknown(template, change.enabledTools ?? []);
  const key = keyOf(project, template.name);
  const row = await platform.tables.get<SettingsRow>(TABLE, key);
  const before = settingsOf(row, template);
  const enabledTools = change.enabledTools === undefined ? before.enabledTools : (change.enabledTools ?? undefined);
  const settings: McpSettings = { active: change.active ?? before.active, ...(enabledTools ? { enabledTools } : {}) };
  const value: SettingsRow = { ...settings, forCreatedAt: template.createdAt };
  await platform.tables.put(TABLE, key, value, { ifVersion: row?.version ?? "absent" });
  return settings;
}

/** Forgets the settings of a template that is gone. */
export async function forgetMcpSettings(platform: Platform, project: Pick<Project, "id">, name: string): Promise<void> {
  await platform.tables.remove(TABLE, keyOf(project, name));
}

function settingsOf(row: Row<SettingsRow> | undefined, template: Owned): McpSettings {
  if (row?.value.forCreatedAt !== template.createdAt) return { active: true };
  const { active, enabledTools } = row.value;
  return { active, ...(enabledTools ? { enabledTools } : {}) };
}

function refuseUnknown(template: Owned, names: readonly string[]): void {
  const supported = toolsOf(template.type);
  const unknown = names.filter((name) => !supported.includes(name));
  if (unknown.length === 0) return;
  const problem = `a template of type ${template.type} has no tool ${unknown.join(", ")}`;
  throw new Problem("invalid_request", {
    detail: `body.enabledTools: ${problem}`,
    issues: [{ field: "body.enabledTools", problem }],
    supported,
  });
}

function keyOf(project: Pick<Project, "id">, name: string): string {
  return `${project.id}/${name}`;
}
