import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { percentile } from "#bench/stats.ts";
import { makeBox } from "#support/box.ts";
import { compare, executeTimes, NOISES, openNoise } from "#support/neighbours.ts";
import { proves, type Range } from "#support/range.ts";
import { until } from "#support/until.ts";

const MOST = 2;
const TURNS = { runs: 200, forMs: 2000 };
const ATTEMPTS = 8;
/** Below it a p95 is the scheduler's and other programs' more than ours: twice as much is still a hundredth of a second. */
const FLOOR_MS = 5;

/** How much of the processors nobody else may use for a try to begin, and how long that is waited for. */
const IDLE = { share: 0.6, lookMs: 500, waitMs: 20_000 };

/**
 * Alone and beside take turns, so that what else the machine does is in both; several tries, each once the machine is
 * quiet, since a burst of other work may still fall into one side. The control is the noise's own: each of its turns
 * begins once it was measured to be at its worst.
 */
function quietBeside(name: string): (range: Range) => Promise<void> {
  return async ({ tenant, door }) => {
    const noise = NOISES.find((one) => one.name === name) ?? assert.fail(`no noise is called ${name}`);
    await using victim = await makeBox(tenant);
    await executeTimes(victim, { runs: 100, forMs: 0 });
    const said: string[] = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      await until("the machine is quiet", isIdle, IDLE.waitMs).catch(() => said.push("busy"));
      const { aloneMs, besideMs } = await compare(victim, () => openNoise(tenant, door.origin, noise), TURNS);
      const [alone, beside] = [percentile(aloneMs, 0.95), percentile(besideMs, 0.95)];
      if (beside < MOST * Math.max(alone, FLOOR_MS)) return;
      said.push(`${alone.toFixed(1)} → ${beside.toFixed(1)} ms`);
    }
    assert.fail(`beside ${name} an execute's p95 grew ${said.join(", ")}`);
  };
}

proves("T21a", "beside a cpu burner an execute's p95 is less than twice what it is alone", quietBeside("a cpu burner"));
proves("T21b", "the same beside a fork bomb", quietBeside("a fork bomb"));
proves("T21c", "the same beside a memory hog", quietBeside("a memory hog"));
proves("T21d", "the same beside a disk filler", quietBeside("a disk filler"));
proves("T21e", "the same beside a flood of output that is read as fast as it comes", quietBeside("an output flood"));

async function isIdle(): Promise<boolean> {
  const before = ticks();
  await delay(IDLE.lookMs);
  const after = ticks();
  return after.idle - before.idle > IDLE.share * (after.all - before.all);
}

/** What all processors together have done since the start, from the first line of /proc/stat. */
function ticks(): { idle: number; all: number } {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  const counts = line.split(/\s+/).slice(1).map(Number);
  return { idle: (counts[3] ?? 0) + (counts[4] ?? 0), all: counts.reduce((sum, one) => sum + one, 0) };
}
