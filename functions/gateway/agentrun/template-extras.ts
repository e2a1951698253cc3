import { TemplateExtras } from "#contract/agentrun-template.ts";
import type { Project } from "#contract/project.ts";
import { Problem } from "#contract/problem.ts";
import type { Template } from "#contract/template.ts";
import type { Platform, Row } from "#core/ports.ts";

const TABLE = "agentrun_templates";
const GRACE_MS = 10_000;

/** What AgentRun says of a template beyond what the core keeps. `forMs` is when the template that it belongs to was begun. */
interface ExtrasRow {
  forMs: number;
  extras: TemplateExtras;
}

/** Of what a caller sent, the part that is kept beside the template; what is null or absent is not kept. */
export function extrasOf(body: Partial<TemplateExtras>): TemplateExtras {
  const kept = Object.keys(TemplateExtras.shape).map((name) => [name, body[name as keyof TemplateExtras]]);
  return Object.fromEntries(kept.filter(([, value]) => value !== undefined && value !== null)) as TemplateExtras;
}

/**
 * Writes the extras of a template that is about to be made, and answers what takes them back should that fail. A row that
 * is there already belongs to a template, to another maker at work, or to a crash; only the last has
 * no template for ten seconds, and is replaced.
 */
export async function announceExtras(
  platform: Platform,
  project: Project,
  name: string,
  extras: TemplateExtras,
): Promise<() => Promise<void>> {
  const now = platform.clock.now();
  const old = await platform.tables.get<ExtrasRow>(TABLE, keyOf(project, name));
  if (old && now - old.value.forMs < GRACE_MS)
    throw new Problem("conflict", { detail: `Template ${name} is being made by another request` });
  const row = await platform.tables.put<ExtrasRow>(
    TABLE,
    keyOf(project, name),
    { forMs: now, extras },
    { ifVersion: old?.version ?? "absent" },
  );
  return () => platform.tables.remove(TABLE, row.key, { ifVersion: row.version });
}

/** The extras of a template that exists; none when it was made by another dialect. */
export async function readExtras(platform: Platform, project: Project, template: Template): Promise<TemplateExtras> {
  const row = await platform.tables.get<ExtrasRow>(TABLE, keyOf(project, template.name));
  return row && belongs(row, template) ? row.value.extras : extrasOf({});
}

/** Replaces those extras that a caller sent and leaves the others. */
export async function changeExtras(
  platform: Platform,
  project: Project,
  template: Template,
  change: TemplateExtras,
): Promise<TemplateExtras> {
  const row = await platform.tables.get<ExtrasRow>(TABLE, keyOf(project, template.name));
  const old = row && belongs(row, template) ? row.value.extras : extrasOf({});
  if (Object.keys(change).length === 0) return old;
  const extras = { ...old, ...change };
  await platform.tables.put<ExtrasRow>(
    TABLE,
    keyOf(project, template.name),
    { forMs: Date.parse(template.createdAt), extras },
    { ifVersion: row?.version ?? "absent" },
  );
  return extras;
}

/** Forgets the extras of a template that is gone. */
export async function forgetExtras(platform: Platform, project: Project, name: string): Promise<void> {
  await platform.tables.remove(TABLE, keyOf(project, name));
}

// A row that a template of the same name left behind is not this one's.
function belongs(row: Row<ExtrasRow>, template: Template): boolean {
  const age = Date.parse(template.createdAt) - row.value.forMs;
  return age >= 0 && age < GRACE_MS;
}

function keyOf(project: Pick<Project, "id">, name: string): string {
  return `${project.id}/${name}`;
}
