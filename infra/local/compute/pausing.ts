import type { Instance } from "#infra/local/sealed/maker.ts";
import { refusal } from "./refusals.ts";
import type { SessionRow } from "./session-rows.ts";
import type { Upstream } from "./upstream.ts";

/** What pausing touches of a session that has an instance. */
export interface Pausable {
  row: SessionRow;
  instance?: Instance;
  upstream?: Upstream;
  ending?: Promise<void>;
}

/**
 * Stops a session where it stands. What is under way with it is cut first, and says so: a connection that is kept over
 * a pause would find its time-outs over on both sides.
 */
export async function pauseInstance(live: Pausable): Promise<void> {
  const { row, instance, upstream } = live;
  if (row.status !== "Active" || !instance || !upstream) throw wrongState(row);
  row.status = "Pausing";
  upstream.close("it was paused");
  try {
    await instance.pause();
    settle(live, "Paused");
  } catch (error) {
    if (row.status === "Pausing") reopen(live);
    throw error;
  }
}

/** Lets a paused session go on. Its idle time begins anew. */
export async function resumeInstance(live: Pausable): Promise<void> {
  const { row, instance } = live;
  if (row.status !== "Paused" || !instance) throw wrongState(row);
  row.status = "Resuming";
  try {
    await instance.resume();
  } catch (error) {
    settle(live, "Paused");
    throw error;
  }
  reopen(live);
}

/** The refusal of what a session cannot do in its state. */
export function wrongState(row: SessionRow): Error {
  return refusal("SessionStateConflict", `The session ${row.id} is ${row.status.toLowerCase()}`);
}

/** Whether a session is paused, or on its way there or back: until it is active again nothing can be asked of it. */
export function isHalted({ status }: SessionRow): boolean {
  return status === "Paused" || status === "Pausing" || status === "Resuming";
}

function reopen(live: Pausable): void {
  settle(live, "Active");
  if (live.upstream) live.upstream = live.upstream.again();
}

/** A session that ended meanwhile stays ended. */
function settle({ row, ending }: Pausable, status: "Active" | "Paused"): void {
  if (ending) throw refusal("SessionNotFound", `The session ${row.id} has ended`);
  row.status = status;
}
