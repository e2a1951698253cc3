import {
  type Artifact,
  deleteArtifact,
  downloadArtifact,
  getArtifact,
  keepArtifact,
  linkArtifact,
  listArtifacts,
} from "#contract/artifact.ts";
import * as core from "#core/artifacts.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountArtifacts(app: App): void {
  const { platform, publicOrigin } = app.gateway;
  mount(app, keepArtifact).to(({ principal, params, body, signal }) =>
    core.keepArtifact(platform, principal.project, params.sandboxId, body, signal),
  );
  mount(app, listArtifacts).to(({ principal, query }) => core.listArtifacts(platform, principal.project, query));
  mount(app, getArtifact).to(({ principal, params }) => core.getArtifact(platform, principal.project, params.artifactId));
  mount(app, deleteArtifact).to(({ principal, params }) => core.deleteArtifact(platform, principal.project, params.artifactId));
  mount(app, linkArtifact).to(async ({ principal, params, body }) => {
    const { path, expiresAt } = await core.linkArtifact(platform, principal.project, params.artifactId, body.lifetimeMs);
    return { url: publicOrigin + path, expiresAt };
  });
  mount(app, downloadArtifact).toAnyone(async ({ params, query, request }) => {
    const range = rangeOf(request.headers.get("range"));
    const { artifact, info, body } = await core.openLinked(platform, params.artifactId, query, range);
    return download(artifact, info.sizeBytes, body, range);
  });
}

/** Bytes of something, both ends included. */
export interface Range {
  start: number;
  end?: number;
}

/** The range that is asked for. Only a single one from a known start is honoured; HTTP lets a server answer the whole for any other. */
export function rangeOf(header: string | null): Range | undefined {
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(header ?? "");
  if (!match) return undefined;
  const start = Number(match[1]);
  if (match[2] === undefined) return { start };
  return Number(match[2]) < start ? undefined : { start, end: Number(match[2]) };
}

/** What a sandbox made is never shown by the door's own origin: it is a download, of the type that it says, without script. */
export function download(
  artifact: Pick<Artifact, "name" | "mediaType" | "sha256">,
  sizeBytes: number,
  body: ReadableStream<Uint8Array>,
  range: Range | undefined,
): Response {
  const end = Math.min(range?.end ?? sizeBytes - 1, sizeBytes - 1);
  const length = range ? end - range.start + 1 : sizeBytes;
  const headers = {
    ...downloadHeaders(artifact),
    "content-length": String(length),
    "accept-ranges": "bytes",
    etag: `"${artifact.sha256}"`,
    ...(range ? { "content-range": `bytes ${range.start}-${end}/${sizeBytes}` } : {}),
  };
  return new Response(body, { status: range ? 206 : 200, headers });
}

/** What every download says of itself, whether its size is known or not. */
export function downloadHeaders(artifact: Pick<Artifact, "name" | "mediaType">): Record<string, string> {
  return {
    "content-type": /^[\w.+-]+\/[\w.+-]+$/.test(artifact.mediaType) ? artifact.mediaType : "application/octet-stream",
    "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(artifact.name).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)}`,
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-store",
  };
}
