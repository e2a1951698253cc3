import { setTimeout as delay } from "node:timers/promises";
import type { Dice } from "./dice.ts";
import type { Ledger } from "./ledger.ts";
import type { Server } from "./server.ts";
import { killNow, targetsOf, type Victim } from "./victims.ts";

/** How often each is chosen. What takes many sandboxes along is chosen less, so that some lives come to their end. */
const WEIGHTS: Readonly<Record<Victim, number>> = {
  engine: 1,
  gateway: 2,
  worker: 2,
  maker: 1,
  zygote: 1,
  monitor: 2,
  init: 4,
  seed: 3,
  server: 3,
  interpreter: 5,
};
const LEAST_WAIT_MS = 200;
const MOST_WAIT_MS = 1600;

/** Kills at random until it is told to stop; an engine that it killed is started again before it goes on. */
export async function killAtRandom(server: Server, ledger: Ledger, dice: Dice, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(LEAST_WAIT_MS + dice.below(MOST_WAIT_MS - LEAST_WAIT_MS), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    if (targetsOf(server.door(), "engine").length === 0) {
      ledger.faults.push("the engine fell and nobody had killed it");
      await server.restart();
    }
    const victim = dice.weighted(WEIGHTS);
    const target = dice.pick(targetsOf(server.door(), victim));
    if (!target) continue;
    const { pid, instance } = target;
    const kill = { victim, pid, atMs: Date.now(), ...(instance === undefined ? {} : { instance }) };
    if (!killNow(target)) continue;
    ledger.kills.push(kill);
    if (victim === "engine") await server.restart();
  }
}
