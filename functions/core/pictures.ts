import { type ArtifactPicture, PICTURE_MEDIA_TYPE } from "#contract/artifact.ts";
import { LIMITS } from "#contract/limits.ts";
import { readBytes } from "#contract/operation.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { ownArtifact, toArtifact } from "./artifact-rows.ts";
import { imageSize } from "./image-size.ts";
import { mediaTypeOf } from "./media-types.ts";
import type { Platform } from "./ports.ts";
import { requestSandbox } from "./sandboxes.ts";

const DRAWN: ReadonlySet<string> = new Set(["application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp"]);
/** What the workspace takes at most to draw one while another is being drawn. */
const ASKED_MS = 3 * LIMITS.artifactPictureMs;

type Owner = Pick<Project, "id">;

/** Whether there are pictures of files that begin so. */
export function isDrawn(head: Uint8Array, name: string): boolean {
  return DRAWN.has(mediaTypeOf(head, name));
}

/** Has a sandbox draw one of its files. It is refused, or answers nonsense, as often as it likes: then there is no picture. */
export async function drawPicture(
  platform: Platform,
  project: Owner,
  sandboxId: string,
  path: string,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const url = `http://workspace/picture?path=${encodeURIComponent(path)}`;
  const passage = { method: "GET", url, headers: new Headers(), body: null, inner: true } as const;
  const bounded = AbortSignal.any([AbortSignal.timeout(ASKED_MS), signal]);
  try {
    const { ok, status, headers, body } = await requestSandbox(platform, project, sandboxId, passage, bounded);
    const bytes = Buffer.from(await readBytes({ url, headers, body }, LIMITS.artifactPictureBytes));
    if (ok && pictureOf(bytes)) return bytes;
    platform.log.event("artifact.not_drawn", { sandboxId, projectId: project.id, status });
  } catch (error) {
    platform.log.event("artifact.not_drawn", { sandboxId, projectId: project.id, error: String(error) });
  }
  return undefined;
}

/** Keeps a picture beside its artifact's bytes; without one, or where it cannot be kept, the artifact is as it would be. */
export async function keepPicture(
  platform: Platform,
  projectId: string,
  artifactId: string,
  bytes: Buffer | undefined,
): Promise<ArtifactPicture | undefined> {
  const picture = bytes && pictureOf(bytes);
  if (!picture) return undefined;
  const bound = { maxBytes: LIMITS.artifactPictureBytes, mediaType: PICTURE_MEDIA_TYPE };
  try {
    await platform.objects.put(pictureKey(projectId, artifactId), ReadableStream.from([bytes]), bound);
    return picture;
  } catch (error) {
    platform.log.event("artifact.picture_not_kept", { artifactId, projectId, error: String(error) });
    return undefined;
  }
}

export async function removePicture(platform: Platform, projectId: string, artifactId: string): Promise<void> {
  await platform.objects.remove(pictureKey(projectId, artifactId));
}

/** An artifact's picture, as something to download. */
export async function openPicture(platform: Platform, project: Owner, id: string) {
  const { name, sha256, picture } = toArtifact((await ownArtifact(platform, project.id, id)).value);
  if (!picture)
    throw new Problem("not_supported", { detail: "There is no picture of it", artifactId: id, next: "Download it by its link." });
  const open = async (range?: { start: number; end: number }) => {
    const found = await platform.objects.get(pictureKey(project.id, id), range);
    if (!found) throw new Problem("artifact_not_found", { artifactId: id });
    return found.body;
  };
  return { name: `${name}.jpg`, mediaType: PICTURE_MEDIA_TYPE, sizeBytes: picture.sizeBytes, tag: `${sha256}-picture-${id}`, open };
}

/** What bytes are as a picture, by their header; undefined for those that are none, or larger than one is drawn. */
function pictureOf(bytes: Buffer): ArtifactPicture | undefined {
  if (mediaTypeOf(bytes, "") !== PICTURE_MEDIA_TYPE) return undefined;
  const size = imageSize(PICTURE_MEDIA_TYPE, bytes);
  const most = LIMITS.artifactPictureSide;
  return size && size.width <= most && size.height <= most ? { ...size, sizeBytes: bytes.byteLength } : undefined;
}

function pictureKey(projectId: string, artifactId: string): string {
  return `pictures/${projectId}/${artifactId}`;
}
