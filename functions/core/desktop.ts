import { Readable } from "node:stream";
import type { ActionDetails } from "#contract/action.ts";
import { type DesktopAction, DesktopDone, type DesktopResult } from "#contract/desktop.ts";
import { LIMITS } from "#contract/limits.ts";
import { readJson } from "#contract/operation.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { recordAction } from "./actions.ts";
import { refuseWhileHeld } from "./control.ts";
import type { Platform } from "./ports.ts";
import { ownRow } from "./sandbox-rows.ts";
import { requestSandbox } from "./sandboxes.ts";

/** What only looks; a person who has control is not disturbed by it. */
const LOOKING = new Set<DesktopAction["type"]>(["screenshot", "wait", "cursor_position", "screen_size"]);

/** Has an agent act on a sandbox's desktop: not while a person has control of it, and never without being written down. */
export async function actOnDesktop(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  action: DesktopAction,
  signal?: AbortSignal,
): Promise<DesktopResult> {
  if (!LOOKING.has(action.type)) await refuseWhileHeld(platform, project, sandboxId);
  const { value } = await ownRow(platform, project, sandboxId);
  const { thumbnail, ...result } = await ask(platform, project, sandboxId, action, signal);
  await recordAction(
    platform,
    { projectId: project.id, sandboxId, taskId: value.taskId },
    {
      kind: "desktop",
      by: "agent",
      summary: summaryOf(action),
      details: detailsOf(action),
      ...(thumbnail === undefined ? {} : { screenshot: { bytes: Buffer.from(thumbnail, "base64"), mediaType: "image/jpeg" as const } }),
    },
  );
  return result;
}

async function ask(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  action: DesktopAction,
  signal: AbortSignal | undefined,
): Promise<DesktopDone> {
  const body = Readable.from([Buffer.from(JSON.stringify(action))]);
  const headers = new Headers({ "content-type": "application/json" });
  const request = { method: "POST", url: "/desktop/actions", headers, body, inner: true } as const;
  const answer = await requestSandbox(platform, project, sandboxId, request, signal);
  const said = await readJson(answer, LIMITS.desktopAnswerBytes);
  const done = answer.ok ? DesktopDone.safeParse(said) : undefined;
  if (done?.success) return done.data;
  throw problemFrom(said) ?? new Problem("sandbox_lost", { detail: `The workspace answered ${answer.status}`, sandboxId });
}

/** What is typed may be a secret, and nothing tells which text is one: the log says how much it was. */
function summaryOf(action: DesktopAction): string {
  switch (action.type) {
    case "type":
      return `Typed ${action.text.length} characters`;
    case "keypress":
      return `Pressed ${typeof action.keys === "string" ? action.keys : action.keys.join("+")}`;
    case "drag":
      return `Dragged from ${placeOf(action.path[0])} to ${placeOf(action.path.at(-1))}`;
    case "scroll":
      return `Scrolled by ${action.scrollX}, ${action.scrollY}${placed(action)}`;
    case "click":
    case "double_click":
    case "triple_click":
      return `${CLICKED[action.type]} the ${action.button} button${placed(action)}`;
    case "move":
      return `Moved the pointer to ${placeOf(action)}`;
    case "wait":
      return `Waited for ${action.ms} ms`;
    default:
      return LOOKED[action.type];
  }
}

const LOOKED = {
  screenshot: "Looked at the screen",
  cursor_position: "Asked where the pointer is",
  screen_size: "Asked how large the screen is",
} as const;

const CLICKED = { click: "Clicked", double_click: "Double-clicked", triple_click: "Triple-clicked" } as const;

function detailsOf(action: DesktopAction): ActionDetails {
  const facts = Object.entries(action).filter(
    ([name, value]) => name !== "text" && (typeof value === "string" || typeof value === "number"),
  );
  return Object.fromEntries(facts) as ActionDetails;
}

function placed(action: { x?: number | undefined; y?: number | undefined }): string {
  return action.x === undefined ? "" : ` at ${placeOf(action)}`;
}

function placeOf(place: { x?: number | undefined; y?: number | undefined } | undefined): string {
  return `(${place?.x}, ${place?.y})`;
}
