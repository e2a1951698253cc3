import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import {
  BROWSER_TYPES,
  type CreateTemplate,
  type Template,
  type TemplateNow,
  type TemplateType,
  type UpdateTemplate,
} from "#contract/template.ts";
import { BUILT_IN_NAMES, builtIn, CODE_INTERPRETER, defaultsOf, isBuiltIn } from "./built-in.ts";
import { checkTimes, type Limits, scalingOf } from "./limits.ts";
import { forgetMcpSettings } from "./mcp.ts";
import type { FunctionSpec, Platform, Row } from "./ports.ts";
import { LIVING, type LivingRow, unlessConflict } from "./sandbox-rows.ts";

export const TEMPLATES = "templates";
const DEFAULT_POLICY = { autoPause: false, autoResume: true, browserPages: [] };
/** Beside every project's: what is under it belongs to all. No project's id is like it. */
const EVERYBODY = { id: "@" } as const;
const PAGE = 1000;

/** A template and the function that its sandboxes are sessions of. */
export interface TemplateRow {
  template: Template;
  functionName: string;
  /** The version that the engine certainly has; less than the template's after a crash or during a change. */
  definedVersion: number;
}

/** Tells the engine how many instances of the built-in template wait: its function is deployed, not defined. */
export async function scaleBuiltIn(platform: Platform, limits: Limits): Promise<void> {
  await platform.engine.scale(limits.workspaceFunction, limits.scaling);
}

/** The template of that name, built-in or the project's own, with its function. */
export async function findTemplate(platform: Platform, limits: Limits, project: Pick<Project, "id">, name: string): Promise<TemplateRow> {
  const row = isBuiltIn(name)
    ? await builtInRow(platform, limits, name)
    : await defineLatest(platform, await currentTemplate(platform, limits, project, name));
  return row.value;
}

/**
 * A built-in template and its function. The model of all functions is deployed; the others are defined when they are
 * first used, and again when this release or the operator has made something else of them.
 */
async function builtInRow(platform: Platform, limits: Limits, name: string): Promise<Pick<Row<TemplateRow>, "value">> {
  const { template, functionName } = builtInTemplate(limits, name);
  if (name === CODE_INTERPRETER) return { value: { template, functionName, definedVersion: 1 } };
  const key = templateKey(EVERYBODY, name);
  const known = await platform.tables.get<TemplateRow>(TEMPLATES, key);
  if (known && isDeepStrictEqual(functionSpec(known.value), functionSpec({ template, functionName }))) {
    const { value } = await defineLatest(platform, known);
    return { value: { ...value, template } };
  }
  const version = (known?.value.template.version ?? 0) + 1;
  const value: TemplateRow = { template: { ...template, version }, functionName, definedVersion: 0 };
  const written = await unlessConflict(platform.tables.put(TEMPLATES, key, value, { ifVersion: known?.version ?? "absent" }));
  return written ? defineLatest(platform, written) : builtInRow(platform, limits, name);
}

function builtInTemplate(limits: Limits, name: string): Omit<TemplateRow, "definedVersion"> {
  const template = builtIn(limits, name);
  if (!template) throw new Problem("template_not_found", { detail: `Template ${name} not found`, template: name });
  const functionName = name === CODE_INTERPRETER ? limits.workspaceFunction : functionNameOf(limits, EVERYBODY, name);
  return { template, functionName };
}

/** Makes a template and the function behind it; the row is written first, so that the name is taken once. */
export async function createTemplate(platform: Platform, limits: Limits, project: Project, spec: CreateTemplate): Promise<Template> {
  refuseContainer(spec.type, spec.container);
  refuseBrowserPages(spec.type, spec);
  checkTimes(limits, spec);
  if (isBuiltIn(spec.name)) throw templateExists(spec.name);
  const at = new Date(platform.clock.now()).toISOString();
  const { name, description = "", environment = {} } = spec;
  const defaults = defaultsOf(limits, spec.type);
  const template: Template = {
    ...defaults,
    ...given(spec),
    description,
    environment,
    scaling: scalingOf(defaults.scaling, spec.scaling),
    builtIn: false,
    version: 1,
    createdAt: at,
    updatedAt: at,
  };
  const row: TemplateRow = { template, functionName: functionNameOf(limits, project, name), definedVersion: 0 };
  const written = await unlessConflict(platform.tables.put(TEMPLATES, templateKey(project, name), row, { ifVersion: "absent" }));
  if (!written) throw templateExists(name);
  try {
    await defineLatest(platform, written);
  } catch (error) {
    await unlessConflict(platform.tables.remove(TEMPLATES, written.key, { ifVersion: written.version }));
    throw error;
  }
  return template;
}

export async function getTemplate(platform: Platform, limits: Limits, project: Project, name: string): Promise<TemplateNow> {
  const row = isBuiltIn(name) ? builtInTemplate(limits, name) : (await currentTemplate(platform, limits, project, name)).value;
  return { ...row.template, prepared: await platform.engine.prepared(row.functionName) };
}

/** A page of the project's templates by name, the built-in ones in their places among them. */
export async function listTemplates(
  platform: Platform,
  limits: Limits,
  project: Project,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: Template[]; next?: string }> {
  const prefix = `${project.id}/`;
  const after = query.after === undefined ? {} : { after: prefix + query.after };
  const rows = await platform.tables.range<TemplateRow>(TEMPLATES, prefix, { limit: query.limit + 1, ...after });
  const found = rows.map((row) => completed(limits, row.value).template);
  const { after: start = "" } = query;
  for (const name of BUILT_IN_NAMES) if (start < name) found.push(builtInTemplate(limits, name).template);
  found.sort((a, b) => (a.name < b.name ? -1 : 1));
  const items = found.slice(0, query.limit);
  const last = items.at(-1);
  return found.length > items.length && last ? { items, next: last.name } : { items };
}

/** Changes a template for the sandboxes to come; those that exist keep what they were made with. */
export async function updateTemplate(
  platform: Platform,
  limits: Limits,
  project: Project,
  name: string,
  change: UpdateTemplate,
): Promise<Template> {
  refuseBuiltIn(name);
  checkTimes(limits, change);
  const row = await currentTemplate(platform, limits, project, name);
  if (change.container) refuseContainer(row.value.template.type, change.container);
  refuseBrowserPages(row.value.template.type, change);
  const template: Template = {
    ...row.value.template,
    ...given(change),
    scaling: scalingOf(row.value.template.scaling, change.scaling),
    version: row.value.template.version + 1,
    updatedAt: new Date(platform.clock.now()).toISOString(),
  };
  const changed: TemplateRow = { ...row.value, template };
  const written = await platform.tables.put(TEMPLATES, row.key, changed, { ifVersion: row.version });
  try {
    await defineLatest(platform, written);
  } catch (error) {
    // What the engine refuses is taken back; what it was told last is not certain any more.
    await unlessConflict(platform.tables.put(TEMPLATES, row.key, { ...row.value, definedVersion: 0 }, { ifVersion: written.version }));
    throw error;
  }
  return template;
}

/**
 * Deletes a template that no living sandbox uses. A sandbox is announced before it looks at its template for the last
 * time, and a template is gone before its sandboxes are counted for the last time: one of the two always sees the other.
 */
export async function deleteTemplate(platform: Platform, project: Project, name: string): Promise<void> {
  refuseBuiltIn(name);
  const row = await ownTemplate(platform, project, name);
  await refuseInUse(platform, project, name);
  await platform.tables.remove(TEMPLATES, row.key, { ifVersion: row.version });
  try {
    await refuseInUse(platform, project, name);
  } catch (error) {
    await unlessConflict(platform.tables.put(TEMPLATES, row.key, row.value, { ifVersion: "absent" }));
    throw error;
  }
  await forgetMcpSettings(platform, project, name);
  await platform.engine.undefine(row.value.functionName);
}

async function ownTemplate(platform: Platform, project: Pick<Project, "id">, name: string): Promise<Row<TemplateRow>> {
  const row = await platform.tables.get<TemplateRow>(TEMPLATES, templateKey(project, name));
  if (!row) throw new Problem("template_not_found", { detail: `Template ${name} not found`, template: name });
  return row;
}

async function currentTemplate(platform: Platform, limits: Limits, project: Pick<Project, "id">, name: string): Promise<Row<TemplateRow>> {
  const row = await ownTemplate(platform, project, name);
  return { ...row, value: completed(limits, row.value) };
}

/** A row of before templates had a scaling gets the operator's, which the engine is yet to be told; one of before pauses the defaults. */
function completed(limits: Limits, row: TemplateRow): TemplateRow {
  const template: Omit<Template, "scaling"> & Partial<Template> = { ...DEFAULT_POLICY, ...row.template };
  const { scaling } = template;
  if (scaling) return { ...row, template: { ...template, scaling } };
  return { ...row, template: { ...template, scaling: limits.scaling }, definedVersion: 0 };
}

/** Tells the engine of the template as it is now; a change that comes between is told again, so that the last one wins. */
async function defineLatest(platform: Platform, row: Row<TemplateRow>): Promise<Row<TemplateRow>> {
  let current = row;
  while (current.value.definedVersion !== current.value.template.version) {
    await platform.engine.define(functionSpec(current.value));
    const told = { ...current.value, definedVersion: current.value.template.version };
    const written = await unlessConflict(platform.tables.put(TEMPLATES, current.key, told, { ifVersion: current.version }));
    const latest = written ?? (await platform.tables.get<TemplateRow>(TEMPLATES, current.key));
    if (!latest) throw new Problem("template_not_found", { detail: `Template ${row.value.template.name} not found` });
    current = latest;
    if (!written && current.value.definedVersion === current.value.template.version)
      await platform.engine.define(functionSpec(current.value));
  }
  return current;
}

async function refuseInUse(platform: Platform, project: Project, name: string): Promise<void> {
  let after: string | undefined;
  for (;;) {
    const rows = await platform.tables.range<LivingRow>(LIVING, `${project.id}/`, {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    const user = rows.find((row) => row.value.template === name);
    if (user)
      throw new Problem("template_in_use", {
        detail: `The sandbox ${user.value.id} was made from ${name} and lives`,
        sandboxId: user.value.id,
      });
    after = rows.at(-1)?.key;
    if (rows.length < PAGE || after === undefined) return;
  }
}

/** An image is what a template of one type is made of, and nothing to any other. */
function refuseContainer(type: string, container: object | undefined): void {
  if ((type === "CustomImage") === (container !== undefined)) return;
  const problem = container ? `is not for templates of type ${type}` : "names the image, and is required of the type CustomImage";
  throw new Problem("invalid_request", { detail: `body.container: ${problem}`, issues: [{ field: "body.container", problem }] });
}

function refuseBrowserPages(type: TemplateType, { browserPages = [] }: UpdateTemplate): void {
  if (browserPages.length === 0 || BROWSER_TYPES.has(type)) return;
  const problem = `a template of type ${type} has no browser`;
  throw new Problem("invalid_request", { detail: `body.browserPages: ${problem}`, issues: [{ field: "body.browserPages", problem }] });
}

function refuseBuiltIn(name: string): void {
  if (isBuiltIn(name)) throw new Problem("forbidden", { detail: `The template ${name} is built in and cannot be changed` });
}

function templateExists(name: string): Problem {
  return new Problem("already_exists", { detail: `Template ${name} already exists`, template: name });
}

function templateKey(project: Pick<Project, "id">, name: string): string {
  return `${project.id}/${name}`;
}

// A function's name is bounded, a project's and a template's together are not.
function functionNameOf(limits: Limits, project: Pick<Project, "id">, name: string): string {
  const hash = createHash("sha256").update(`${project.id}/${name}`).digest("hex").slice(0, 20);
  return `${limits.workspaceFunction}-${hash}`;
}

function functionSpec(row: Pick<TemplateRow, "template" | "functionName">): FunctionSpec {
  const { type, cpu, memoryMiB, diskMiB, scaling, container, browserPages } = row.template;
  const template = { type, cpu, memoryMiB, diskMiB, scaling, browserPages, ...(container ? { container } : {}) };
  return { functionName: row.functionName, template };
}

/** What a caller named of a template; the rest stays as it is. */
function given<T extends object>(change: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as never;
}
