import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "#contract/problem.ts";
import { noticeGone } from "./endings.ts";
import type { Platform, Row, SessionFacts } from "./ports.ts";
import { sandboxEnded, sandboxPaused, type SandboxRow } from "./sandbox-rows.ts";

const LOSS_LOOKS_MS = [0, 20, 60, 180];

/**
 * Why a sandbox was lost to a request: it died, or it was paused; the error as it came otherwise. A broken connection is
 * seen before the death behind it.
 */
export async function explainLoss(platform: Platform, row: Row<SandboxRow>, error: unknown): Promise<unknown> {
  if (!(error instanceof Problem) || error.code !== "sandbox_lost") return error;
  for (const waitMs of LOSS_LOOKS_MS) {
    await delay(waitMs);
    const facts = await factsIfKnown(platform, row.value);
    if (facts === "unknown") return error;
    if (!facts?.live) return sandboxEnded((await noticeGone(platform, row, facts)).value);
    if (facts.paused) return sandboxPaused(row.value, "was paused while this was under way");
  }
  return error;
}

export async function factsIfKnown(platform: Platform, row: SandboxRow): Promise<SessionFacts | undefined | "unknown"> {
  try {
    return await platform.engine.facts(row.ref);
  } catch (error) {
    if (error instanceof Problem && error.code === "engine_unavailable") return "unknown";
    throw error;
  }
}
