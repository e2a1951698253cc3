import { createHash } from "node:crypto";
import type { Artifact } from "#contract/artifact.ts";
import { Problem } from "#contract/problem.ts";
import type { Upload } from "#contract/upload.ts";
import type { Platform, Row } from "./ports.ts";

export const ARTIFACTS = "artifacts";
export const INTENTS = "artifact-intents";
export const UPLOADS = "uploads";
const NAMES = "artifact-names";
const VERSIONS = "artifact-versions";
const VERSION_DIGITS = 12;

export interface ArtifactRow {
  artifact: Artifact;
  objectKey: string;
  deleting: boolean;
}

/**
 * What is being kept or deleted, written first so that a crash leaves nothing behind for good. `heldBytes` is what of the
 * project's quotas it may hold; a deletion holds nothing, its artifact does.
 */
export interface IntentRow {
  projectId: string;
  artifactId: string;
  heldBytes?: number;
  sha256?: string;
  /** The entry of its name, once it has one. */
  nameKey?: string;
}

/** An upload until it is an artifact or abandoned; `ended` ones are only there to be removed. */
export interface UploadRow {
  upload: Omit<Upload, "parts" | "receivedBytes">;
  projectId: string;
  state: "open" | "ended";
  expiresAtMs: number;
}

/** An artifact as it is told, of whatever age its row is. */
export function toArtifact(row: ArtifactRow): Artifact {
  return Object.assign({ version: 1, kind: "file", hold: false }, row.artifact);
}

/** The row of a project's own artifact; what is another's, or is being deleted, does not exist. */
export async function ownArtifact(platform: Platform, projectId: string, id: string): Promise<Row<ArtifactRow>> {
  const row = await platform.tables.get<ArtifactRow>(ARTIFACTS, artifactKey(projectId, id));
  if (!row || row.value.deleting) throw artifactNotFound(id);
  return row;
}

export function artifactKey(projectId: string, id: string): string {
  return `${projectId}/${id}`;
}

export function artifactNotFound(id: string): Problem {
  return new Problem("artifact_not_found", { detail: `No such artifact: ${id}`, artifactId: id });
}

/** The next version of a name; one that a crash takes with it is never given again. */
export function nextVersion(platform: Platform, projectId: string, name: string): Promise<number> {
  return platform.tables.add(VERSIONS, `${projectId}/${digestOf(name)}`, 1);
}

/** Where a version of a name is looked up: a name may be longer, and of other letters, than a key. */
export function nameKeyOf(projectId: string, name: string, version: number): string {
  return `${namePrefix(projectId, name)}${String(version).padStart(VERSION_DIGITS, "0")}`;
}

export async function putName(platform: Platform, nameKey: string, artifactId: string): Promise<void> {
  await platform.tables.put(NAMES, nameKey, artifactId);
}

export async function removeName(platform: Platform, nameKey: string): Promise<void> {
  await platform.tables.remove(NAMES, nameKey);
}

/** The versions of a name that are there, newest first, with where to go on after each. */
export async function* versionsOf(platform: Platform, projectId: string, name: string, after?: string) {
  const prefix = namePrefix(projectId, name);
  let cursor = after === undefined ? undefined : prefix + after;
  for (;;) {
    const page = { limit: 50, descending: true, ...(cursor === undefined ? {} : { after: cursor }) };
    const entries = await platform.tables.range<string>(NAMES, prefix, page);
    for (const { key, value } of entries) {
      const row = await platform.tables.get<ArtifactRow>(ARTIFACTS, artifactKey(projectId, value));
      // An entry that its artifact does not name is a leftover of somebody who kept the same at once.
      const isOwn = row && nameKeyOf(projectId, name, row.value.artifact.version) === key;
      if (isOwn && !row.value.deleting) yield { artifact: toArtifact(row.value), cursor: key.slice(prefix.length) };
      cursor = key;
    }
    if (entries.length < page.limit) return;
  }
}

function namePrefix(projectId: string, name: string): string {
  return `${projectId}/${digestOf(name)}/`;
}

function digestOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}
