import type { Artifact } from "#contract/artifact.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { readerOf } from "./artifact-entries.ts";
import type { Platform } from "./ports.ts";
import { requestSandbox } from "./sandboxes.ts";
import { requireSafe } from "./tar-entries.ts";

/** What is to be kept, as it comes out of a sandbox. `verify` looks, once it came, whether it stood still, or is a tar at all. */
export interface Source {
  kind: Artifact["kind"];
  body: ReadableStream<Uint8Array>;
  sizeBytes?: number;
  verify: (kept: { sizeBytes: number; key: string }) => Promise<void>;
}

/** Opens a file of a sandbox, or a directory as one tar. */
export async function openSource(
  platform: Platform,
  project: Project,
  sandboxId: string,
  path: string,
  signal: AbortSignal,
): Promise<Source> {
  const ask = (route: string, headers: Record<string, string> = {}) =>
    requestSandbox(
      platform,
      project,
      sandboxId,
      new Request(`http://workspace${route}?path=${encodeURIComponent(path)}`, { headers }),
      signal,
    );
  const file = await ask("/files/content");
  if (file.ok && file.body) {
    const tag = file.headers.get("etag");
    const length = file.headers.get("content-length") ?? "";
    return {
      kind: "file",
      body: whole(file.body, path, ask),
      ...(/^\d{1,15}$/.test(length) ? { sizeBytes: Number(length) } : {}),
      async verify() {
        if (tag === null) return;
        // Nothing has no first byte to ask for.
        const now = await ask("/files/content", Number(length) > 0 ? { range: "bytes=0-0" } : {});
        await now.body?.cancel();
        if (now.headers.get("etag") !== tag) throw new Problem("file_changed", { path });
      },
    };
  }
  const problem = await problemOf(file, sandboxId);
  if (problem.code !== "not_a_file") throw problem;
  const directory = await ask("/filesystem/archive");
  if (directory.ok && directory.body) {
    const verify: Source["verify"] = async ({ key, sizeBytes }) => void (await requireSafe(readerOf(platform, key), sizeBytes));
    return { kind: "directory", body: whole(directory.body, path, ask), verify };
  }
  const refusal = await problemOf(directory, sandboxId);
  throw refusal.code === "not_a_directory" ? problem : refusal;
}

/** The bytes as they come. A stream that breaks is a file that changed while it was sent, or else a sandbox that is lost. */
function whole(body: ReadableStream<Uint8Array>, path: string, ask: (route: string) => Promise<Response>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await reader.read();
          if (next.done) controller.close();
          else controller.enqueue(next.value);
        } catch (error) {
          controller.error(error instanceof Problem ? error : await reasonOf(error));
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );

  /** A sandbox that still answers is not lost. */
  async function reasonOf(error: unknown): Promise<unknown> {
    try {
      await (await ask("/filesystem/stat")).body?.cancel();
      return new Problem("file_changed", { path }, error);
    } catch (lost) {
      return lost;
    }
  }
}

async function problemOf(response: Response, sandboxId: string): Promise<Problem> {
  const said: unknown = await response.json().catch(() => undefined);
  return problemFrom(said) ?? new Problem("sandbox_lost", { detail: `The workspace answered ${response.status}`, sandboxId });
}
