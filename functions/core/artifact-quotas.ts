import type { ArtifactUsage } from "#contract/artifact.ts";
import { Problem } from "#contract/problem.ts";
import type { Project, Quota } from "#contract/project.ts";
import type { Platform } from "./ports.ts";
import { ARTIFACTS, type ArtifactRow, INTENTS, type IntentRow, UPLOADS, type UploadRow } from "./artifact-rows.ts";
import { unlessConflict } from "./sandbox-rows.ts";

export const ARTIFACT_QUOTAS = "artifact-quotas";
const CHECKED = "artifact-quotas-checked";
const STEP_BYTES = 64 * 1024 * 1024;
const MIB = 1024 * 1024;
const PAGE = 1000;

/** What of a project's quotas something holds. */
export interface Held {
  artifacts: number;
  sizeBytes: number;
}

/** What a project may hold. */
export function ceilingOf(quota: Pick<Quota, "artifacts" | "artifactMiB">): Held {
  return { artifacts: quota.artifacts, sizeBytes: quota.artifactMiB * MIB };
}

export async function usageOf(platform: Platform, project: Project): Promise<ArtifactUsage> {
  const [artifacts, sizeBytes] = await Promise.all([
    countOf(platform, project.id, "artifacts"),
    countOf(platform, project.id, "sizeBytes"),
  ]);
  const most = ceilingOf(project.quota);
  return { artifacts: artifacts.value, sizeBytes: sizeBytes.value, maxArtifacts: most.artifacts, maxBytes: most.sizeBytes };
}

/**
 * One artifact's share of its project's quotas while it comes to be. What it may hold is written into its intent before it
 * is taken, so that what a crash leaves taken is never less than what is written, and the sweep's count corrects it.
 */
export class Reservation {
  readonly #platform: Platform;
  readonly #projectId: string;
  readonly #most: Held | undefined;
  readonly #note: (bytes: number) => Promise<void>;
  #places = 0;
  #bytes = 0;

  /** Without a ceiling nothing is refused: what the platform itself keeps is only counted. */
  constructor(platform: Platform, projectId: string, most: Held | undefined, note: (bytes: number) => Promise<void>) {
    this.#platform = platform;
    this.#projectId = projectId;
    this.#most = most;
    this.#note = note;
  }

  /** Takes the artifact's place, and its bytes where they are known. */
  async begin(sizeBytes: number): Promise<void> {
    await this.#note(sizeBytes);
    await this.#take("artifacts", 1);
    this.#places = 1;
    await this.#grow(sizeBytes);
  }

  /** Passes bytes on, and takes more of the quota before they are more than it holds. */
  async *passed(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    let came = 0;
    for await (const piece of body) {
      came += piece.byteLength;
      if (came > this.#bytes) {
        const more = Math.max(STEP_BYTES, came - this.#bytes);
        await this.#note(this.#bytes + more);
        await this.#grow(more).catch(() => this.#grow(came - this.#bytes));
      }
      yield piece;
    }
  }

  /** Gives back what is above the artifact's true size. */
  async settle(sizeBytes: number): Promise<void> {
    const surplus = this.#bytes - sizeBytes;
    this.#bytes = sizeBytes;
    await giveBack(this.#platform, this.#projectId, { artifacts: 0, sizeBytes: surplus });
  }

  async cancel(): Promise<void> {
    const held = { artifacts: this.#places, sizeBytes: this.#bytes };
    this.#places = 0;
    this.#bytes = 0;
    await giveBack(this.#platform, this.#projectId, held);
  }

  async #grow(bytes: number): Promise<void> {
    await this.#take("sizeBytes", bytes);
    this.#bytes += bytes;
  }

  async #take(what: keyof Held, by: number): Promise<void> {
    if (by === 0) return;
    const ceiling = this.#most?.[what];
    try {
      await this.#platform.tables.add(
        ARTIFACT_QUOTAS,
        quotaKey(this.#projectId, what),
        by,
        ceiling === undefined ? undefined : { ceiling },
      );
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "quota_exceeded") throw error;
      const quota = what === "artifacts" ? `${ceiling} artifacts` : `${ceiling} bytes in its artifacts`;
      const next = "Delete artifacts that are not needed any more, or have the quota raised.";
      throw new Problem("quota_exceeded", { detail: `The project may have ${quota}`, quota: what, ceiling, next });
    }
  }
}

/** Gives back what was held, once: only who ended what held it calls this. */
export async function giveBack(platform: Platform, projectId: string, held: Held): Promise<void> {
  for (const what of ["artifacts", "sizeBytes"] as const)
    if (held[what] > 0) await platform.tables.add(ARTIFACT_QUOTAS, quotaKey(projectId, what), -held[what]);
}

/** Has the next sweep count a project again, though nothing was taken or given back. */
export async function markUncounted(platform: Platform, projectId: string): Promise<void> {
  await platform.tables.remove(CHECKED, projectId);
}

/**
 * Corrects a project's counts to what its rows hold: artifacts until they are gone, and what is still being kept by what
 * its intent says. Each says what it holds before it is taken and until it was given back, so that the sum is never below
 * what is held; counts that moved meanwhile refuse the correction, and those that did not move since the last are not looked at.
 */
export async function reconcileArtifacts(platform: Platform, projectId: string): Promise<boolean> {
  const counts = {
    artifacts: await countOf(platform, projectId, "artifacts"),
    sizeBytes: await countOf(platform, projectId, "sizeBytes"),
  };
  const stamp = `${counts.artifacts.version} ${counts.sizeBytes.version}`;
  if ((await platform.tables.get<string>(CHECKED, projectId))?.value === stamp) return false;
  const held = await heldBy(platform, projectId);
  if (!held) return false;
  let corrected = false;
  for (const what of ["artifacts", "sizeBytes"] as const) {
    const { version, value } = counts[what];
    if (held[what] === value || version === 0) continue;
    const put = platform.tables.put(ARTIFACT_QUOTAS, quotaKey(projectId, what), held[what], { ifVersion: version });
    if (await unlessConflict(put)) corrected = true;
  }
  if (!corrected) await platform.tables.put(CHECKED, projectId, stamp);
  return corrected;
}

async function heldBy(platform: Platform, projectId: string): Promise<Held | undefined> {
  // In this order: what is on its way to be an artifact is seen before it is one, and counted once by its id.
  const intents = await platform.tables.range<IntentRow>(INTENTS, "", { limit: PAGE });
  if (intents.length === PAGE) return undefined;
  const coming = new Map<string, number>();
  for (const { value } of intents)
    if (value.projectId === projectId && value.heldBytes !== undefined) coming.set(value.artifactId, value.heldBytes);
  for await (const { value } of rowsOf<UploadRow>(platform, UPLOADS, projectId))
    if (value.state !== "ended") coming.set(value.upload.artifactId, value.upload.sizeBytes);
  const held: Held = { artifacts: 0, sizeBytes: 0 };
  for await (const { value } of rowsOf<ArtifactRow>(platform, ARTIFACTS, projectId)) {
    coming.delete(value.artifact.id);
    held.artifacts += 1;
    held.sizeBytes += value.artifact.sizeBytes;
  }
  for (const bytes of coming.values()) {
    held.artifacts += 1;
    held.sizeBytes += bytes;
  }
  return held;
}

async function* rowsOf<T>(platform: Platform, table: string, projectId: string) {
  let after: string | undefined;
  do {
    const rows = await platform.tables.range<T>(table, `${projectId}/`, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    yield* rows;
    after = rows.length < PAGE ? undefined : rows.at(-1)?.key;
  } while (after !== undefined);
}

async function countOf(platform: Platform, projectId: string, what: keyof Held): Promise<{ version: number; value: number }> {
  return (await platform.tables.get<number>(ARTIFACT_QUOTAS, quotaKey(projectId, what))) ?? { version: 0, value: 0 };
}

function quotaKey(projectId: string, what: keyof Held): string {
  return `${projectId}/${what}`;
}
