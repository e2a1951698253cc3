import assert from "node:assert/strict";
import type { Usage } from "#contract/sandbox.ts";
import type { Box, Range } from "#support/range.ts";

/** What the engine measured of a living sandbox. */
export async function usageOf({ tenant }: Range, { sandboxId }: Box): Promise<Usage> {
  const { usage, state } = await tenant.json<{ usage: Usage; state: string }>("GET", `/api/sandboxes/${sandboxId}`);
  assert.equal(state, "ready");
  return usage;
}

/** A neighbour does all that a sandbox does, while another is at its worst. */
export async function worksWell(box: Box): Promise<void> {
  assert.equal((await box.inside("echo fine > ~/note && cat ~/note")).stdout, "fine\n");
  const answer = await box.send("POST", "/contexts/execute", { language: "python", code: "sum(range(1000))" });
  assert.match(await answer.text(), /499500/);
  assert.equal((await box.send("PUT", "/files/content?path=file", "x".repeat(100_000))).status, 200);
}
