import { readFileSync } from "node:fs";
import { Alarm } from "./alarm.ts";
import type { Capacity } from "./capacity.ts";
import { allot } from "./demand.ts";
import type { FunctionRecord } from "./functions.ts";
import type { Made } from "./isolated.ts";
import { type Lease, newInstanceId, Pool, type PoolDeps } from "./pool.ts";
import type { Scaling, Scalings } from "./scaling.ts";

export interface PoolLimits {
  /** Prepared instances of all functions together. */
  prepared: number;
  /** How long one may wait for its session. */
  preparedForMs: number;
}

export interface PoolsDeps extends Omit<PoolDeps, "changed"> {
  functions: { find(name: string): FunctionRecord | undefined };
  scalings: Pick<Scalings, "of" | "names">;
  capacity: Pick<Capacity, "free">;
  limits: PoolLimits;
  /** What prepared instances may still take of the machine's memory. */
  memoryLeft: () => number;
}

/** How many are made at once while nothing is asked of anyone, and while something is. */
const FILLERS = { quiet: 2, busy: 1 };
/** How often pools are looked at when nothing happens to them: demand fades, instances age, memory goes. */
const LOOK_MS = 5_000;

/**
 * Instances made ahead of their sessions, of every function that wants some. They are made when no session waits for
 * one, and they are the first to go when sessions need their place or their memory.
 */
export class Pools {
  readonly #deps: PoolsDeps;
  readonly #pools = new Map<string, Pool>();
  readonly #alarm: Alarm;
  readonly #traffic = { inFlight: 0 };
  #creating = 0;
  #state: "waiting" | "open" | "closed" = "waiting";

  constructor(deps: PoolsDeps) {
    this.#deps = deps;
    this.#alarm = new Alarm(deps.now, () => this.#look());
  }

  /** From here on instances are made ahead: what is deployed is what their sessions will be of. */
  open(): void {
    this.#state = "open";
    this.changed();
  }

  /** An instance for a session, for ever its own: a prepared one at once, one in the making, or one that is begun now. */
  take(record: FunctionRecord, signal: AbortSignal): Lease {
    const pool = this.#pool(record.name);
    const at = this.#deps.now();
    pool?.demand.took(at);
    if (pool) pool.usedAt = at;
    const lease = pool?.take(record.definition, signal) ?? this.#begin(record, signal);
    // A session's first requests go before the next filling.
    this.#alarm.by(at);
    return { id: lease.id, made: lease.made.then((made) => this.#hand(made)) };
  }

  /** What a function has prepared now, and what would suit the demand. */
  status(functionName: string): { ready: number; making: number; wanted: number; error: string | undefined } {
    const pool = this.#pools.get(functionName);
    if (!pool) return { ready: 0, making: 0, wanted: 0, error: undefined };
    return { ready: pool.ready, making: pool.making, wanted: this.#wanted(pool, this.#deps.now()), error: pool.error };
  }

  /** Looks again at once, after a function, its scaling, or a session's place changed. */
  changed(functionName?: string): void {
    const pool = functionName === undefined ? undefined : this.#pool(functionName);
    if (pool) pool.retryAt = 0;
    this.#alarm.by(this.#deps.now());
  }

  /** Resolves when nothing is left of what was prepared for a function that is gone. */
  async forget(functionName: string): Promise<void> {
    const pool = this.#pools.get(functionName);
    this.#pools.delete(functionName);
    pool?.trim(0);
    await pool?.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = "closed";
    this.#alarm.stop();
    await Promise.all([...this.#pools.keys()].map((name) => this.forget(name)));
  }

  #begin(record: FunctionRecord, signal: AbortSignal): Lease {
    const id = newInstanceId();
    const make = async () => {
      this.#creating++;
      try {
        await this.#makeRoom();
        return await this.#deps.make(record, id, signal);
      } finally {
        this.#creating--;
        this.changed();
      }
    };
    return { id, made: make() };
  }

  /** From here on its time and its requests are a session's. */
  #hand(made: Made): Made {
    made.upstream.lastActiveAt = this.#deps.now();
    made.upstream.traffic = this.#traffic;
    return made;
  }

  /** A session's own instance takes the place of a prepared one where there is no other. */
  async #makeRoom(): Promise<void> {
    const free = this.#deps.capacity.free();
    let excess = this.#held() - free;
    for (const pool of this.#byUse().toReversed()) {
      if (excess <= 0) return;
      const had = pool.held;
      pool.trim(Math.max(0, had - excess));
      excess -= had - pool.held;
      await pool.settled();
    }
  }

  /** Ends what is too old or too many and begins what is missing. Answers when to look again. */
  #look(): number {
    if (this.#state !== "open") return Infinity;
    const { functions, limits, scalings, now } = this.#deps;
    const at = now();
    for (const name of scalings.names()) this.#pool(name);
    const pools = this.#byUse();
    for (const pool of pools) pool.dropOld(functions.find(pool.name)?.definition, at - limits.preparedForMs);
    const allotted = this.#allot(pools, at);
    let fillers = this.#fillers() - pools.reduce((sum, pool) => sum + pool.making, 0);
    for (const [index, pool] of pools.entries()) {
      const most = allotted[index] ?? 0;
      pool.trim(most);
      const record = functions.find(pool.name);
      if (!record) continue;
      for (; fillers > 0 && pool.held < most && pool.retryAt <= at; fillers--) pool.prepare(record);
    }
    const deadlines = pools.flatMap((pool) => [pool.oldestAt + limits.preparedForMs, pool.retryAt > at ? pool.retryAt : Infinity]);
    return pools.length > 0 ? Math.min(at + LOOK_MS, ...deadlines) : Infinity;
  }

  /** The pool of a function that has a scaling. */
  #pool(name: string): Pool | undefined {
    const known = this.#pools.get(name);
    if (known || this.#state === "closed" || !this.#deps.scalings.of(name)) return known;
    const { make, now, log } = this.#deps;
    const pool = new Pool(name, { make, now, log, changed: () => this.#alarm.by(this.#look()) });
    this.#pools.set(name, pool);
    return pool;
  }

  #allot(pools: readonly Pool[], at: number): number[] {
    const { capacity, limits, memoryLeft } = this.#deps;
    const held = pools.reduce((sum, pool) => sum + pool.ready * pool.sizeBytes, 0);
    const budget = { instances: Math.min(limits.prepared, capacity.free()), bytes: memoryLeft() + held };
    const asks = pools.map((pool) => ({ wanted: this.#wanted(pool, at), sizeBytes: pool.sizeBytes }));
    return allot(asks, budget);
  }

  /** What would suit the demand, within what the function is allowed. */
  #wanted(pool: Pool, at: number): number {
    const { functions, scalings, capacity } = this.#deps;
    const record = functions.find(pool.name);
    const scaling = scalings.of(pool.name);
    if (!scaling || !record?.affinity) return 0;
    return Math.min(wantedOf(pool, scaling, at), capacity.free(pool.name, record.reserved));
  }

  /** A session that waits for its instance has the machine for itself. */
  #fillers(): number {
    if (this.#creating > 0) return 0;
    return this.#traffic.inFlight > 0 ? FILLERS.busy : FILLERS.quiet;
  }

  #byUse(): Pool[] {
    return [...this.#pools.values()].toSorted((a, b) => b.usedAt - a.usedAt);
  }

  #held(): number {
    return this.#pools.values().reduce((sum, pool) => sum + pool.held, 0);
  }
}

function wantedOf(pool: Pool, { minPrepared, maxPrepared }: Scaling, at: number): number {
  return Math.min(Math.max(minPrepared, pool.demand.wanted(at)), maxPrepared);
}

/** What the machine can give beyond what it keeps for those who have a session: an eighth of all. */
export function machineMemoryLeft(): number {
  const text = readFileSync("/proc/meminfo", "utf8");
  const bytesOf = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
  return bytesOf("MemAvailable") - bytesOf("MemTotal") / 8;
}
