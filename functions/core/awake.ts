import type { Project } from "#contract/project.ts";
import { endRow } from "./endings.ts";
import { wake } from "./pauses.ts";
import type { Platform, Row } from "./ports.ts";
import { refuseUnlessReady, rowKey, SANDBOXES, sandboxEnded, sandboxNotFound, sandboxPaused, type SandboxRow } from "./sandbox-rows.ts";

/** By how much the clocks of two of the platform's processes may differ. */
const CLOCKS_APART_MS = 1000;

/** The row of a sandbox that requests may go into; a paused one is woken for it. */
export async function readyRow(platform: Platform, project: Pick<Project, "id">, id: string): Promise<Row<SandboxRow>> {
  const key = rowKey(project.id, id);
  let row = await platform.recent.get<SandboxRow>(SANDBOXES, key);
  if (row && (row.value.state !== "ready" || mayRest(platform, row.value))) row = await platform.tables.get<SandboxRow>(SANDBOXES, key);
  if (!row) throw sandboxNotFound(id);
  if (row.value.state === "paused") return awakeRow(platform, row);
  refuseUnlessReady(row.value);
  if (row.value.endsAtMs > platform.clock.now()) return row;
  const ended = await endRow(platform, row, "lifetime");
  throw sandboxEnded(ended.value);
}

/** Whether somebody may be about to pause it for being idle, which nobody does before it is due to be looked at. */
export function mayRest(platform: Platform, { autoPause, dueAtMs }: SandboxRow): boolean {
  return autoPause === true && dueAtMs <= platform.clock.now() + CLOCKS_APART_MS;
}

/** Wakes a paused sandbox, if its template lets requests do that. */
export async function awakeRow(platform: Platform, row: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  const { state, autoResume = true, waking, endsAtMs } = row.value;
  if (state === "paused" && !autoResume && !waking && endsAtMs > platform.clock.now()) throw sandboxPaused(row.value);
  return wake(platform, row);
}
