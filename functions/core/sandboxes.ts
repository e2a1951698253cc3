import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateSandbox, EndReason, Sandbox, SandboxQuery, UpdateSandbox } from "#contract/sandbox.ts";
import { awakeRow, mayRest, readyRow } from "./awake.ts";
import { profileFor } from "./browser-restore.ts";
import { bringUp, meet, meetRival, newRow, sessionLife } from "./creation.ts";
import { dueKey, nextDue } from "./due.ts";
import { endRow, noticeGone } from "./endings.ts";
import { withLastWord } from "./last-word.ts";
import { checkTimes, type Limits } from "./limits.ts";
import { explainLoss, factsIfKnown } from "./losses.ts";
import { inward, outward, servedBy, twice } from "./passage.ts";
import { mend } from "./pauses.ts";
import type { Passage, Passed, Platform, Row, Upgraded } from "./ports.ts";
import {
  announce,
  DUE,
  ownRow,
  refuseUnlessReady,
  rowKey,
  SANDBOXES,
  sandboxPaused,
  type SandboxRow,
  timeKey,
  TIMES,
  toSandbox,
  turn,
  unlessConflict,
} from "./sandbox-rows.ts";
import { type Origin, originOf, ownSnapshot } from "./snapshot-rows.ts";
import { span } from "./span.ts";
import { enterTask, taskFor } from "./task-rows.ts";
import { CODE_INTERPRETER } from "./built-in.ts";
import { findTemplate } from "./templates.ts";
import { isBudgeted, refuseIfSpent } from "./usage/budgets.ts";

const ATTEMPTS = 10;
const PAGE = 200;
const PAGES_READ = 10;
const TRIES = 3;
/** What brings out what is there, and begins nothing. */
const READING: ReadonlySet<string> = new Set(["GET", "HEAD"]);

interface Made {
  sandbox: Sandbox;
  made: boolean;
}

/**
 * Makes a sandbox; the same id twice is one sandbox. What lets the sweep find it is written before its row, its row
 * before its unit of quota, and that before its session: a crash anywhere leaves work for the sweep, not a leak.
 */
export async function createSandbox(
  platform: Platform,
  limits: Limits,
  project: Project,
  spec: CreateSandbox,
  signal?: AbortSignal,
): Promise<Made> {
  checkTimes(limits, spec);
  if (spec.id !== undefined) {
    const existing = await platform.tables.get<SandboxRow>(SANDBOXES, rowKey(project.id, spec.id));
    if (existing) return { sandbox: await meet(platform, project, existing.value, spec, signal), made: false };
  }
  const origin = spec.snapshot === undefined ? undefined : originOf(await ownSnapshot(platform, project, spec.snapshot));
  return makeSandbox(platform, limits, project, { spec, origin }, signal);
}

/** Makes a sandbox with the files of a capture, or as its template has them. */
export async function makeSandbox(
  platform: Platform,
  limits: Limits,
  project: Project,
  { spec, origin }: { spec: CreateSandbox; origin: Origin | undefined },
  signal?: AbortSignal,
): Promise<Made> {
  const template = await findTemplate(platform, limits, project, spec.template ?? origin?.template ?? CODE_INTERPRETER);
  const profile = await profileFor(platform, project, spec, template.template);
  signal?.throwIfAborted();
  const intent = newRow(platform, project, template, spec, origin);
  const task = await taskFor(platform, intent);
  const [entered] = await Promise.all([enterTask(platform, intent, task), announce(platform, intent)]);
  intent.traceId = entered.traceId;
  if (await isBudgeted(platform, entered)) intent.budgeted = true;
  const written = await unlessConflict(platform.tables.put(SANDBOXES, rowKey(project.id, intent.id), intent, { ifVersion: "absent" }));
  if (!written) return { sandbox: await meetRival(platform, project, intent, spec, signal), made: false };
  const environment = { ...template.template.environment, ...spec.environment };
  const creation = { kind: "sandbox", name: "create sandbox", attributes: { "sandbox.template": intent.template } } as const;
  const inside = { environment, origin, profile };
  const ready = await span(platform, intent, creation, () => bringUp(platform, limits, project, written, inside, signal));
  return { sandbox: toSandbox(ready.value), made: true };
}

/** Reads a sandbox; `withUsage` asks the engine, which also tells when the sandbox is no more. */
export async function getSandbox(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  options: { withUsage?: boolean } = {},
): Promise<Sandbox> {
  const row = await ownRow(platform, project, id);
  if (!options.withUsage || (row.value.state !== "ready" && row.value.state !== "paused")) return toSandbox(row.value);
  const facts = await factsIfKnown(platform, row.value);
  if (facts === "unknown") return toSandbox(row.value);
  if (!facts?.live) return toSandbox((await noticeGone(platform, row, facts)).value);
  return toSandbox(row.value, facts);
}

/** A page of the project's sandboxes, newest first. A filter that finds little may answer a short page with `next`. */
export async function listSandboxes(
  platform: Platform,
  project: Pick<Project, "id">,
  query: SandboxQuery,
): Promise<{ items: Sandbox[]; next?: string }> {
  const prefix = `${project.id}/`;
  const items: Sandbox[] = [];
  let cursor = query.after === undefined ? undefined : prefix + query.after;
  const next = () => (cursor === undefined ? { items } : { items, next: cursor.slice(prefix.length) });
  for (let pages = 0; pages < PAGES_READ; pages += 1) {
    const index = await platform.tables.range<{ id: string }>(TIMES, prefix, {
      limit: PAGE,
      descending: true,
      ...(cursor === undefined ? {} : { after: cursor }),
    });
    const rows = await Promise.all(index.map((entry) => platform.tables.get<SandboxRow>(SANDBOXES, rowKey(project.id, entry.value.id))));
    for (const [at, entry] of index.entries()) {
      const row = rows[at]?.value;
      // An entry that a lost or withdrawn creation left behind is not the row's own.
      const wanted = row !== undefined && timeKey(row) === entry.key && matches(row, query);
      if (wanted && items.length === query.limit) return next();
      if (wanted) items.push(toSandbox(row));
      cursor = entry.key;
    }
    if (index.length < PAGE) return { items };
  }
  return next();
}

/** Changes what its owner may change. A life is extended at the engine first, so that its session never ends before its row says. */
export async function updateSandbox(
  platform: Platform,
  limits: Limits,
  project: Project,
  id: string,
  change: UpdateSandbox,
): Promise<Sandbox> {
  checkTimes(limits, change);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await ownRow(platform, project, id);
    refuseUnlessReady(row.value);
    const changed = changeRow(platform, limits, row.value, change);
    if (changed.endsAtMs > row.value.endsAtMs) await platform.engine.extend(row.value.ref, sessionLife(limits, changed));
    if (changed.dueAtMs < row.value.dueAtMs)
      await platform.tables.put(DUE, dueKey(changed), { projectId: project.id, id, createdAtMs: changed.createdAtMs });
    const written = await turn(platform, row, changed);
    if (!written) continue;
    if (dueKey(changed) !== dueKey(row.value)) await platform.tables.remove(DUE, dueKey(row.value));
    return toSandbox(written.value);
  }
  throw new Problem("conflict", { sandboxId: id });
}

/** Ends a sandbox and everything in it. Ending twice is one ending, and the first reason stays. */
export async function endSandbox(platform: Platform, project: Pick<Project, "id">, id: string, reason: EndReason): Promise<Sandbox> {
  const row = await ownRow(platform, project, id);
  return toSandbox((await endRow(platform, row, reason)).value);
}

/**
 * Passes a request into the owner's sandbox and its answer back, both unparsed. Of the request's URL only path and
 * query count: the path is the workspace's. One remembered row and one hop; nothing is written unless it is paused.
 */
export async function requestSandbox(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  request: Passage,
  signal?: AbortSignal,
): Promise<Response> {
  return (await requestServed(platform, project, id, request, signal)).response;
}

/** The same, and the port inside where it was a program that answered. */
export function requestServed(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  request: Passage,
  signal?: AbortSignal,
): Promise<{ response: Response } & Pick<Passed, "served">> {
  return asking(platform, project, id, request, async ({ value: { ref } }, passage) => {
    const answer = await platform.engine.request(ref, inward(platform, ref.sessionId, passage), signal);
    return { ...servedBy(answer), response: outward(answer) };
  });
}

/** The same for an answer that nobody reads here: it flows on to who asked. */
export function passIntoSandbox(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  request: Passage,
  signal?: AbortSignal,
): Promise<Passed> {
  return asking(platform, project, id, request, async (row, passage) => {
    const { ref } = row.value;
    const answer = await platform.engine.pass(ref, inward(platform, ref.sessionId, passage), signal);
    const passed = { ...servedBy(answer), ...outward(answer) };
    return withLastWord(passed, request.headers.get("x-request-id") ?? "", async (lost) => explainLoss(platform, row, lost));
  });
}

/** The same for a WebSocket: answers the upgraded ends. */
export function connectSandbox(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  request: Passage,
  signal?: AbortSignal,
): Promise<Upgraded> {
  return asking(platform, project, id, request, ({ value: { ref } }, passage) =>
    platform.engine.connect(ref, inward(platform, ref.sessionId, passage, true), signal),
  );
}

/** Asks a sandbox that is awake. One that was paused after its row was read took nothing: what is still whole is sent again. */
async function asking<T>(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  request: Passage,
  ask: (row: Row<SandboxRow>, passage: Passage) => Promise<T>,
  tries = TRIES,
): Promise<T> {
  const row = await readyRow(platform, project, id);
  if (!READING.has(request.method) || request.headers.has("upgrade")) await refuseIfSpent(platform, row.value);
  const [first, again] = mayRest(platform, row.value) ? await twice(request) : [request, request.body ? undefined : request];
  try {
    return await ask(row, first);
  } catch (error) {
    const isPaused = error instanceof Problem && error.code === "sandbox_not_ready";
    if (!isPaused || tries === 1) throw await explainLoss(platform, row, error);
    const latest = await ownRow(platform, project, id);
    const awake = latest.value.state === "ready" ? await mend(platform, latest) : await awakeRow(platform, latest);
    if (!again) throw sandboxPaused(awake.value, "was paused as this came; it is awake again", "Send it once more.");
    return asking(platform, project, id, again, ask, tries - 1);
  }
}

function changeRow(platform: Platform, limits: Limits, row: SandboxRow, change: UpdateSandbox): SandboxRow {
  const now = platform.clock.now();
  const idleTimeoutMs = change.idleTimeoutMs ?? row.idleTimeoutMs;
  const endsAtMs = Math.max(row.endsAtMs, change.lifetimeMs === undefined ? 0 : now + change.lifetimeMs);
  const latest = row.createdAtMs + limits.lifeMaxMs;
  if (endsAtMs > Math.max(latest, row.endsAtMs)) {
    const problem = `this sandbox can live until ${new Date(latest).toISOString()} at the latest`;
    throw new Problem("invalid_request", {
      detail: `body.lifetimeMs: ${problem}`,
      issues: [{ field: "body.lifetimeMs", problem }],
      maxLifetimeMs: Math.max(0, latest - now),
    });
  }
  const changed = {
    ...row,
    idleTimeoutMs,
    endsAtMs,
    metadata: change.metadata ?? row.metadata,
    ...(change.name === undefined ? {} : { name: change.name }),
  };
  return { ...changed, dueAtMs: Math.min(row.dueAtMs, nextDue(changed, now)) };
}

function matches(row: SandboxRow, query: SandboxQuery): boolean {
  if (query.state !== undefined && row.state !== query.state) return false;
  if (query.template !== undefined && row.template !== query.template) return false;
  if (query.taskId !== undefined && row.taskId !== query.taskId) return false;
  if (query.metadata === undefined) return true;
  const at = query.metadata.indexOf("=");
  return row.metadata[query.metadata.slice(0, at)] === query.metadata.slice(at + 1);
}
