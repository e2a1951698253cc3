import { createHash } from "node:crypto";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { EndReason } from "#contract/sandbox.ts";
import type { Limits } from "./limits.ts";
import type { Platform, Row } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";
import { createSandbox, endSandbox, getSandbox } from "./sandboxes.ts";

export const MCP_SESSIONS = "mcp-sessions";
export const MCP_COUNTS = "mcp-session-counts";
const PAGE = 1000;
const SEEN_EVERY_MS = 10 * 60_000;
const RETRY_AFTER_MS = 60_000;

/**
 * What an MCP client goes on with. The row names its sandbox before there is one, so that however often it is asked for,
 * on however many gateways, one is made; which lives by its own idle time and is no part of what a crash could leak.
 */
export interface McpSessionRow {
  id: string;
  projectId: string;
  template: string;
  sandboxId: string;
  /** Whether the sandbox is the session's own: made for it, and ended with it. */
  own: boolean;
  /** What the client said of itself when it began; a gateway that has not met the session begins it anew by that. */
  client?: unknown;
  createdAtMs: number;
  seenAtMs: number;
}

type Owner = Pick<Project, "id">;

/** Begins a session of a client that has them. The row comes before it is counted: the count is never above what there is for long. */
export async function openSession(
  platform: Platform,
  project: Owner,
  of: { template: string; sandboxId?: string; client: unknown },
): Promise<Row<McpSessionRow>> {
  const now = platform.clock.now();
  return admit(platform, {
    id: `mcp-${newId(now)}`,
    projectId: project.id,
    template: of.template,
    sandboxId: of.sandboxId ?? newId(now),
    own: of.sandboxId === undefined,
    client: of.client,
    createdAtMs: now,
    seenAtMs: now,
  });
}

/** The session of a key that a client chose, for one template: the same key is the same session. */
export async function sessionOfKey(platform: Platform, project: Owner, template: string, key: string): Promise<Row<McpSessionRow>> {
  const id = keyedSession(template, key);
  const known = await platform.tables.get<McpSessionRow>(MCP_SESSIONS, sessionKey(project.id, id));
  if (known) return seen(platform, known);
  const now = platform.clock.now();
  const row = { id, projectId: project.id, template, sandboxId: newId(now), own: true, createdAtMs: now, seenAtMs: now };
  const made = await unlessConflict(admit(platform, row));
  return made ?? findSession(platform, project, id);
}

/** The id of the session that a key means for a template. */
export function keyedSession(template: string, key: string): string {
  return `key-${createHash("sha256").update(`${template}\0${key}`).digest("hex").slice(0, 32)}`;
}

/** The project's session of that id. */
export async function findSession(platform: Platform, project: Owner, id: string): Promise<Row<McpSessionRow>> {
  const row = await platform.tables.get<McpSessionRow>(MCP_SESSIONS, sessionKey(project.id, id.slice(0, LIMITS.metadataValueBytes)));
  if (!row || isForgotten(platform, row.value)) throw new Problem("mcp_session_not_found", { detail: "No such MCP session" });
  return seen(platform, row);
}

/** The session's sandbox, made if there is none. One that has ended is told of once; the next call is the next sandbox's. */
export async function sandboxOfSession(
  platform: Platform,
  limits: Limits,
  project: Project,
  session: Row<McpSessionRow>,
  signal?: AbortSignal,
): Promise<string> {
  const { sandboxId, own, template, id } = session.value;
  const state = await stateOf(platform, project, sandboxId);
  if (state === "lives" || !own) return sandboxId;
  if (state === "absent") {
    await createSandbox(platform, limits, project, { id: sandboxId, template, metadata: { mcpSession: id }, environment: {} }, signal);
    return sandboxId;
  }
  const next = newId(platform.clock.now());
  await unlessConflict(
    platform.tables.put(MCP_SESSIONS, session.key, { ...session.value, sandboxId: next }, { ifVersion: session.version }),
  );
  const detail = `This session's sandbox has ended (${state.reason}); its files and variables are gone`;
  throw new Problem("sandbox_ended", { detail, sandboxId, reason: state.reason, next: "Go on: the next call works in a fresh sandbox." });
}

/** Ends a session, and its sandbox if it had one of its own. Who ends it twice finds it gone. */
export async function closeSession(platform: Platform, project: Owner, id: string): Promise<void> {
  const { key, value } = await findSession(platform, project, id);
  if (value.own && (await stateOf(platform, project, value.sandboxId)) === "lives")
    await endSandbox(platform, project, value.sandboxId, "deleted");
  await forget(platform, { key, value });
}

/** Forgets a session that nobody used for a day; its sandbox went long before. */
export async function collectSession(platform: Platform, row: Row<McpSessionRow>): Promise<boolean> {
  if (!isForgotten(platform, row.value)) return false;
  await forget(platform, row);
  return true;
}

/** Corrects a project's count of sessions to its rows; one that moved meanwhile refuses the correction, which the next sweep repeats. */
export async function reconcileSessions(platform: Platform, projectId: string): Promise<boolean> {
  const counter = await platform.tables.get<number>(MCP_COUNTS, projectId);
  const rows = await platform.tables.range(MCP_SESSIONS, `${projectId}/`, { limit: PAGE + 1 });
  if (!counter || counter.value === rows.length) return false;
  return (await unlessConflict(platform.tables.put(MCP_COUNTS, projectId, rows.length, { ifVersion: counter.version }))) !== undefined;
}

/** Writes a new session and counts it; what is too many is taken back. */
async function admit(platform: Platform, value: McpSessionRow): Promise<Row<McpSessionRow>> {
  const row = await platform.tables.put<McpSessionRow>(MCP_SESSIONS, sessionKey(value.projectId, value.id), value, { ifVersion: "absent" });
  try {
    await platform.tables.add(MCP_COUNTS, value.projectId, 1, { ceiling: LIMITS.mcpSessions });
    return row;
  } catch (error) {
    await platform.tables.remove(MCP_SESSIONS, row.key);
    if (!(error instanceof Problem) || error.code !== "quota_exceeded") throw error;
    throw new Problem("quota_exceeded", {
      detail: `A project may have ${LIMITS.mcpSessions} MCP sessions at once`,
      next: "End sessions that are done with DELETE; one that nobody uses is forgotten after a day.",
      resource: "mcpSessions",
      quota: LIMITS.mcpSessions,
      retryAfterMs: RETRY_AFTER_MS,
    });
  }
}

async function forget(platform: Platform, { key, value }: Pick<Row<McpSessionRow>, "key" | "value">): Promise<void> {
  if (!(await platform.tables.get(MCP_SESSIONS, key))) return;
  await platform.tables.remove(MCP_SESSIONS, key);
  await platform.tables.add(MCP_COUNTS, value.projectId, -1);
}

/** Notes that a session is in use, but not for every request. */
async function seen(platform: Platform, row: Row<McpSessionRow>): Promise<Row<McpSessionRow>> {
  const now = platform.clock.now();
  if (now - row.value.seenAtMs < SEEN_EVERY_MS) return row;
  return (
    (await unlessConflict(platform.tables.put(MCP_SESSIONS, row.key, { ...row.value, seenAtMs: now }, { ifVersion: row.version }))) ?? row
  );
}

function isForgotten(platform: Platform, row: McpSessionRow): boolean {
  return platform.clock.now() - row.seenAtMs > LIMITS.mcpSessionIdleMs;
}

async function stateOf(platform: Platform, project: Owner, sandboxId: string): Promise<"absent" | "lives" | { reason: EndReason }> {
  try {
    const { state, endReason } = await getSandbox(platform, project, sandboxId);
    return state === "ending" || state === "ended" ? { reason: endReason ?? "lost" } : "lives";
  } catch (error) {
    if (error instanceof Problem && error.code === "sandbox_not_found") return "absent";
    throw error;
  }
}

function sessionKey(projectId: string, id: string): string {
  return `${projectId}/${id}`;
}
