import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "#contract/problem.ts";
import { Isolation, Usage } from "#contract/sandbox.ts";
import type { EngineRef, ListedSession, SessionFacts } from "#core/ports.ts";
import * as z from "zod";
import { asEngineProblem, hasCode } from "./engine-problems.ts";
import type { FcClient } from "./fc.ts";

/** What the engine says beside a session's model. */
const Beside = z.object({
  endReason: z.enum(["idle", "ttl", "deleted", "oom", "crashed", "engine_restarted"]).optional(),
  endedAt: z.iso.datetime().optional(),
  usage: Usage.optional(),
  isolation: Isolation.optional(),
});

const BESIDE = "x-cleanroom-session";
const PAGE = 100;
const LISTED = ["Active", "Paused", "Pausing", "Resuming"];
const OVER = new Set<string | undefined>(["Expired", "Deleted"]);
const PAUSED = new Set<string | undefined>(["Paused", "Pausing"]);
/** How long a session may be on its way from one state to another. */
const CHANGE_MS = 60_000;
const FIRST_LOOK_MS = 5;
const LOOK_MS = 500;

export const pauseSession = (client: FcClient, ref: EngineRef): Promise<void> =>
  bring(client, ref, "Paused", () => client.pauseSession(ref.functionName, ref.sessionId));

export const resumeSession = (client: FcClient, ref: EngineRef): Promise<void> =>
  bring(client, ref, "Active", () => client.resumeSession(ref.functionName, ref.sessionId));

/** Ends a session; one that is between two states cannot be ended until it has arrived. */
export async function stopSession(client: FcClient, ref: EngineRef): Promise<SessionFacts | undefined> {
  for (const look of looks()) {
    try {
      const { headers } = await client.deleteSession(ref.functionName, ref.sessionId);
      const beside = headers?.[BESIDE];
      return beside === undefined ? undefined : factsOf("Deleted", beside);
    } catch (error) {
      if (hasCode(error, "SessionNotFound", "FunctionNotFound")) return undefined;
      if (!hasCode(error, "SessionStateConflict") || look.last) asEngineProblem(error);
    }
    await delay(look.waitMs);
  }
  return undefined;
}

export async function readFacts(client: FcClient, ref: EngineRef): Promise<SessionFacts | undefined> {
  try {
    const { body, headers } = await client.getSession(ref.functionName, ref.sessionId);
    return factsOf(body.sessionStatus, headers[BESIDE] ?? "{}");
  } catch (error) {
    if (hasCode(error, "SessionNotFound", "FunctionNotFound")) return undefined;
    return asEngineProblem(error);
  }
}

function factsOf(status: string | undefined, besideText: string): SessionFacts {
  const live = !OVER.has(status);
  const { endReason, endedAt, usage, isolation } = Beside.safeParse(JSON.parse(besideText)).data ?? {};
  return {
    live,
    ...(PAUSED.has(status) ? { paused: true } : {}),
    ...(endReason && !live ? { endReason } : {}),
    ...(endedAt !== undefined && !live ? { endedAtMs: Date.parse(endedAt) } : {}),
    ...(usage ? { usage } : {}),
    ...(isolation ? { isolation } : {}),
  };
}

/** The sessions of a function that have not ended; those that have are listed by Function Compute as well. */
export async function listSessions(client: FcClient, functionName: string): Promise<ListedSession[]> {
  const found: ListedSession[] = [];
  for (const sessionStatus of LISTED) {
    const paused = PAUSED.has(sessionStatus) ? ({ paused: true } as const) : {};
    let nextToken: string | undefined;
    do {
      const page = { limit: PAGE, sessionStatus, ...(nextToken ? { nextToken } : {}) };
      const answer = await client
        .listSessions(functionName, page)
        .catch((error: unknown) => (hasCode(error, "FunctionNotFound") ? undefined : asEngineProblem(error)));
      for (const { sessionId } of answer?.body.sessions ?? []) if (sessionId) found.push({ functionName, sessionId, ...paused });
      nextToken = answer?.body.nextToken;
    } while (nextToken);
  }
  return found;
}

/**
 * Asks for a change and waits until it is made. Function Compute takes it from one state alone: what it refuses is done
 * already, or is being done, or is being undone and asked for again.
 */
async function bring(
  client: FcClient,
  ref: EngineRef,
  wanted: "Active" | "Paused",
  ask: () => Promise<{ body: { sessionStatus?: string } }>,
): Promise<void> {
  let status: string | undefined;
  for (const look of looks()) {
    const asked = await ask().catch((error: unknown) => (hasCode(error, "SessionStateConflict") ? undefined : asEngineProblem(error)));
    const answer = asked ?? (await client.getSession(ref.functionName, ref.sessionId).catch(asEngineProblem));
    status = answer.body.sessionStatus;
    if (status === wanted) return;
    if (OVER.has(status)) throw new Problem("sandbox_lost", { detail: `The session ${ref.sessionId} has ended` });
    await delay(look.waitMs);
  }
  throw new Problem("engine_unavailable", { detail: `The session ${ref.sessionId} stays ${status}`, sessionStatus: status });
}

/** How long to wait between one look and the next, growing, until the time for a change is over. */
function* looks(): Generator<{ waitMs: number; last: boolean }> {
  let spentMs = 0;
  for (let waitMs = FIRST_LOOK_MS; spentMs < CHANGE_MS; waitMs = Math.min(waitMs * 2, LOOK_MS)) {
    spentMs += waitMs;
    yield { waitMs, last: spentMs >= CHANGE_MS };
  }
}
