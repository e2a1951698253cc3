import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "#contract/problem.ts";
import type { EndReason } from "#contract/sandbox.ts";
import type { AuditFacts } from "./audit.ts";
import { dueKey } from "./due.ts";
import type { Platform, Row, SessionFacts } from "./ports.ts";
import { release } from "./quotas.ts";
import { placeOf, sandboxSpan } from "./span.ts";
import { endOwnTask } from "./task-rows.ts";
import { DUE, isBeingMade, LIVING, ownRow, rowKey, type SandboxRow, turn } from "./sandbox-rows.ts";
import { tellEnded } from "./news.ts";
import { settleUsage } from "./usage/metering.ts";

const ATTEMPTS = 20;
const MAKER_WAIT_MS = 10;
const MAKER_WAITS = 500;

/** What the maker of a sandbox alone knows when it ends what it was making. */
interface MakersWord {
  making: false;
  holdsQuota: boolean;
}

/**
 * Ends a sandbox from whatever state it is in. The row turns to `ending` first, so that a crash here leaves work for the
 * sweep. Any number may end it at once: all stop the session, one of them writes `ended`, and that one gives back the
 * quota. One that is still being made is stopped and left to its maker, who is waited for; `ending` is the answer if
 * that takes too long.
 */
export async function endRow(platform: Platform, first: Row<SandboxRow>, reason: EndReason, word?: MakersWord): Promise<Row<SandboxRow>> {
  let row = first;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (row.value.state === "ended") return row;
    const ending = await turnToEnding(platform, row, reason, word);
    if (ending && isBeingMade(platform, ending.value)) {
      await platform.engine.stop(ending.value.ref);
      return awaitMaker(platform, ending);
    }
    const ended = ending && (await finish(platform, ending));
    if (ended) return ended;
    row = await ownRow(platform, { id: row.value.projectId }, row.value.id);
  }
  throw new Problem("conflict", { sandboxId: row.value.id });
}

async function turnToEnding(
  platform: Platform,
  row: Row<SandboxRow>,
  reason: EndReason,
  word: MakersWord | undefined,
): Promise<Row<SandboxRow> | undefined> {
  if (row.value.state !== "ending") {
    const [ending] = await Promise.all([
      turn(platform, row, { state: "ending", endReason: reason, ...word }),
      // What its programs said last is fetched while there is somebody to ask.
      row.value.state === "ready" ? platform.said.fetch(row.value) : undefined,
    ]);
    return ending;
  }
  return word && row.value.making ? turn(platform, row, { ...word }) : row;
}

async function awaitMaker(platform: Platform, ending: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  let row = ending;
  for (let waits = 0; waits < MAKER_WAITS && row.value.state !== "ended"; waits += 1) {
    await delay(MAKER_WAIT_MS);
    row = await ownRow(platform, { id: row.value.projectId }, row.value.id);
  }
  return row;
}

/** Ends the row of a sandbox whose session is gone, with the engine's reason in our words. */
export async function noticeGone(platform: Platform, row: Row<SandboxRow>, facts: SessionFacts | undefined): Promise<Row<SandboxRow>> {
  return endRow(platform, row, reasonOf(facts));
}

/** Gives back what an ended sandbox held. The living-row goes last, so that the count of the living is never below what is held. */
async function settle(platform: Platform, row: SandboxRow): Promise<void> {
  if (row.holdsQuota) await release(platform, row.projectId, row);
  await forget(platform, row);
}

/** Removes what lets the sweep find a sandbox that has nothing left to find. */
export async function forget(platform: Platform, row: Pick<SandboxRow, "projectId" | "id" | "dueAtMs">): Promise<void> {
  await Promise.all([platform.tables.remove(LIVING, rowKey(row.projectId, row.id)), platform.tables.remove(DUE, dueKey(row))]);
}

async function finish(platform: Platform, ending: Row<SandboxRow>): Promise<Row<SandboxRow> | undefined> {
  const { ref } = ending.value;
  const facts = (await platform.engine.stop(ref)) ?? (await platform.engine.facts(ref));
  const measured = {
    ...(facts?.usage ? { usage: facts.usage } : {}),
    ...(facts?.isolation ? { isolation: facts.isolation } : {}),
    ...(facts?.endedAtMs === undefined ? {} : { stoppedAtMs: facts.endedAtMs }),
  };
  await endOwnTask(platform, ending.value);
  const ended = await turn(platform, ending, { state: "ended", endedAtMs: platform.clock.now(), ...measured });
  if (!ended) return undefined;
  await Promise.all([tellEnding(platform, ended.value), settleUsage(platform, ended.value)]);
  await tellEnded(platform, ended.value);
  await settle(platform, ended.value);
  platform.traces.recordControl(placeOf(ended.value), sandboxSpan(ended.value));
  const { id, projectId, endReason, createdAtMs, endedAtMs = createdAtMs } = ended.value;
  platform.log.event("sandbox.ended", {
    sandboxId: id,
    projectId,
    reason: endReason,
    lifeMs: endedAtMs - createdAtMs,
    cpuMs: facts?.usage?.cpuMs,
  });
  return ended;
}

/** Finishes what a crash cut short after a sandbox's row had said `ended`. Its quota is left to the count of the living. */
export async function finishEnding(platform: Platform, row: SandboxRow): Promise<void> {
  await tellEnding(platform, row);
  await settleUsage(platform, row);
  await tellEnded(platform, row);
  await forget(platform, row);
}

/**
 * Tells the audit log of an ending: whoever wrote `ended` does, before the living-row goes. When a crash comes between, the
 * sweep finds that row and tells it then.
 */
async function tellEnding(platform: Platform, { id, projectId, endReason, traceId }: SandboxRow): Promise<void> {
  const facts: AuditFacts = {
    actor: { kind: "platform", id: "engine" },
    action: "sandboxEnded",
    resource: { kind: "sandbox", id },
    phase: "done",
    decision: "allow",
    policy: "lifecycle",
    ...(endReason === undefined ? {} : { reason: endReason }),
    ...(traceId === undefined ? {} : { traceId }),
  };
  await platform.audit.append(projectId, facts);
}

function reasonOf(facts: SessionFacts | undefined): EndReason {
  return REASONS[facts?.endReason ?? "deleted"];
}

/** The engine's reasons in our words. What was deleted without our row knowing, or forgotten, is lost. */
const REASONS: Record<NonNullable<SessionFacts["endReason"]>, EndReason> = {
  ttl: "lifetime",
  idle: "idle",
  oom: "oom",
  crashed: "crashed",
  engine_restarted: "engine_restarted",
  deleted: "lost",
};
