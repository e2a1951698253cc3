import type { Project } from "#contract/project.ts";
import { anchorHead } from "./audit-log.ts";
import { pruneActions } from "./actions.ts";
import { pruneAudit } from "./audit-retention.ts";
import type { Platform } from "./ports.ts";
import { recordsOf } from "./records.ts";
import { SAID_COUNTS } from "./said.ts";
import { pruneUsage } from "./usage/retention.ts";
import { MINUTE_MS, type Segment, segmentPrefix, SPAN_TIMES, SPANS, timeText } from "./span-rows.ts";

const DAY_MS = 86_400_000;
/** Minutes of one project that one run looks at, and rows that it reads at once. */
const MINUTES = 200;
const PAGE = 100;

/** Anchors a project's audit log, and lets go of what it keeps no longer. */
export async function tendRecords(platform: Platform, project: Project): Promise<void> {
  await anchorHead(platform, project);
  await pruneRecords(platform, project);
}

/** Lets go of what a project keeps no longer; a run does some of it, and the next goes on. Answers how many rows went. */
export async function pruneRecords(platform: Platform, project: Project): Promise<number> {
  const { spanDays, actionDays, auditDays, usageDays } = recordsOf(project);
  const until = (days: number) => platform.clock.now() - days * DAY_MS;
  let gone = 0;
  if (spanDays !== null) gone += await pruneSpans(platform, project.id, until(spanDays));
  if (actionDays !== null) gone += await pruneActions(platform, project.id, until(actionDays));
  if (auditDays !== null) gone += await pruneAudit(platform, project.id, until(auditDays));
  if (usageDays !== null) gone += await pruneUsage(platform, project.id, until(usageDays));
  return gone;
}

/** Spans by the minute in which they were written. The minute's own row goes last, so that one cut short is met again. */
async function pruneSpans(platform: Platform, projectId: string, untilMs: number): Promise<number> {
  const { tables } = platform;
  const minutes = await tables.range<{ taskId: string }>(SPAN_TIMES, `${projectId}/`, { limit: MINUTES });
  let gone = 0;
  for (const { key, value } of minutes) {
    const minute = Number(key.split("/")[1]);
    if (minute + MINUTE_MS > untilMs) break;
    const prefix = segmentPrefix({ projectId, taskId: value.taskId });
    const end = `${prefix}${timeText(minute + MINUTE_MS)}`;
    for (;;) {
      const rows = await tables.range<Segment>(SPANS, prefix, { limit: PAGE });
      const old = rows.filter((row) => row.key < end);
      await Promise.all(old.map((row) => tables.remove(SPANS, row.key)));
      gone += old.length;
      if (old.length < PAGE) break;
    }
    for (const count of await tables.range(SAID_COUNTS, prefix, { limit: PAGE })) await tables.remove(SAID_COUNTS, count.key);
    await tables.remove(SPAN_TIMES, key);
  }
  return gone;
}
