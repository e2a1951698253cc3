import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Sandbox } from "#contract/sandbox.ts";
import { nextDue } from "./due.ts";
import { endRow } from "./endings.ts";
import { explainLoss } from "./losses.ts";
import type { Platform, Row } from "./ports.ts";
import { span } from "./span.ts";
import { ownRow, refuseUnlessReady, sandboxEnded, type SandboxRow, toSandbox, turn, turnAt } from "./sandbox-rows.ts";
import { turnHours } from "./usage/hours.ts";

const ATTEMPTS = 10;
/** How long a request that read a row may take to be where the workspace knows of it. */
const ARRIVAL_MS = 50;
const LOOK_MS = 10;
const SETTLE_MAX_MS = 5000;

/** Stops a sandbox where it stands and keeps all of it; what is under way with it is cut. Pausing twice is one pause. */
export async function pauseSandbox(platform: Platform, project: Pick<Project, "id">, id: string): Promise<Sandbox> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const row = await ownRow(platform, project, id);
    if (row.value.state !== "paused") refuseUnlessReady(row.value);
    const paused = isToRest(row.value) ? row : await turnToPaused(platform, row);
    if (paused) return toSandbox((await carryOut(platform, paused)).value);
  }
  throw new Problem("conflict", { sandboxId: id });
}

/** Lets a paused sandbox go on where it stood. Resuming twice is one resume. */
export async function resumeSandbox(platform: Platform, project: Pick<Project, "id">, id: string): Promise<Sandbox> {
  return toSandbox((await wake(platform, await ownRow(platform, project, id))).value);
}

/**
 * Pauses a sandbox that nobody uses. What was on its way in when its row turned has arrived a moment later, and from then on
 * everybody reads the row first: so it is asked once more, and let go of if somebody uses it.
 */
export async function pauseIdle(platform: Platform, row: Row<SandboxRow>, isStillIdle: () => Promise<boolean>): Promise<void> {
  const paused = await turnToPaused(platform, row);
  if (!paused) return;
  await delay(ARRIVAL_MS);
  if (await isStillIdle()) {
    await carryOut(platform, paused);
    return;
  }
  // Requests that came meanwhile wait for this, and so would we.
  const freed = await turn(platform, paused, { settling: false });
  await wake(platform, freed ?? (await ownRow(platform, { id: row.value.projectId }, row.value.id)));
}

/** Resumes a sandbox and answers its row once requests may go in. Any number may ask at once: it is resumed once. */
export function wake(platform: Platform, row: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  return platform.shared(`wake/${row.key}`, () =>
    row.value.state === "paused"
      ? span(platform, row.value, { kind: "sandbox", name: "resume sandbox" }, () => resume(platform, row))
      : resume(platform, row),
  );
}

/** Makes the engine do what a living row says: what a crash or a race left between the two. */
export async function mend(platform: Platform, row: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  try {
    return row.value.waking ? await wake(platform, row) : await follow(platform, row);
  } catch (error) {
    throw await explainLoss(platform, row, error);
  }
}

/** Whether the row says that its session stands still. */
export function isToRest(row: SandboxRow): boolean {
  return row.state === "paused" && !row.waking;
}

/** While it is paused only the end of its life is waited for. */
function turnToPaused(platform: Platform, row: Row<SandboxRow>): Promise<Row<SandboxRow> | undefined> {
  const pausedAtMs = platform.clock.now();
  const rests = turnHours(row.value, pausedAtMs, true);
  return turnAt(platform, row, row.value.endsAtMs, { state: "paused", waking: false, settling: true, pausedAtMs, ...rests });
}

/** The row turns to `waking` first: from there on everybody wants it to run, and whoever comes may finish it. */
async function resume(platform: Platform, first: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  let row = first;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    row = await settled(platform, row);
    if (row.value.state !== "paused") {
      refuseUnlessReady(row.value);
      return row;
    }
    if (row.value.endsAtMs <= platform.clock.now()) throw sandboxEnded((await endRow(platform, row, "lifetime")).value);
    const waking = row.value.waking ? row : await turn(platform, row, { waking: true });
    const ready = waking && (await finishWaking(platform, waking));
    if (ready) return ready;
    row = await ownRow(platform, { id: first.value.projectId }, first.value.id);
  }
  throw new Problem("conflict", { sandboxId: first.value.id });
}

/**
 * The row once its pause has reached the engine: a resume that is told there before the pause would be undone by it, under
 * a row that lets requests in. Who died on the way is not waited for longer than that takes.
 */
async function settled(platform: Platform, first: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  const { id, projectId } = first.value;
  const begunMs = performance.now();
  let row = first;
  while (isSettling(platform, row.value) && performance.now() - begunMs < SETTLE_MAX_MS) {
    await delay(LOOK_MS);
    row = await ownRow(platform, { id: projectId }, id);
  }
  return row;
}

function isSettling(platform: Platform, { state, settling, pausedAtMs = 0 }: SandboxRow): boolean {
  return state === "paused" && settling === true && platform.clock.now() < pausedAtMs + SETTLE_MAX_MS;
}

async function finishWaking(platform: Platform, waking: Row<SandboxRow>): Promise<Row<SandboxRow> | undefined> {
  const { id, projectId, ref, pausedAtMs = 0 } = waking.value;
  try {
    await platform.engine.resume(ref);
  } catch (error) {
    throw await explainLoss(platform, waking, error);
  }
  const now = platform.clock.now();
  const wakes = turnHours(waking.value, now, false);
  const ready = await turnAt(platform, waking, nextDue(waking.value, now), {
    state: "ready",
    waking: false,
    settling: false,
    resumedAtMs: now,
    ...wakes,
  });
  if (ready) platform.log.event("sandbox.resumed", { sandboxId: id, projectId, pausedMs: now - pausedAtMs });
  return ready;
}

/** Pauses the session of a row that says so. A pause that the engine refuses is taken back. */
async function carryOut(platform: Platform, paused: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  const { id, projectId } = paused.value;
  try {
    const row = await span(platform, paused.value, { kind: "sandbox", name: "pause sandbox" }, () => follow(platform, paused));
    platform.log.event("sandbox.paused", { sandboxId: id, projectId });
    return row;
  } catch (error) {
    const explained = await explainLoss(platform, paused, error);
    const now = platform.clock.now();
    const wakes = turnHours(paused.value, now, false);
    await turnAt(platform, paused, nextDue(paused.value, now), { state: "ready", settling: false, resumedAtMs: now, ...wakes });
    throw explained;
  }
}

/**
 * Tells the engine what the row says and looks at the row again: if it says something else by now, whoever turned it may
 * have told the engine before us, so that it is told again. So the last word at the engine is the row's.
 */
async function follow(platform: Platform, first: Row<SandboxRow>): Promise<Row<SandboxRow>> {
  let row = first;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const rests = isToRest(row.value);
    await (rests ? platform.engine.pause(row.value.ref) : platform.engine.resume(row.value.ref));
    row = await ownRow(platform, { id: first.value.projectId }, first.value.id);
    const lives = row.value.state === "ready" || row.value.state === "paused";
    if (!lives) return row;
    if (isToRest(row.value) !== rests) continue;
    if (!row.value.settling) return row;
    const arrived = await turn(platform, row, { settling: false });
    if (arrived) return arrived;
    row = await ownRow(platform, { id: first.value.projectId }, first.value.id);
  }
  throw new Problem("conflict", { sandboxId: first.value.id });
}
