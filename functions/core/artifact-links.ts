import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { artifactNotFound, type ArtifactRow, ownArtifact } from "./artifact-rows.ts";
import type { Platform } from "./ports.ts";

const DOWNLOAD = "artifact-link";
const UPLOAD = "upload-link";

/** What came with a link beside its path. */
export interface Signed {
  expires: string;
  ticket: string;
}

/**
 * A link by which anybody may read one artifact's bytes until a moment: the store's own where it has a door, so that the
 * bytes go straight, else the gateway's. `path` is without an origin.
 */
export async function linkArtifact(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  lifetimeMs: number,
): Promise<{ url?: string; path: string; expiresAt: string }> {
  const { artifact, objectKey } = (await ownArtifact(platform, project.id, id)).value;
  const expiresAtMs = platform.clock.now() + lifetimeMs;
  const direct = platform.objects.downloadLink(objectKey, { name: artifact.name, expiresAtMs });
  const path = `/artifacts/${id}/content?${sign(platform, DOWNLOAD, project.id, expiresAtMs, boundTo(artifact))}`;
  return { ...(direct ? { url: direct.url } : {}), path, expiresAt: new Date(expiresAtMs).toISOString() };
}

/** The artifact that a link is for. The link is checked whole before the store is asked for anything. */
export async function linkedArtifact(platform: Platform, id: string, link: Signed): Promise<ArtifactRow> {
  const projectId = projectIn(link);
  const { value } = await ownArtifact(platform, projectId, id);
  check(platform, DOWNLOAD, projectId, link, boundTo(value.artifact));
  return value;
}

export async function openBytes(
  platform: Platform,
  { artifact, objectKey }: ArtifactRow,
  range?: { start: number; end?: number },
): Promise<ReadableStream<Uint8Array>> {
  const found = await platform.objects.get(objectKey, range);
  if (!found) throw artifactNotFound(artifact.id);
  return found.body;
}

/** A link by which anybody may send one part of an upload, of exactly one size, until a moment. */
export function signPart(platform: Platform, projectId: string, part: LinkedPart, lifetimeMs: number): { path: string; expiresAt: string } {
  const expiresAtMs = platform.clock.now() + lifetimeMs;
  const query = sign(platform, UPLOAD, projectId, expiresAtMs, boundToPart(part));
  const path = `/uploads/${part.uploadId}/parts/${part.part}?size=${part.sizeBytes}&${query}`;
  return { path, expiresAt: new Date(expiresAtMs).toISOString() };
}

interface LinkedPart {
  uploadId: string;
  part: number;
  sizeBytes: number;
}

/** Whose upload a part's link is for. */
export function checkPart(platform: Platform, part: LinkedPart, link: Signed): string {
  const projectId = projectIn(link);
  check(platform, UPLOAD, projectId, link, boundToPart(part));
  return projectId;
}

function boundTo(artifact: ArtifactRow["artifact"]): string {
  return `GET\n${artifact.id}\n${artifact.sha256}\n${artifact.sizeBytes}`;
}

function boundToPart({ uploadId, part, sizeBytes }: LinkedPart): string {
  return `PUT\n${uploadId}\n${part}\n${sizeBytes}`;
}

function sign(platform: Platform, purpose: string, projectId: string, expiresAtMs: number, what: string): string {
  const mac = platform.vault.mac(purpose, `${projectId}\n${what}\n${expiresAtMs}`);
  return `expires=${expiresAtMs}&ticket=${projectId}.${mac}`;
}

function projectIn(link: Signed): string {
  const [projectId = "", , ...more] = link.ticket.split(".");
  if (more.length > 0 || !/^\d{1,15}$/.test(link.expires) || !/^[A-Za-z0-9]{1,32}$/.test(projectId)) throw new Problem("link_not_valid");
  return projectId;
}

function check(platform: Platform, purpose: string, projectId: string, link: Signed, what: string): void {
  const mac = link.ticket.slice(projectId.length + 1);
  if (!platform.vault.checkMac(purpose, `${projectId}\n${what}\n${link.expires}`, mac)) throw new Problem("link_not_valid");
  if (Number(link.expires) <= platform.clock.now()) throw new Problem("link_not_valid", { detail: "The link has expired" });
}
