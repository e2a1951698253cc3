import * as z from "zod";
import { Count, Moment, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** What can be done, or happen, where somebody looks at what an agent did. */
export const ActionKind = z.enum([
  "navigate",
  "click",
  "input",
  "key",
  "download",
  "upload",
  "dialog",
  "console_error",
  "failed_request",
  "page_crash",
  "browser_restart",
  "control",
  "desktop",
  "screenshot",
  "tab",
  "gap",
]);
export type ActionKind = z.output<typeof ActionKind>;

/** Who did it: the agent, a person who has control, the page by itself, or the platform. It is told as far as it is known. */
export const Actor = z.enum(["agent", "person", "page", "platform"]);
export type Actor = z.output<typeof Actor>;

/** Facts of an action beside its sentence; what a sandbox says in them is hostile text. */
export const ActionDetails = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
export type ActionDetails = z.output<typeof ActionDetails>;

/** One line of what was done in a sandbox. Secrets in it are masked before it is written anywhere. */
export const Action = z.object({
  id: z.string(),
  kind: ActionKind,
  at: Moment,
  by: Actor,
  /** One sentence for a person: `Clicked "Log in"`. */
  summary: z.string(),
  /** The page it was on. */
  url: z.string().optional(),
  details: ActionDetails,
  /** Whether there is a small picture of what was seen just after. */
  screenshot: z.boolean(),
});
export type Action = z.output<typeof Action>;

/** What an action says while it is recorded; the rest is the log's. A picture is a small JPEG, PNG or WebP. */
export interface NewAction {
  kind: ActionKind;
  by: Actor;
  summary: string;
  atMs?: number;
  url?: string;
  details?: ActionDetails;
  screenshot?: { bytes: Uint8Array; mediaType: "image/jpeg" | "image/png" | "image/webp" };
}

/** How many actions of each kind a log did not keep, because it holds so many of a kind at most. */
export const DroppedActions = z.partialRecord(ActionKind, z.int());
export type DroppedActions = z.output<typeof DroppedActions>;

export const ActionLog = z.object({
  items: z.array(Action),
  next: z.string().optional(),
  sandboxId: SandboxId,
  taskId: TaskId,
  dropped: DroppedActions,
  /** The artifact that holds the whole log as JSON Lines, pictures included, once the sandbox has ended. */
  artifactId: z.string().optional(),
});
export type ActionLog = z.output<typeof ActionLog>;

export const ActionQuery = z.strictObject({
  kind: ActionKind.optional(),
  after: z.string().max(64).optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type ActionQuery = z.output<typeof ActionQuery>;

export const listActions = operation({
  id: "listActions",
  method: "get",
  path: "/api/sandboxes/:sandboxId/actions",
  summary: "What was done in a sandbox's browser and desktop, newest first; also after it has ended",
  params: z.object({ sandboxId: z.string() }),
  query: ActionQuery,
  status: 200,
  returns: ActionLog,
  errors: ["sandbox_not_found", "invalid_request"],
});

/** What one who looks at a sandbox's screen sees of an action beside it. */
export const SeenAction = Action.pick({ id: true, kind: true, at: true, by: true, summary: true });
export type SeenAction = z.output<typeof SeenAction>;

/** What the page of a view asks with the session that it has instead of a credential. */
export const ActionsFromPage = z.strictObject({
  session: z.string().max(512),
  limit: z.int().min(1).max(LIMITS.pageMax).default(LIMITS.pageDefault),
});

export const actionsFromPage = operation({
  id: "actionsFromPage",
  method: "post",
  path: "/api/page/actions",
  summary: "For the page of a view: the newest of what was done in its sandbox",
  body: ActionsFromPage,
  status: 200,
  returns: z.object({ items: z.array(SeenAction) }),
  errors: ["ticket_not_valid", "invalid_request", "forbidden"],
});

export const getActionScreenshot = operation({
  id: "getActionScreenshot",
  method: "get",
  path: "/api/sandboxes/:sandboxId/actions/:actionId/screenshot",
  summary: "The small picture of what was seen just after an action",
  params: z.object({ sandboxId: z.string(), actionId: z.string().max(64) }),
  status: 200,
  streams: { response: "image/*" },
  errors: ["sandbox_not_found", "action_not_found"],
});
