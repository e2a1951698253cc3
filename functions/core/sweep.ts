import { keepLog, OPEN_LOGS } from "./actions.ts";
import { ARTIFACT_QUOTAS, reconcileArtifacts } from "./artifact-quotas.ts";
import { collectIntents } from "./artifacts.ts";
import { collectProfiles } from "./browser-profile-rows.ts";
import { CREATE_GRACE_MS, type DueRow, dueKey, dueTime, nextDue } from "./due.ts";
import { endRow, finishEnding, noticeGone } from "./endings.ts";
import type { Limits } from "./limits.ts";
import { inward } from "./passage.ts";
import { Activity } from "#contract/workspace.ts";
import { Problem } from "#contract/problem.ts";
import { isToRest, mend, pauseIdle } from "./pauses.ts";
import { collectSession, MCP_COUNTS, MCP_SESSIONS, type McpSessionRow, reconcileSessions } from "./mcp-sessions.ts";
import type { EngineRef, ListedSession, Platform, Row } from "./ports.ts";
import { PROJECTS } from "./projects.ts";
import { finishRecording, OPEN_RECORDINGS, type OpenRow } from "./recordings.ts";
import type { Project } from "#contract/project.ts";
import { tendRecords } from "./retention.ts";
import { QUOTAS, reconcileQuota } from "./quotas.ts";
import {
  announce,
  DUE,
  isBeingMade,
  LIVING,
  type LivingRow,
  rowKey,
  SANDBOXES,
  type SandboxRow,
  TIMES,
  timeKey,
  turnAt,
} from "./sandbox-rows.ts";
import { collectSnapshots } from "./snapshot-intents.ts";
import { reconcileBytes, SNAPSHOT_QUOTAS } from "./snapshot-quotas.ts";
import { leaveTask } from "./task-rows.ts";
import { collectTickets } from "./tickets.ts";
import { TEMPLATES, type TemplateRow } from "./templates.ts";
import { collectUploads } from "./uploads.ts";

const SWEEPS = "sweeps";
const DUE_PER_RUN = 500;
const LIVING_PER_RUN = 500;
const FUNCTIONS_PER_RUN = 50;
const PROJECTS_PER_RUN = 500;
const INTENTS_PER_RUN = 100;
const TICKETS_PER_RUN = 500;
const LOGS_PER_RUN = 500;
const MCP_SESSIONS_PER_RUN = 500;
const AT_ONCE = 8;
const SHORTEST_WAIT_MS = 1000;
const PAUSE_GRACE_MS = 10_000;

/** What one run of the sweep did, by count. */
export interface SweepReport {
  due: number;
  ended: number;
  paused: number;
  orphans: number;
  forgotten: number;
  corrected: number;
  collected: number;
  failed: number;
}

type Run = { platform: Platform; limits: Limits; report: SweepReport; signal: AbortSignal | undefined };

/**
 * Makes rows and what runs agree, both ways. It decides nothing by itself: every step reads a row, and changes it only
 * if nobody else did meanwhile, so that any number of sweeps may run at once, and one cut short is finished by the next.
 */
export async function sweep(platform: Platform, limits: Limits, signal?: AbortSignal): Promise<SweepReport> {
  const report: SweepReport = { due: 0, ended: 0, paused: 0, orphans: 0, forgotten: 0, corrected: 0, collected: 0, failed: 0 };
  const run: Run = { platform, limits, report, signal };
  await step(run, "due", () => sweepDue(run));
  await step(run, "living", () => sweepLiving(run));
  await step(run, "orphans", () => sweepOrphans(run));
  await step(run, "quotas", () => sweepCounts(run, QUOTAS, reconcileQuota));
  await step(run, "artifacts", async () => {
    report.collected += await collectIntents(platform, INTENTS_PER_RUN);
    report.collected += await collectUploads(platform, INTENTS_PER_RUN);
    await sweepCounts(run, ARTIFACT_QUOTAS, reconcileArtifacts);
  });
  await step(run, "action logs", () => sweepOpen(run, OPEN_LOGS, LOGS_PER_RUN, ({ key }) => keepLog(platform, key)));
  await step(run, "recordings", () => sweepOpen(run, OPEN_RECORDINGS, LOGS_PER_RUN, (row: OpenRow) => finishRecording(platform, row)));
  await step(run, "snapshots", async () => {
    report.collected += await collectSnapshots(platform, INTENTS_PER_RUN);
    report.collected += await collectProfiles(platform, INTENTS_PER_RUN);
    await sweepCounts(run, SNAPSHOT_QUOTAS, reconcileBytes);
  });
  await step(run, "tickets", async () => {
    report.collected += await collectTickets(platform, TICKETS_PER_RUN);
  });
  await step(run, "mcp", () => sweepMcpSessions(run));
  await step(run, "records", async () =>
    eachOf(run, await stretch<Project>(platform, PROJECTS, PROJECTS_PER_RUN), ({ value }) => tendRecords(platform, value)),
  );
  platform.log.event("sweep.done", { ...report });
  return report;
}

/** Looks at every sandbox whose moment has come. */
async function sweepDue(run: Run): Promise<void> {
  const { platform } = run;
  const now = platform.clock.now();
  const rows = await platform.tables.range<DueRow>(DUE, "", { limit: DUE_PER_RUN });
  const come = rows.filter((row) => row.key <= `${dueTime(now)}/\u{10FFFF}`);
  run.report.due += come.length;
  await eachOf(run, come, (due) => lookAt(run, due));
}

async function lookAt(run: Run, due: Row<DueRow>): Promise<void> {
  const { platform } = run;
  const now = platform.clock.now();
  const row = await platform.tables.get<SandboxRow>(SANDBOXES, rowKey(due.value.projectId, due.value.id));
  // A due-row that its sandbox does not name is a leftover, unless the sandbox is only about to be written.
  if (!row || row.value.state === "ended" || dueKey(row.value) !== due.key) {
    if (row || now > due.value.createdAtMs + CREATE_GRACE_MS) await platform.tables.remove(DUE, due.key);
    return;
  }
  // Its maker turns the row by the version that it wrote, so that nobody else may touch it.
  if (isBeingMade(platform, row.value)) return;
  const verdict = await judge(platform, row, now);
  if ("pauses" in verdict) {
    await pauseIdle(platform, row, async () => "pauses" in (await judge(platform, row, platform.clock.now())));
    run.report.paused += 1;
    return;
  }
  if ("reason" in verdict) {
    const ended = await endRow(platform, row, verdict.reason);
    if (ended.value.endReason === verdict.reason) run.report.ended += 1;
    return;
  }
  await turnAt(platform, row, verdict.nextAtMs, {});
}

type Verdict = { reason: "failed" | "lifetime" | "idle" } | { pauses: true } | { nextAtMs: number };

async function judge(platform: Platform, row: Row<SandboxRow>, now: number): Promise<Verdict> {
  const { state, endsAtMs, idleTimeoutMs, endReason, createdAtMs, resumedAtMs = createdAtMs } = row.value;
  if (state === "creating") return { reason: "failed" };
  // An ending that somebody left half done keeps its reason; the word here is only for the case that there is none.
  if (state === "ending") return { reason: endReason === "idle" ? "idle" : "lifetime" };
  if (now >= endsAtMs) return { reason: "lifetime" };
  if (state === "paused") return { nextAtMs: endsAtMs };
  const activity = await activityOf(platform, row.value);
  if (!activity) return { nextAtMs: Math.min(endsAtMs, now + SHORTEST_WAIT_MS) };
  // A workspace that was prepared ahead rested before there was its sandbox, one that was paused did so meanwhile.
  const idleMs = Math.min(activity.idleMs, now - resumedAtMs);
  if (!activity.busy && idleMs >= idleTimeoutMs) return row.value.autoPause ? { pauses: true } : { reason: "idle" };
  const activeAtMs = activity.busy ? now : now - idleMs;
  return { nextAtMs: Math.max(now + SHORTEST_WAIT_MS, nextDue(row.value, activeAtMs)) };
}

/** What the workspace says of its use; undefined when it does not answer, which is for the other steps to judge. */
async function activityOf(platform: Platform, row: SandboxRow): Promise<Activity | undefined> {
  const request = new Request("http://workspace/activity");
  try {
    const response = await platform.engine.request(row.ref, inward(platform, row.ref.sessionId, request), AbortSignal.timeout(5000));
    if (response.ok) return Activity.parse(await response.json());
    await response.body?.cancel();
  } catch (error) {
    platform.log.event("sweep.activity_unknown", { sandboxId: row.id, projectId: row.projectId, error: String(error) });
  }
  return undefined;
}

/** Looks at a stretch of the living, going on where the last run stopped: whose session is gone has ended. */
async function sweepLiving(run: Run): Promise<void> {
  const { platform } = run;
  const rows = await stretch<LivingRow>(platform, LIVING, LIVING_PER_RUN);
  const names = new Set(rows.map((row) => row.value.ref.functionName));
  const running = new Map<string, ListedSession>();
  for (const name of names) for (const session of await platform.engine.list(name)) running.set(refKey(session), session);
  await eachOf(run, rows, (living) => lookAtLiving(run, living, running.get(refKey(living.value.ref))));
}

async function lookAtLiving(run: Run, living: Row<LivingRow>, session: ListedSession | undefined): Promise<void> {
  const { platform, report } = run;
  const row = await platform.tables.get<SandboxRow>(SANDBOXES, living.key);
  const now = platform.clock.now();
  if (!row) {
    // Announced and never written: nothing was reserved or started.
    if (now <= living.value.createdAtMs + CREATE_GRACE_MS) return;
    await platform.tables.remove(TIMES, timeKey(living.value));
    await leaveTask(platform, { ...living.value, taskId: living.value.id });
    await platform.tables.remove(LIVING, living.key, { ifVersion: living.version });
    report.forgotten += 1;
    return;
  }
  const { state, endedAtMs = now } = row.value;
  if (state === "ended") {
    // Whoever ended it gives back its quota; when that was cut short, the count of the living corrects it.
    if (now <= endedAtMs + CREATE_GRACE_MS) return;
    await finishEnding(platform, row.value);
    report.forgotten += 1;
    return;
  }
  if (isBeingMade(platform, row.value)) return;
  if (state !== "ready" && state !== "paused") {
    await endRow(platform, row, "failed");
    report.ended += 1;
    return;
  }
  if (session) {
    if (isToRest(row.value) === (session.paused ?? false) && !row.value.waking) return;
    // Whoever turned the row just now is about to tell the engine, and the list is older than the row.
    if (now <= Math.max(row.value.pausedAtMs ?? 0, row.value.resumedAtMs ?? 0) + PAUSE_GRACE_MS) return;
    await mend(platform, row);
    report.corrected += 1;
    return;
  }
  const facts = await platform.engine.facts(row.value.ref);
  if (facts?.live) return;
  await noticeGone(platform, row, facts);
  report.ended += 1;
}

/** Stops sessions that no living row knows. A row is written before its session, so a session without one is left over. */
async function sweepOrphans(run: Run): Promise<void> {
  const { platform, limits } = run;
  const templates = await stretch<TemplateRow>(platform, TEMPLATES, FUNCTIONS_PER_RUN);
  const names = [limits.workspaceFunction, ...templates.map((row) => row.value.functionName)];
  for (const name of names) await eachOf(run, await platform.engine.list(name), (ref) => lookAtSession(run, ref));
}

async function lookAtSession(run: Run, ref: EngineRef): Promise<void> {
  const { platform, report } = run;
  const at = ref.sessionId.indexOf("_");
  if (at < 0) return;
  const row = await platform.tables.get<SandboxRow>(SANDBOXES, rowKey(ref.sessionId.slice(0, at), ref.sessionId.slice(at + 1)));
  if (row && row.value.state !== "ended") {
    const living = await platform.tables.get(LIVING, row.key);
    if (!living) await announce(platform, row.value);
    return;
  }
  await platform.engine.stop(ref);
  report.orphans += 1;
}

/** Corrects the counts of a stretch of projects: the first part of their keys says whose they are. */
async function sweepCounts(run: Run, table: string, reconcile: (platform: Platform, projectId: string) => Promise<boolean>): Promise<void> {
  const rows = await stretch<number>(run.platform, table, PROJECTS_PER_RUN);
  const projectIds = new Set(rows.map(({ key }) => key.split("/", 1)[0] ?? key));
  await eachOf(run, [...projectIds], async (projectId) => {
    if (await reconcile(run.platform, projectId)) run.report.corrected += 1;
  });
}

/** Finishes what is still open, as far as its time has come. */
async function sweepOpen<T>(run: Run, table: string, limit: number, finish: (row: Row<T>) => Promise<boolean>): Promise<void> {
  await eachOf(run, await stretch<T>(run.platform, table, limit), async (row) => {
    if (await finish(row)) run.report.collected += 1;
  });
}

async function sweepMcpSessions(run: Run): Promise<void> {
  await sweepOpen<McpSessionRow>(run, MCP_SESSIONS, MCP_SESSIONS_PER_RUN, (row) => collectSession(run.platform, row));
  await sweepCounts(run, MCP_COUNTS, reconcileSessions);
}

/** The next rows of a table after where the last run stopped; from the start again once the end was reached. */
async function stretch<T>(platform: Platform, table: string, limit: number): Promise<Row<T>[]> {
  const cursor = await platform.tables.get<string>(SWEEPS, table);
  const after = cursor?.value ? { after: cursor.value } : {};
  const rows = await platform.tables.range<T>(table, "", { limit, ...after });
  const next = rows.length < limit ? "" : (rows.at(-1)?.key ?? "");
  if (next !== (cursor?.value ?? "")) await platform.tables.put(SWEEPS, table, next);
  return rows;
}

/** Does one thing to each of many, a few at once; what fails is counted and does not keep the others from their turn. */
async function eachOf<T>(run: Run, items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  async function work(): Promise<void> {
    for (const item of queue) {
      if (run.signal?.aborted) return;
      try {
        await action(item);
      } catch (error) {
        if (error instanceof Problem && error.code === "conflict") continue;
        run.report.failed += 1;
        run.platform.log.event("sweep.failed", { error: String(error) });
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

async function step(run: Run, name: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    run.report.failed += 1;
    run.platform.log.event("sweep.step_failed", { step: name, error: String(error) });
  }
}

function refKey(ref: EngineRef): string {
  return `${ref.functionName}/${ref.sessionId}`;
}
