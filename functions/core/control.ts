import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { recordControl } from "./control-log.ts";
import type { Platform, Row } from "./ports.ts";
import { ownRow, refuseUnlessReady, rowKey, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";

const CONTROL = "control";
const ATTEMPTS = 10;

/** Who may have control. `id` tells two takers apart, `name` is what others are told. */
export interface Taker {
  id: string;
  name: string;
}

/** Who has it. It ends at `untilMs` unless it is held for longer by then; `asked` when it was taken in so many words. */
export interface HolderNow extends Taker {
  sinceMs: number;
  untilMs: number;
  asked: boolean;
}

interface ControlRow {
  /** Kept once it has ended, until the next has it: who notices that writes down that it did. */
  holder?: HolderNow;
}

export interface Taking {
  holdMs: number;
  asked: boolean;
  force?: boolean;
}

type Place = Pick<SandboxRow, "projectId" | "id" | "taskId">;

/** Who has control of a sandbox now, as it was at most a second ago. Cheap enough to be asked before every input. */
export async function controlOf(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<HolderNow | undefined> {
  const row = await platform.recent.get<ControlRow>(CONTROL, rowKey(project.id, sandboxId));
  return livingHolder(platform, row);
}

/** Refuses the agent's input while a person has control. */
export async function refuseWhileHeld(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<void> {
  const holder = await controlOf(platform, project, sandboxId);
  if (holder) throw controlHeld(sandboxId, holder);
}

/** Who has control of a sandbox that is the project's. */
export async function readControl(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<HolderNow | undefined> {
  const { value } = await ownRow(platform, project, sandboxId);
  if (value.state === "ended") return undefined;
  return livingHolder(platform, await platform.tables.get<ControlRow>(CONTROL, rowKey(project.id, sandboxId)));
}

/** Takes control, or holds it for longer. Of two who take it at once one has it, and the other is told who. */
export async function takeControl(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  taker: Taker,
  { holdMs, asked, force = false }: Taking,
): Promise<HolderNow> {
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  refuseUnlessReady(sandbox);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await controlRow(platform, sandbox);
    const now = platform.clock.now();
    const before = row?.value.holder;
    const held = livingHolder(platform, row);
    if (held && held.id !== taker.id && !force) throw controlHeld(sandboxId, held);
    const mine = held?.id === taker.id ? held : undefined;
    const holder: HolderNow = {
      ...taker,
      sinceMs: mine?.sinceMs ?? now,
      untilMs: Math.max(now + holdMs, mine?.untilMs ?? 0),
      asked: asked || (mine?.asked ?? false),
    };
    if (!(await written(platform, sandbox, row, { holder }))) continue;
    if (before && !mine) await recordControl(platform, sandbox, before, held ? "taken away" : "lapsed");
    if (!mine) await recordControl(platform, sandbox, holder, held ? "taken by force" : "taken");
    return holder;
  }
  throw new Problem("conflict", { sandboxId });
}

/** Holds control for longer while its holder is there; false when it is somebody else's or nobody's by now. */
export async function holdControl(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  id: string,
  holdMs: number,
): Promise<boolean> {
  const row = await platform.tables.get<ControlRow>(CONTROL, rowKey(project.id, sandboxId));
  const holder = livingHolder(platform, row);
  if (!row || holder?.id !== id) return false;
  const untilMs = Math.max(holder.untilMs, platform.clock.now() + holdMs);
  await unlessConflict(platform.tables.put<ControlRow>(CONTROL, row.key, { holder: { ...holder, untilMs } }, { ifVersion: row.version }));
  return true;
}

/**
 * Gives control back: one's own, or with `anyones` whoever's it is, which is then taken away from them. Giving twice is
 * giving once.
 */
export async function giveControl(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  by: string,
  anyones = false,
): Promise<void> {
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await controlRow(platform, sandbox);
    const before = row?.value.holder;
    if (!before) return;
    const held = livingHolder(platform, row);
    if (held && held.id !== by && !anyones) throw controlHeld(sandboxId, held);
    if (!(await written(platform, sandbox, row, {}))) continue;
    await recordControl(platform, sandbox, before, held ? (held.id === by ? "given back" : "taken away") : "lapsed");
    return;
  }
  throw new Problem("conflict", { sandboxId });
}

/** Writes down that somebody's control has ended by itself, if it has and nobody did; for those who were there until then. */
export async function noticeLapse(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<void> {
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  const row = await controlRow(platform, sandbox);
  const before = row?.value.holder;
  if (!before || livingHolder(platform, row)) return;
  if (await written(platform, sandbox, row, {})) await recordControl(platform, sandbox, before, "lapsed");
}

export function controlHeld(sandboxId: string, { name, sinceMs, untilMs }: HolderNow): Problem {
  const since = new Date(sinceMs).toISOString();
  return new Problem("control_held", {
    detail: `${name} has had control of the sandbox ${sandboxId} since ${since}`,
    sandboxId,
    holder: name,
    since,
    until: new Date(untilMs).toISOString(),
  });
}

function livingHolder(platform: Platform, row: Row<ControlRow> | undefined): HolderNow | undefined {
  const holder = row?.value.holder;
  return holder && holder.untilMs > platform.clock.now() ? holder : undefined;
}

function controlRow(platform: Platform, { projectId, id }: Place): Promise<Row<ControlRow> | undefined> {
  return platform.tables.get<ControlRow>(CONTROL, rowKey(projectId, id));
}

function written(platform: Platform, { projectId, id }: Place, row: Row<ControlRow> | undefined, value: ControlRow) {
  const condition = { ifVersion: row?.version ?? ("absent" as const) };
  return unlessConflict(platform.tables.put<ControlRow>(CONTROL, rowKey(projectId, id), value, condition));
}
