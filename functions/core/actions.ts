import { type Action, ActionKind, type ActionLog, type ActionQuery, type DroppedActions, type NewAction } from "#contract/action.ts";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { shownDetails, shownText } from "./action-text.ts";
import { keepBody } from "./artifacts.ts";
import type { Platform, Row } from "./ports.ts";
import { ownRow, rowKey, SANDBOXES, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";

const ACTIONS = "actions";
const LOGS = "action-logs";
/** Logs that still have to be kept outside, by sandbox. */
export const OPEN_LOGS = "action-logs-open";
/** Who watches a browser just now, by sandbox. */
export const WATCHES = "action-watches";
const COUNTS = "action-counts";
const SCREENSHOTS = "screenshots";
const PAGE = 200;
const PAGES_READ = 20;
/** How long after its end something may still be written down of a sandbox: what was under way is told a moment later. */
const LATE_MS = 5_000;

/** What a log says where the one who watched is gone without having said so. */
export const CUT_OFF: NewAction = {
  kind: "gap",
  by: "platform",
  summary: "Whoever watched the browser was cut off; what was done in the moment before may be missing",
};

/** Whose action it is. */
export interface Whose {
  projectId: string;
  sandboxId: string;
  taskId: string;
}

/** What says that a sandbox has a log. `artifactId` is chosen before the log is kept, and `kept` once it was. */
interface LogRow extends Whose {
  openedAtMs: number;
  artifactId?: string;
  kept?: boolean;
}

interface ActionRow {
  action: Action;
  mediaType?: string;
  /** The action that its picture is kept under, where one picture shows what several came to. */
  pictured?: string;
}

/** Writes down one action. What looks like a secret in it is masked, and what the log has no room for is counted. */
export async function recordAction(platform: Platform, whose: Whose, action: NewAction): Promise<void> {
  await recordActions(platform, whose, [action]);
}

/**
 * The same for several, in their order, with how many more there were that nobody kept. What comes after the sandbox
 * has ended is let go: its log may have been kept already.
 */
export async function recordActions(
  platform: Platform,
  whose: Whose,
  actions: readonly NewAction[],
  missed: DroppedActions = {},
): Promise<void> {
  const key = rowKey(whose.projectId, whose.sandboxId);
  const sandbox = await platform.recent.get<SandboxRow>(SANDBOXES, key);
  if (!sandbox || isOver(platform, sandbox.value)) return;
  const log = (await platform.recent.get<LogRow>(LOGS, key)) ?? (await openLog(platform, key, whose));
  if (log.value.artifactId !== undefined) return;
  for (const [kind, count] of Object.entries(missed)) if (count > 0) await platform.tables.add(COUNTS, `${key}/dropped/${kind}`, count);
  const ids = idsOf(actions.map(({ atMs }) => atMs ?? platform.clock.now()));
  const kept: Kept = new Map();
  for (const [at, action] of actions.entries()) await record(platform, key, ids[at] ?? newId(platform.clock.now()), action, kept);
}

/** A page of a sandbox's log, newest first. A filter that finds little may answer a short page with `next`. */
export async function listActions(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  query: ActionQuery,
): Promise<ActionLog> {
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  const key = rowKey(project.id, sandboxId);
  const log = await platform.tables.get<LogRow>(LOGS, key);
  const head = {
    sandboxId,
    taskId: sandbox.taskId,
    dropped: await droppedOf(platform, key),
    ...(log?.value.kept && log.value.artifactId !== undefined ? { artifactId: log.value.artifactId } : {}),
  };
  const items: Action[] = [];
  let cursor = query.after === undefined ? undefined : `${key}/${query.after}`;
  // Without a filter one row more than are wanted says whether there are others.
  const limit = query.kind === undefined ? Math.min(PAGE, query.limit + 1) : PAGE;
  for (let pages = 0; pages < PAGES_READ; pages += 1) {
    const page = { limit, descending: true, ...(cursor === undefined ? {} : { after: cursor }) };
    const rows = await platform.tables.range<ActionRow>(ACTIONS, `${key}/`, page);
    for (const row of rows) {
      const wanted = query.kind === undefined || row.value.action.kind === query.kind;
      if (wanted && items.length === query.limit) return { items, next: idOf(cursor ?? ""), ...head };
      if (wanted) items.push(row.value.action);
      cursor = row.key;
    }
    if (rows.length < limit) return { items, ...head };
  }
  return { items, ...(cursor === undefined ? {} : { next: idOf(cursor) }), ...head };
}

/** Opens the small picture of one action. */
export async function openActionScreenshot(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  actionId: string,
): Promise<{ mediaType: string; sizeBytes: number; body: ReadableStream<Uint8Array> }> {
  await ownRow(platform, project, sandboxId);
  const notFound = new Problem("action_not_found", { detail: `No picture of the action ${actionId}`, sandboxId, actionId });
  if (!/^[0-9A-Z]{26}$/.test(actionId)) throw notFound;
  const prefix = rowKey(project.id, sandboxId);
  const row = await platform.tables.get<ActionRow>(ACTIONS, `${prefix}/${actionId}`);
  if (row?.value.mediaType === undefined) throw notFound;
  const found = await platform.objects.get(screenshotKey(`${prefix}/${row.value.pictured ?? actionId}`));
  if (!found) throw notFound;
  return { mediaType: row.value.mediaType ?? "", sizeBytes: found.info.sizeBytes, body: found.body };
}

/**
 * Keeps the log of a sandbox that has ended as an artifact, one line of JSON for each action. What says so is chosen
 * first and by one, so that keeping it twice, or again after a crash, is keeping it once. False while it is too early.
 */
export async function keepLog(platform: Platform, key: string): Promise<boolean> {
  const log = await platform.tables.get<LogRow>(LOGS, key);
  const sandbox = await platform.tables.get<SandboxRow>(SANDBOXES, key);
  if (sandbox && !isOver(platform, sandbox.value)) return false;
  if (log && sandbox && !log.value.kept) {
    // Whoever watched and did not say that it ended was cut off.
    if (await platform.tables.get(WATCHES, key)) {
      await platform.tables.remove(WATCHES, key);
      await record(platform, key, newId(platform.clock.now()), { ...CUT_OFF });
    }
    const { artifactId = newId(platform.clock.now()) } = log.value;
    const chosen = await platform.tables.put<LogRow>(LOGS, key, { ...log.value, artifactId }, { ifVersion: log.version });
    const { projectId, sandboxId, taskId } = chosen.value;
    const about = { id: artifactId, sandboxId, taskId, name: "actions.jsonl", mediaType: "application/jsonl", path: "" };
    await keepBody(platform, projectId, about, linesOf(platform, key, await droppedOf(platform, key)));
    await platform.tables.put<LogRow>(LOGS, key, { ...chosen.value, kept: true }, { ifVersion: chosen.version });
  }
  await platform.tables.remove(OPEN_LOGS, key);
  return true;
}

/** Lets go of logs that were opened before then and have been kept as artifacts, pictures first; answers how many rows went. */
export async function pruneActions(platform: Platform, projectId: string, untilMs: number): Promise<number> {
  const { tables, objects } = platform;
  let gone = 0;
  let after: string | undefined;
  // Ids of sandboxes may be a caller's own, so that logs are not in the order of their ages.
  for (let pages = 0; pages < PAGES_READ; pages += 1) {
    const logs: Row<LogRow>[] = await tables.range<LogRow>(LOGS, `${projectId}/`, {
      limit: PAGE,
      ...(after === undefined ? {} : { after }),
    });
    for (const { key } of logs.filter(({ value }) => value.openedAtMs < untilMs && value.kept)) {
      const rows = await tables.range<ActionRow>(ACTIONS, `${key}/`, { limit: PAGE });
      for (const row of rows) {
        if (row.value.mediaType !== undefined) await objects.remove(screenshotKey(row.key));
        await tables.remove(ACTIONS, row.key);
      }
      gone += rows.length;
      if (rows.length === PAGE) continue;
      for (const count of await tables.range(COUNTS, `${key}/`, { limit: PAGE })) await tables.remove(COUNTS, count.key);
      await tables.remove(LOGS, key);
    }
    after = logs.at(-1)?.key;
    if (logs.length < PAGE) break;
  }
  return gone;
}

/** What lets the sweep find the log comes first. */
async function openLog(platform: Platform, key: string, whose: Whose): Promise<Row<LogRow>> {
  const { projectId, sandboxId, taskId } = whose;
  const log: LogRow = { projectId, sandboxId, taskId, openedAtMs: platform.clock.now() };
  const known = await platform.tables.get<LogRow>(LOGS, key);
  if (known) return known;
  await platform.tables.put(OPEN_LOGS, key, { openedAtMs: log.openedAtMs });
  const opened = await unlessConflict(platform.tables.put<LogRow>(LOGS, key, log, { ifVersion: "absent" }));
  return opened ?? (await platform.tables.get<LogRow>(LOGS, key)) ?? { key, version: 1, value: log };
}

function isOver(platform: Platform, { state, endedAtMs = 0 }: SandboxRow): boolean {
  return state === "ended" && endedAtMs + LATE_MS < platform.clock.now();
}

/** A picture stands in the line of the action that it is kept under; others that it shows name that action. */
function linesOf(platform: Platform, key: string, dropped: DroppedActions): ReadableStream<Uint8Array> {
  async function* lines(): AsyncGenerator<Uint8Array> {
    for await (const { action, pictured, mediaType } of everyRow(platform, key)) {
      const found = pictured === action.id ? await platform.objects.get(screenshotKey(`${key}/${pictured}`)) : undefined;
      const bytes = found && Buffer.from(await new Response(found.body).arrayBuffer());
      const picture = bytes ? { picture: `data:${mediaType};base64,${bytes.toString("base64")}` } : {};
      const shownBy = pictured === undefined || pictured === action.id ? {} : { pictureOf: pictured };
      yield Buffer.from(`${JSON.stringify({ ...action, ...shownBy, ...picture })}\n`);
    }
    if (Object.keys(dropped).length > 0) yield Buffer.from(`${JSON.stringify({ dropped })}\n`);
  }
  return ReadableStream.from(lines());
}

/** How many of each kind were not kept. */
async function droppedOf(platform: Platform, key: string): Promise<DroppedActions> {
  const prefix = `${key}/dropped/`;
  const rows = await platform.tables.range<number>(COUNTS, prefix, { limit: ActionKind.options.length });
  return Object.fromEntries(rows.map((row: Row<number>) => [row.key.slice(prefix.length), row.value]));
}

/** The actions of a sandbox, oldest first. */
async function* everyRow(platform: Platform, key: string): AsyncGenerator<ActionRow> {
  let after: string | undefined;
  for (;;) {
    const rows = await platform.tables.range<ActionRow>(ACTIONS, `${key}/`, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { value } of rows) yield value;
    after = rows.at(-1)?.key;
    if (rows.length < PAGE) return;
  }
}

/** Pictures that were kept already, by the action that each is kept under; none for one that there is no room for. */
type Kept = Map<NonNullable<NewAction["screenshot"]>, string | undefined>;

async function record(platform: Platform, sandbox: string, id: string, given: NewAction, kept: Kept = new Map()): Promise<void> {
  const { kind, by, atMs = platform.clock.now(), url, screenshot } = given;
  // Each kind has room of its own, and what a page does by itself another: one that floods hides nothing of what was done.
  const room = by === "page" ? "/page" : "";
  if (!(await counted(platform, `${sandbox}/kept/${kind}${room}`, LIMITS.actionsPerKind))) {
    await platform.tables.add(COUNTS, `${sandbox}/dropped/${kind}`, 1);
    return;
  }
  const key = `${sandbox}/${id}`;
  if (screenshot && !kept.has(screenshot)) {
    const most = room === "" ? LIMITS.actionScreenshots : LIMITS.actionScreenshotsByPages;
    const has = await keepScreenshot(platform, { key, counter: `${sandbox}/${SCREENSHOTS}${room}`, most }, screenshot);
    kept.set(screenshot, has ? id : undefined);
  }
  const pictured = screenshot && kept.get(screenshot);
  const action: Action = {
    id,
    kind,
    at: new Date(atMs).toISOString(),
    by,
    summary: shownText(given.summary),
    ...(url === undefined ? {} : { url: shownText(url) }),
    details: shownDetails(given.details ?? {}),
    screenshot: pictured !== undefined,
  };
  const row: ActionRow = { action, ...(screenshot && pictured !== undefined ? { mediaType: screenshot.mediaType, pictured } : {}) };
  await platform.tables.put<ActionRow>(ACTIONS, key, row);
}

async function keepScreenshot(
  platform: Platform,
  { key, counter, most }: { key: string; counter: string; most: number },
  { bytes, mediaType }: NonNullable<NewAction["screenshot"]>,
): Promise<boolean> {
  if (bytes.byteLength > LIMITS.actionScreenshotBytes) return false;
  if (!(await counted(platform, counter, most))) return false;
  const body = new Blob([Buffer.from(bytes)]).stream();
  await platform.objects.put(screenshotKey(key), body, { maxBytes: LIMITS.actionScreenshotBytes, mediaType });
  return true;
}

async function counted(platform: Platform, key: string, ceiling: number): Promise<boolean> {
  try {
    await platform.tables.add(COUNTS, key, 1, { ceiling });
    return true;
  } catch (error) {
    if (error instanceof Problem && error.code === "quota_exceeded") return false;
    throw error;
  }
}

/** Ids that sort as their actions came, also those of one moment. */
function idsOf(moments: readonly number[]): string[] {
  return moments.map((atMs) => newId(atMs)).toSorted();
}

function idOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function screenshotKey(key: string): string {
  return `actions/${key}`;
}
