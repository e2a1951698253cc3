import { Agent, request } from "node:http";
import type { Tables } from "#core/ports.ts";
import { composePlatform } from "#core/platform.ts";
import { createSandbox } from "#core/sandboxes.ts";
import { openDoor } from "#gateway/server.ts";
import { openTurnstile } from "#gateway/turnstile.ts";
import { CORE_LIMITS, openCore, projectOf, spec } from "#support/core.ts";
import { openGate, ROOT, signingKey } from "#support/gate.ts";
import { percentile } from "./stats.ts";

const PAIRS = 3000;
const WARM = 300;
const QUIET = { event: () => {} };
/** What a workspace answers to a small execute. */
const ANSWER = JSON.stringify({
  results: [{ type: "endOfExecution", status: "ok", executionCount: 1, durationMs: 1 }],
  stdout: "x".repeat(200),
});

/**
 * What a span adds to an execute: the same request through the whole door, one after another by two doors of one process,
 * one of which makes no spans. The engine behind both answers at once, so that nothing hides the difference.
 */
export async function spanCost(tables: Tables): Promise<Record<string, number>> {
  const { engine, platform: core } = openCore();
  const parts = {
    engine,
    tables,
    objects: core.objects,
    queue: core.queue,
    search: core.search,
    models: core.models,
    outside: core.outside,
  };
  const platform = composePlatform({ ...parts, clock: { now: Date.now }, log: QUIET }, signingKey());
  const turnstile = openTurnstile({ sandbox: { perSecond: 1e6, atOnce: 100 }, streamPerSecond: 2 ** 30, controlPerSecond: 1e6 });
  const { gateway } = await openGate({ platform, turnstile });
  const { sandbox } = await createSandbox(platform, CORE_LIMITS, projectOf("root"), spec({}));
  engine.workspace = ({ url }) =>
    url.includes("/said")
      ? Response.json({ batch: 1, spans: [], dropped: 0, more: false })
      : new Response(ANSWER, { headers: { "content-type": "application/json", "content-length": String(ANSWER.length) } });
  await using traced = await openDoor(gateway, { host: "127.0.0.1", port: 0 });
  await using untraced = await openDoor({ ...gateway, untraced: true }, { host: "127.0.0.1", port: 0 });
  const agent = new Agent({ keepAlive: true });
  const path = `/sandboxes/${sandbox.id}/contexts/execute`;
  const body = JSON.stringify({ code: "print('x' * 200)  # as small as they come" });
  const times: Record<"traced" | "untraced", number[]> = { traced: [], untraced: [] };
  for (let pair = 0; pair < WARM + PAIRS; pair += 1) {
    const order = pair % 2 === 0 ? (["traced", "untraced"] as const) : (["untraced", "traced"] as const);
    for (const way of order) {
      const port = way === "traced" ? traced.port : untraced.port;
      const begunMs = performance.now();
      await ask(agent, port, path, body);
      if (pair >= WARM) times[way].push(performance.now() - begunMs);
      // What is written together off the path is then written between two requests, or during the next, as it comes.
      if (pair % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
  agent.destroy();
  await platform.traces.flush();
  const differences = times.traced.map((ms, at) => ms - (times.untraced[at] ?? ms));
  return {
    executeTracedP50Us: micros(percentile(times.traced, 0.5)),
    executeUntracedP50Us: micros(percentile(times.untraced, 0.5)),
    spanAddsP50Us: micros(percentile(differences, 0.5)),
    spanAddsToP50Us: micros(percentile(times.traced, 0.5) - percentile(times.untraced, 0.5)),
    spanAddsToP95Us: micros(percentile(times.traced, 0.95) - percentile(times.untraced, 0.95)),
  };
}

function micros(ms: number): number {
  return Math.round(ms * 1000);
}

function ask(agent: Agent, port: number, path: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${ROOT.apiKey}`, "content-type": "application/json", "content-length": body.length };
    const asked = request({ agent, host: "127.0.0.1", port, path, method: "POST", headers }, (answer) => {
      answer.resume();
      answer.once("end", () => (answer.statusCode === 200 ? resolve() : reject(new Error(`HTTP ${answer.statusCode}`))));
    });
    asked.once("error", reject);
    asked.end(body);
  });
}
