import type { EndReason } from "#contract/sandbox.ts";
import type { Victim } from "./victims.ts";

/** One sandbox as its client knows it: what was asked, what was answered, what it was told of the end. */
export interface Life {
  /** Its id where the client chose one, and what its metadata say in any case. */
  name: string;
  kind: "named" | "agentrun" | "unnamed";
  /** The snapshot that it is made from. */
  snapshot?: string;
  /** The id that was answered. */
  id?: string;
  createsAsked: number;
  /** Whether its client went on without an answer to its creation, and asks again at the end. */
  unsettled: boolean;
  deleteAsked: boolean;
  stopAsked: boolean;
  /** Whether its client left it to its idle time. */
  idleAsked: boolean;
  /** The reason that a request was refused with. */
  told?: string;
  /** What only a kill in the sandbox explains: the interpreter had to be replaced. */
  stateLost: boolean;
}

export interface Kill {
  victim: Victim;
  pid: number;
  atMs: number;
  /** The instance that it was a part of. */
  instance?: string;
}

/** What clients and the killer did; the judge holds the server to it. */
export interface Ledger {
  lives: Life[];
  kills: Kill[];
  /** How often something was asked again, by what was said, or that nothing was. */
  retries: Map<string, number>;
  steps: Map<string, number>;
  /** Promises that were broken. */
  faults: string[];
}

export function newLedger(): Ledger {
  return { lives: [], kills: [], retries: new Map(), steps: new Map(), faults: [] };
}

export function countUp(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** Which reasons a client's own doing explains. */
export function askedFor(life: Life): ReadonlySet<EndReason> {
  const reasons = new Set<EndReason>();
  if (life.deleteAsked) reasons.add("deleted");
  if (life.stopAsked) reasons.add("stopped");
  if (life.idleAsked) reasons.add("idle");
  return reasons;
}
