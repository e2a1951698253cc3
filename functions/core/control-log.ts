import { recordAction } from "./actions.ts";
import type { Platform } from "./ports.ts";
import type { SandboxRow } from "./sandbox-rows.ts";

/** What became of somebody's control, in the words of the log. */
export type ControlTurn = "taken" | "taken by force" | "taken away" | "given back" | "lapsed";

const SAID: Record<ControlTurn, (name: string) => string> = {
  taken: (name) => `${name} took control`,
  "taken by force": (name) => `${name} took control by force`,
  "taken away": (name) => `Control was taken away from ${name}`,
  "given back": (name) => `${name} gave control back`,
  lapsed: (name) => `${name} was away, and control ended`,
};

/** Writes down every take and give of control, in the sandbox's own log. */
export async function recordControl(
  platform: Platform,
  { id: sandboxId, projectId, taskId }: Pick<SandboxRow, "projectId" | "id" | "taskId">,
  { name, sinceMs }: { name: string; sinceMs: number },
  turn: ControlTurn,
): Promise<void> {
  const details = { turn, holder: name, since: new Date(sinceMs).toISOString() };
  platform.log.event("sandbox.control", { sandboxId, projectId, ...details });
  await recordAction(platform, { projectId, sandboxId, taskId }, { kind: "control", by: "person", summary: SAID[turn](name), details });
}
