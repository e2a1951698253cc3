import type { BrowserProfile } from "#contract/browser-profile.ts";
import { newId } from "#contract/id.ts";
import { BROWSER_PROFILE_MEDIA_TYPE } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { readerOf } from "./artifact-entries.ts";
import {
  allProfiles,
  finishProfileIntent,
  type Intent,
  type KeptProfile,
  objectKeyOf,
  ownProfile,
  putProfile,
  putProfileIntent,
  refuseAbove,
  removeProfile,
  SAVE_MAX_MS,
} from "./browser-profile-rows.ts";
import { PROFILE_ADDRESS, profileRefusal, refuseWithoutBrowser } from "./browser-restore.ts";
import { refuseWhileHeld } from "./control.ts";
import type { Platform } from "./ports.ts";
import { ownRow } from "./sandbox-rows.ts";
import { requestSandbox } from "./sandboxes.ts";
import { entriesOf } from "./tar-entries.ts";

/**
 * Saves what a sandbox's browser remembers under a name. The bytes come first and the row last, which replaces what the
 * name had in one step: whatever fails or crashes before it leaves that as it was, and the new bytes to be collected.
 */
export async function saveBrowserProfile(
  platform: Platform,
  project: Project,
  sandboxId: string,
  name: string,
  signal?: AbortSignal,
): Promise<BrowserProfile> {
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  refuseWithoutBrowser(sandbox.type, `The sandbox ${sandboxId}`);
  // The browser closes, with all that somebody does in it.
  await refuseWhileHeld(platform, project, sandboxId);
  refuseAbove(await allProfiles(platform, project), name);
  const bounded = AbortSignal.any([AbortSignal.timeout(SAVE_MAX_MS), ...(signal ? [signal] : [])]);
  const id = newId(platform.clock.now());
  const intent = await putProfileIntent(platform, project.id, id, [id]);
  try {
    const bytes = await storeProfile(platform, project, sandboxId, objectKeyOf(project.id, id), bounded);
    const updatedAt = new Date(platform.clock.now()).toISOString();
    const kept = await putProfile(platform, intent, { id, name, ...bytes, sandboxId, updatedAt });
    const { version, sizeBytes } = kept;
    platform.log.event("browser_profile.saved", { browserProfile: name, projectId: project.id, sandboxId, version, sizeBytes });
    return told(kept);
  } catch (error) {
    throw bounded.aborted && !signal?.aborted
      ? new Problem("timeout", { detail: "Saving the browser's profile took too long", sandboxId })
      : error;
  } finally {
    await finish(platform, intent);
  }
}

export async function getBrowserProfile(platform: Platform, project: Pick<Project, "id">, name: string): Promise<BrowserProfile> {
  return told(await ownProfile(platform, project, name));
}

export async function listBrowserProfiles(platform: Platform, project: Pick<Project, "id">): Promise<{ items: BrowserProfile[] }> {
  return { items: (await allProfiles(platform, project)).map(told) };
}

/** Deletes a profile and its bytes. */
export async function deleteBrowserProfile(platform: Platform, project: Pick<Project, "id">, name: string): Promise<void> {
  const { id } = await ownProfile(platform, project, name);
  const intent = await putProfileIntent(platform, project.id, `${id}-gone`, [id]);
  try {
    await removeProfile(platform, intent, name);
  } finally {
    await finish(platform, intent);
  }
}

async function storeProfile(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  objectKey: string,
  signal: AbortSignal,
): Promise<{ sizeBytes: number; digest: string }> {
  const passage = { method: "POST", url: PROFILE_ADDRESS, headers: new Headers(), body: null, inner: true } as const;
  const response = await requestSandbox(platform, project, sandboxId, passage, signal);
  if (!response.ok || !response.body) throw await profileRefusal(response, sandboxId, "did not give the browser's profile");
  const bound = { maxBytes: LIMITS.browserProfileBytes, mediaType: BROWSER_PROFILE_MEDIA_TYPE };
  const { sizeBytes, sha256: digest } = await platform.objects.put(objectKey, response.body, bound, signal);
  await requirePlain(platform, objectKey, sizeBytes);
  return { sizeBytes, digest };
}

/** Refuses what holds anything but plain files under relative names: it is a sandbox's word. */
async function requirePlain(platform: Platform, objectKey: string, sizeBytes: number): Promise<void> {
  for await (const { path, type } of entriesOf(readerOf(platform, objectKey), sizeBytes)) {
    if (type !== "file" || path.startsWith("/") || path.split("/").includes(".."))
      throw new Problem("invalid_archive", { detail: "The profile came with something that is no plain file of it" });
  }
}

async function finish(platform: Platform, intent: Intent): Promise<void> {
  await finishProfileIntent(platform, intent.key).catch((error: unknown) => {
    // The sweep finishes it; what has a name is whole, whatever becomes of the intent.
    platform.log.event("browser_profile.intent_left", { projectId: intent.value.projectId, error: String(error) });
  });
}

function told({ id: _id, ...profile }: KeptProfile): BrowserProfile {
  return profile;
}
