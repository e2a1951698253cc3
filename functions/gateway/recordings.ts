import { Problem } from "#contract/problem.ts";
import { deleteRecording, downloadRecording, listRecordings, RECORDING_MEDIA_TYPE } from "#contract/recording.ts";
import { openBytes } from "#core/artifact-links.ts";
import type { Principal } from "#core/projects.ts";
import * as core from "#core/recordings.ts";
import { permitSandbox } from "./auth.ts";
import { download, downloadHeaders } from "./downloads.ts";
import type { App, Gateway } from "./gateway.ts";
import { mount } from "./mount.ts";

const RECORDINGS = /^\/sandboxes\/[^/]+\/recordings(\/|$)/;
const YES = new Set(["true", "1"]);
const NO = new Set(["false", "0"]);

/** Whether a path is that of recordings, which lies under a sandbox and is answered here: they outlive it. */
export function isRecording(path: string): boolean {
  return RECORDINGS.test(path);
}

export function mountRecordings(app: App): void {
  const { gateway } = app;
  const { platform } = gateway;
  mount(app, listRecordings).toScoped(async ({ principal, params: { sandboxId }, query }) => {
    await permitSandbox(gateway, principal, sandboxId);
    return core.listRecordings(platform, principal.project, sandboxId, query);
  });
  mount(app, downloadRecording).toScoped(async ({ principal, params: { sandboxId, filename }, request }) => {
    await permitSandbox(gateway, principal, sandboxId);
    const about = { name: filename, mediaType: RECORDING_MEDIA_TYPE };
    const opened = await core.openRecording(platform, principal.project, sandboxId, filename);
    if (opened instanceof ReadableStream) return new Response(opened, { headers: downloadHeaders(about) });
    const { sizeBytes, sha256: tag } = opened.artifact;
    return download({ ...about, sizeBytes, tag, open: (range) => openBytes(platform, opened, range) }, request);
  });
  mount(app, deleteRecording).toScoped(async ({ principal, params: { sandboxId, filename } }) => {
    await permitSandbox(gateway, principal, sandboxId);
    await core.deleteRecording(platform, principal.project, sandboxId, filename);
  });
}

/** Has the display recorded from now on, where a connection asks for it; what it answers ends that. */
export async function recordWhereAsked(
  gateway: Gateway,
  { project, purpose }: Principal,
  { sandboxId, path }: { sandboxId: string; path: string },
): Promise<(() => void) | undefined> {
  const asked = new URLSearchParams(path.split("?")[1]).getAll("recording");
  if (asked.every((value) => NO.has(value))) return undefined;
  if (!asked.every((value) => YES.has(value))) throw new Problem("invalid_request", { detail: "query.recording: is `true` or `false`" });
  if (purpose !== undefined) throw new Problem("forbidden", { detail: "A ticket records nothing: connect with a key of the project" });
  return gateway.recorders.hold(project, sandboxId);
}
