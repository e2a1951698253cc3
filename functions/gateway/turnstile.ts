import type { EventEmitter } from "node:events";
import { Problem } from "#contract/problem.ts";
import { type BytesPerSecond, type Flow, openFlow } from "./flow.ts";

/** How fast something may be asked, and of how much at once. A burst is as many as two seconds bring. */
export interface Pace {
  perSecond: number;
  atOnce: number;
}

/** Says how much one sandbox, and one project on the control routes, may be asked by way of this process. */
export interface Turnstile {
  /** Lets a request to a sandbox in or refuses it; it counts as under way until `passing` closes. Answers how its answer may flow. */
  enter(projectId: string, sandboxId: string, passing: EventEmitter | undefined): Flow;
  /** The same for a control request of a project, which takes no time worth counting. */
  control(projectId: string): void;
}

/** What is left of one pace, as of a moment. */
interface Meter {
  left: number;
  atMs: number;
  inside: number;
}

interface SandboxMeter extends Meter {
  flow: Flow;
}

interface ProjectMeters {
  control: Meter;
  sandboxes: Map<string, SandboxMeter>;
}

/** What this installation allows. */
export interface Paces {
  sandbox: Pace;
  streamPerSecond: BytesPerSecond;
  controlPerSecond: number;
}

const MS = 1000;
const BURST_SECONDS = 2;
const TIDY_EVERY_MS = 10_000;
const CROWDED_RETRY_MS = 1000;

/**
 * Opens a turnstile that remembers only whom it saw lately: a meter that is full again says the same as none, and goes.
 * What it counts is this process's own, so that n gateways together let in n times as much.
 */
export function openTurnstile(paces: Paces, now: () => number = () => performance.now()): Turnstile {
  const projects = new Map<string, ProjectMeters>();
  const control: Pace = { perSecond: paces.controlPerSecond, atOnce: Infinity };
  let tidiedAtMs = now();

  function metersOf(projectId: string, atMs: number): ProjectMeters {
    if (atMs - tidiedAtMs > TIDY_EVERY_MS) {
      tidiedAtMs = atMs;
      tidy(projects, paces.sandbox, control, atMs);
    }
    let meters = projects.get(projectId);
    if (!meters) projects.set(projectId, (meters = { control: newMeter(control, atMs), sandboxes: new Map() }));
    return meters;
  }

  return {
    enter(projectId, sandboxId, passing) {
      const atMs = now();
      const { sandboxes } = metersOf(projectId, atMs);
      let meter = sandboxes.get(sandboxId);
      if (!meter) sandboxes.set(sandboxId, (meter = { ...newMeter(paces.sandbox, atMs), flow: openFlow(paces.streamPerSecond, now) }));
      if (meter.inside >= paces.sandbox.atOnce) throw crowded(paces.sandbox, sandboxId);
      if (!take(meter, paces.sandbox, atMs)) throw hurried(paces.sandbox, { sandboxId });
      if (passing) {
        meter.inside += 1;
        passing.once("close", () => (meter.inside -= 1));
      }
      return meter.flow;
    },
    control(projectId) {
      const atMs = now();
      if (!take(metersOf(projectId, atMs).control, control, atMs)) throw hurried(control, { projectId });
    },
  };
}

function newMeter(pace: Pace, atMs: number): Meter {
  return { left: pace.perSecond * BURST_SECONDS, atMs, inside: 0 };
}

function take(meter: Meter, pace: Pace, atMs: number): boolean {
  meter.left = refilled(meter, pace, atMs);
  meter.atMs = atMs;
  if (meter.left < 1) return false;
  meter.left -= 1;
  return true;
}

function refilled({ left, atMs }: Meter, { perSecond }: Pace, nowMs: number): number {
  return Math.min(perSecond * BURST_SECONDS, left + (Math.max(0, nowMs - atMs) / MS) * perSecond);
}

function tidy(projects: Map<string, ProjectMeters>, sandbox: Pace, control: Pace, atMs: number): void {
  for (const [projectId, meters] of projects) {
    for (const [sandboxId, meter] of meters.sandboxes)
      if (isRested(meter, sandbox, atMs) && meter.flow.isRested()) meters.sandboxes.delete(sandboxId);
    if (meters.sandboxes.size === 0 && isRested(meters.control, control, atMs)) projects.delete(projectId);
  }
}

function isRested(meter: Meter, pace: Pace, atMs: number): boolean {
  return meter.inside === 0 && refilled(meter, pace, atMs) >= pace.perSecond * BURST_SECONDS;
}

function hurried({ perSecond }: Pace, whose: { sandboxId: string } | { projectId: string }): Problem {
  const what = "sandboxId" in whose ? "A sandbox" : "A project's control routes";
  const detail = `${what} may be asked ${perSecond} times a second`;
  return new Problem("rate_limited", { detail, perSecond, retryAfterMs: Math.ceil(MS / perSecond), ...whose });
}

function crowded({ atOnce }: Pace, sandboxId: string): Problem {
  const detail = `A sandbox may be asked ${atOnce} things at once`;
  return new Problem("rate_limited", { detail, atOnce, retryAfterMs: CROWDED_RETRY_MS, sandboxId });
}
