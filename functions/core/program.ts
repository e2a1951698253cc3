import { Problem, problemFrom } from "#contract/problem.ts";
import { Program } from "#contract/program.ts";
import type { Project } from "#contract/project.ts";
import type { Platform } from "./ports.ts";
import { ownRow } from "./sandbox-rows.ts";
import { requestSandbox } from "./sandboxes.ts";

/** What the program of a sandbox's image is doing, and what it wrote. */
export async function readProgram(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  signal?: AbortSignal,
): Promise<Program> {
  const { value } = await ownRow(platform, project, sandboxId);
  if (value.type !== "CustomImage")
    throw new Problem("not_supported", {
      detail: `The sandbox ${sandboxId} is of the type ${value.type}, which runs no image's program`,
      next: `List what runs in it: GET /sandboxes/${sandboxId}/processes.`,
    });
  const response = await requestSandbox(platform, project, sandboxId, new Request("http://workspace/program"), signal);
  const said: unknown = await response.json().catch(() => undefined);
  const program = Program.safeParse(said);
  if (response.ok && program.success) return program.data;
  throw problemFrom(said) ?? new Problem("sandbox_lost", { detail: `The workspace answered ${response.status}`, sandboxId });
}
