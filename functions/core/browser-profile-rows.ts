import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { BrowserProfile } from "#contract/browser-profile.ts";
import type { Project } from "#contract/project.ts";
import { dueTime } from "./due.ts";
import type { Platform, Row } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";

const PROFILES = "browser-profiles";
const INTENTS = "browser-profile-intents";
/** How long saving a profile may last. */
export const SAVE_MAX_MS = 5 * 60_000;
const COLLECT_AFTER_MS = 60 * 60_000;
const ATTEMPTS = 20;

/** A profile as it is kept. `id` is of this version, and names its bytes. */
export interface KeptProfile extends BrowserProfile {
  id: string;
}

/** All profiles of a project in one row, so that to count, to replace and to forget is one conditional write. */
type ProfilesRow = readonly KeptProfile[];

/** Versions whose bytes go unless the project's row names them, written before the bytes or the row are. */
interface IntentRow {
  projectId: string;
  ids: string[];
}

export type Intent = Row<IntentRow>;

export function objectKeyOf(projectId: string, id: string): string {
  return `browser-profiles/${projectId}/${id}`;
}

export async function allProfiles(platform: Platform, project: Pick<Project, "id">): Promise<KeptProfile[]> {
  const row = await platform.tables.get<ProfilesRow>(PROFILES, project.id);
  return (row?.value ?? []).toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** A project's own profile; what is another's does not exist. */
export async function ownProfile(platform: Platform, project: Pick<Project, "id">, name: string): Promise<KeptProfile> {
  const found = (await allProfiles(platform, project)).find((profile) => profile.name === name);
  if (!found) throw profileNotFound(name);
  return found;
}

export function profileNotFound(name: string): Problem {
  return new Problem("browser_profile_not_found", { detail: `No such browser profile: ${name}`, browserProfile: name });
}

/** Refuses one more name than a project may have. */
export function refuseAbove(kept: readonly Pick<KeptProfile, "name">[], name: string): void {
  if (kept.length < LIMITS.browserProfiles || kept.some((one) => one.name === name)) return;
  const detail = `A project may have ${LIMITS.browserProfiles} browser profiles`;
  throw new Problem("quota_exceeded", { detail, quota: LIMITS.browserProfiles, next: "Delete one that is not needed any more." });
}

/** Puts a version under its name. What it replaces is in the intent before the row forgets it. */
export async function putProfile(
  platform: Platform,
  intent: Intent,
  taken: Omit<KeptProfile, "version" | "createdAt">,
): Promise<KeptProfile> {
  return changeProfiles(platform, intent, taken.name, (before) => {
    const { version = 0, createdAt = taken.updatedAt } = before ?? {};
    return { ...taken, version: version + 1, createdAt };
  });
}

/** Forgets a name. Of two who do it at once, one finds it gone. */
export async function removeProfile(platform: Platform, intent: Intent, name: string): Promise<void> {
  await changeProfiles(platform, intent, name, (before) => {
    if (!before) throw profileNotFound(name);
    return undefined;
  });
}

async function changeProfiles<T extends KeptProfile | undefined>(
  platform: Platform,
  first: Intent,
  name: string,
  change: (before: KeptProfile | undefined) => T,
): Promise<T> {
  const { projectId, ids } = first.value;
  let intent = first;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await platform.tables.get<ProfilesRow>(PROFILES, projectId);
    const kept = row?.value ?? [];
    const before = kept.find((one) => one.name === name);
    const after = change(before);
    if (after) refuseAbove(kept, name);
    // By its version: whose intent the sweep has finished by now has no bytes any more.
    const noted = { projectId, ids: before ? [...ids, before.id] : ids };
    intent = await platform.tables.put<IntentRow>(INTENTS, intent.key, noted, { ifVersion: intent.version });
    const value = [...kept.filter((one) => one.name !== name), ...(after ? [after] : [])];
    if (await unlessConflict(platform.tables.put<ProfilesRow>(PROFILES, projectId, value, { ifVersion: row?.version ?? "absent" })))
      return after;
  }
  throw new Problem("conflict", { browserProfile: name });
}

/** Writes that versions are about to come or to go, under the moment from which its age is counted. */
export function putProfileIntent(platform: Platform, projectId: string, key: string, ids: string[]): Promise<Intent> {
  return platform.tables.put<IntentRow>(INTENTS, `${dueTime(platform.clock.now())}/${projectId}/${key}`, { projectId, ids });
}

/** Ends an intent: of its versions the one that the project's row names stays. Any number may do it at once, or again after a crash. */
export async function finishProfileIntent(platform: Platform, key: string): Promise<void> {
  const intent = await platform.tables.get<IntentRow>(INTENTS, key);
  if (!intent) return;
  const { projectId, ids } = intent.value;
  const kept = new Set((await allProfiles(platform, { id: projectId })).map(({ id }) => id));
  for (const id of ids) if (!kept.has(id)) await platform.objects.remove(objectKeyOf(projectId, id));
  await platform.tables.remove(INTENTS, key);
}

/** Finishes what was begun long ago and never ended: at most `limit` of it. Answers how much it was. */
export async function collectProfiles(platform: Platform, limit: number): Promise<number> {
  const rows = await platform.tables.range<IntentRow>(INTENTS, "", { limit });
  const due = rows.filter((row) => row.key < dueTime(platform.clock.now() - COLLECT_AFTER_MS));
  for (const row of due) await finishProfileIntent(platform, row.key);
  return due.length;
}
