import type { Artifact, ChangeArtifact } from "#contract/artifact.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { type ArtifactRow, ARTIFACTS, ownArtifact, toArtifact } from "./artifact-rows.ts";
import type { Platform } from "./ports.ts";

/** Moves the moment until which nobody deletes an artifact, later and never earlier, and turns its legal hold on or off. */
export async function changeArtifact(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  change: ChangeArtifact,
): Promise<Artifact> {
  const retainUntil = retentionOf(platform, change.retainUntil);
  const row = await ownArtifact(platform, project.id, id);
  const before = toArtifact(row.value);
  const { hold = before.hold } = change;
  if (retainUntil !== undefined && Date.parse(retainUntil) < Date.parse(before.retainUntil ?? retainUntil))
    throw new Problem("artifact_retained", {
      detail: `It is retained until ${before.retainUntil} already`,
      retainUntil: before.retainUntil,
    });
  const artifact: Artifact = { ...before, hold, ...(retainUntil === undefined ? {} : { retainUntil }) };
  await platform.tables.put<ArtifactRow>(ARTIFACTS, row.key, { ...row.value, artifact }, { ifVersion: row.version });
  return artifact;
}

/** Refuses to delete what is on hold, or retained still. */
export function requireFree({ hold, retainUntil }: { hold: boolean; retainUntil?: string | undefined }, nowMs: number): void {
  if (hold) throw new Problem("artifact_retained", { detail: "The artifact is under a legal hold", hold, retainUntil });
  if (Date.parse(retainUntil ?? "") > nowMs)
    throw new Problem("artifact_retained", { detail: `The artifact is retained until ${retainUntil}`, hold, retainUntil });
}

/** A moment that may be asked for: one to come, within what is allowed. */
export function retentionOf(platform: Platform, asked: string | undefined): string | undefined {
  const aheadMs = Date.parse(asked ?? "") - platform.clock.now();
  if (aheadMs > LIMITS.retainMaxMs)
    throw new Problem("invalid_request", { detail: "retainUntil: is further ahead than allowed", limitMs: LIMITS.retainMaxMs });
  return asked;
}
