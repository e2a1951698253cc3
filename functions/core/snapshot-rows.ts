import { Name } from "#contract/id.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Snapshot } from "#contract/snapshot.ts";
import type { Platform, Row } from "./ports.ts";

export const SNAPSHOTS = "snapshots";
export const CHUNKS = "snapshot-chunks";

/**
 * A snapshot as it is kept. `chargedBytes` is what of the project's quota it holds until its row goes; who turns it to
 * `settled` gives that back, and nobody else does.
 */
export interface SnapshotRow {
  snapshot: Snapshot;
  chargedBytes: number;
  deleting: boolean;
  settled: boolean;
}

/** One chunk of a capture, written before the bytes are claimed; in the order of keys they are the stream. */
export interface ChunkRow {
  sha256: string;
  sizeBytes: number;
}

/** The files of a sandbox as chunks, whether they have a name or not. */
export interface Capture {
  id: string;
  projectId: string;
  sizeBytes: number;
}

/** What a sandbox's files come from: a capture, under its snapshot's name if it has one. */
export interface Origin extends Capture {
  name?: string;
  template: string;
}

export function snapshotKey(projectId: string, name: string): string {
  return `${projectId}/${name}`;
}

export function chunkPrefix(capture: Pick<Capture, "projectId" | "id">): string {
  return `${capture.projectId}/${capture.id}/`;
}

export function chunkKey(capture: Pick<Capture, "projectId" | "id">, index: number): string {
  return chunkPrefix(capture) + String(index).padStart(8, "0");
}

/** The row of a project's own snapshot; what is another's, or is being deleted, does not exist. */
export async function ownSnapshot(platform: Platform, project: Pick<Project, "id">, name: string): Promise<Row<SnapshotRow>> {
  const row = Name.safeParse(name).success ? await platform.tables.get<SnapshotRow>(SNAPSHOTS, snapshotKey(project.id, name)) : undefined;
  if (!row || row.value.deleting) throw snapshotNotFound(name);
  return row;
}

export function originOf(row: Row<SnapshotRow>): Origin {
  const { id, name, template, sizeBytes } = row.value.snapshot;
  return { id, projectId: row.key.slice(0, row.key.indexOf("/")), name, template, sizeBytes };
}

export function snapshotNotFound(name: string): Problem {
  return new Problem("snapshot_not_found", { detail: `No such snapshot: ${name}`, snapshot: name });
}
