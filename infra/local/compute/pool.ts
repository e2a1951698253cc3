import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Definition } from "./definitions.ts";
import { Demand } from "./demand.ts";
import type { FunctionRecord } from "./functions.ts";
import type { Made } from "./isolated.ts";
import type { Instance } from "#infra/local/sealed/maker.ts";

/** An instance that a session is given: prepared, in the making, or only begun for it. */
export interface Lease {
  id: string;
  made: Promise<Made>;
}

interface Ready extends Made {
  id: string;
  definition: Definition;
  readyAt: number;
  want: () => void;
}

interface Making extends Lease {
  definition: Definition;
  stop: AbortController;
  want: () => void;
}

export interface PoolDeps {
  /** Makes one; until `wanted` resolves, nobody waits for it. */
  make: (record: FunctionRecord, id: string, signal: AbortSignal, wanted?: Promise<void>) => Promise<Made>;
  now: () => number;
  log: { event(name: string, facts: Record<string, unknown>): void };
  /** Told of whatever changes what the pool holds. */
  changed: () => void;
}

const SIZE_GUESS_BYTES = 32 * 1024 * 1024;
/** What answers sooner than this has nothing left to do of its start. */
const QUICK_MS = 150;
const RETRY_MS = { first: 1000, most: 60_000 };

/** Instances of one function without a session. One that is handed out never comes back. */
export class Pool {
  readonly name: string;
  readonly demand = new Demand();
  /** When a session last asked for one. */
  usedAt: number;
  /** What one takes, as last measured. */
  sizeBytes = SIZE_GUESS_BYTES;
  /** Not before then is another made: after a failure, later each time. */
  retryAt = 0;
  /** Why the last one could not be made. */
  error: string | undefined;
  readonly #deps: PoolDeps;
  readonly #making = new Set<Making>();
  readonly #leaving = new Set<Promise<void>>();
  #ready: Ready[] = [];
  #failures = 0;

  constructor(name: string, deps: PoolDeps) {
    this.name = name;
    this.usedAt = deps.now();
    this.#deps = deps;
  }

  get ready(): number {
    return this.#ready.length;
  }

  get making(): number {
    return this.#making.size;
  }

  /** When the one that waits longest was ready. */
  get oldestAt(): number {
    return this.#ready[0]?.readyAt ?? Infinity;
  }

  get held(): number {
    return this.ready + this.making;
  }

  /** The one that waits longest, else one in the making, which `signal` may then end; undefined when there is neither. */
  take(definition: Definition, signal: AbortSignal): Lease | undefined {
    const ready = this.#ready.find((it) => it.definition === definition && it.upstream.closed === undefined);
    if (ready) {
      this.#ready = this.#ready.filter((it) => it !== ready);
      const { id, instance, upstream } = ready;
      ready.want();
      return { id, made: Promise.resolve({ instance, upstream }) };
    }
    const making = this.#making.values().find((it) => it.definition === definition);
    if (!making) return undefined;
    this.#making.delete(making);
    making.want();
    signal.addEventListener("abort", () => making.stop.abort(), { once: true });
    return { id: making.id, made: making.made };
  }

  /** Begins one more. */
  prepare(record: FunctionRecord): void {
    const stop = new AbortController();
    const startedAt = this.#deps.now();
    const id = newInstanceId();
    const { promise: wanted, resolve: want } = Promise.withResolvers<void>();
    const made = this.#deps.make(record, id, stop.signal, wanted);
    const making: Making = { id, definition: record.definition, stop, made, want };
    this.#making.add(making);
    const rest = async (it: Made) => {
      const tookMs = this.#deps.now() - startedAt;
      if (tookMs > QUICK_MS) await Promise.race([atRest(it.instance, tookMs).catch(() => undefined), wanted]);
      return tookMs;
    };
    void made.then(
      async (it) => this.#finished(making, it, await rest(it)),
      (error: unknown) => this.#failed(making, error),
    );
  }

  /** Ends those of another definition than this one and those that were ready before `since`. */
  dropOld(definition: Definition | undefined, since: number): void {
    const isGood = (it: Ready) => it.definition === definition && it.readyAt > since;
    for (const it of this.#ready.filter((one) => !isGood(one))) this.#drop(it);
    for (const it of this.#making) if (it.definition !== definition) this.#cancel(it);
  }

  /** Ends as many as there are beyond `most`, those in the making first. */
  trim(most: number): void {
    for (const it of this.#making) if (this.held > most) this.#cancel(it);
    while (this.held > most) {
      const [oldest] = this.#ready;
      if (!oldest) return;
      this.#drop(oldest);
    }
  }

  /** Resolves when nothing is left of those that were ended by now. */
  async settled(): Promise<void> {
    await Promise.all(this.#leaving);
  }

  #finished(making: Making, { instance, upstream }: Made, tookMs: number): void {
    this.#failures = 0;
    this.error = undefined;
    this.demand.refilled(tookMs);
    // A session has it by now.
    if (!this.#making.delete(making)) return this.#deps.changed();
    const { id, definition, want } = making;
    const ready = { id, definition, want, readyAt: this.#deps.now(), instance, upstream };
    this.#ready.push(ready);
    void instance.ended.then(({ reason }) => this.#lost(ready, reason));
    void instance.usage().then(
      ({ memoryBytes }) => (this.sizeBytes = Math.max(memoryBytes, 1)),
      () => undefined,
    );
    this.#deps.changed();
  }

  #failed(making: Making, error: unknown): void {
    const isOurs = this.#making.delete(making);
    if (isOurs && !making.stop.signal.aborted) {
      const retryInMs = Math.min(RETRY_MS.first * 2 ** this.#failures++, RETRY_MS.most);
      this.retryAt = this.#deps.now() + retryInMs;
      this.error = error instanceof Error ? error.message : String(error);
      this.#deps.log.event("prepare_failed", { function: this.name, instance: making.id, error: this.error, retryInMs });
    }
    this.#deps.changed();
  }

  #lost(ready: Ready, reason: string): void {
    if (!this.#ready.includes(ready)) return;
    this.#deps.log.event("prepared_lost", { function: this.name, instance: ready.id, reason });
    this.#drop(ready);
    this.#deps.changed();
  }

  #cancel(making: Making): void {
    this.#making.delete(making);
    making.stop.abort();
    // What was finished in this very moment is nobody's any more.
    const gone = making.made.then((it) => this.#end(making.id, it)).catch(() => undefined);
    this.#leave(gone);
  }

  #drop(ready: Ready): void {
    this.#ready = this.#ready.filter((it) => it !== ready);
    this.#leave(this.#end(ready.id, ready));
  }

  async #end(id: string, { instance, upstream }: Made): Promise<void> {
    upstream.close("not needed");
    await instance.destroy().catch((error: unknown) => this.#deps.log.event("instance_leftover", { instance: id, error: String(error) }));
  }

  #leave(gone: Promise<void>): void {
    const leaving = gone.finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }
}

/** How long an instance has to do next to nothing to be at rest. */
const REST = { lookMs: 50, share: 0.1 };

/** Waits until an instance has done what it begins with: one that answers may have much of its start before it. At most as long as given. */
async function atRest(instance: Instance, mostMs: number): Promise<void> {
  for (let spentMs = 0, cpuMs = 0; spentMs < mostMs; spentMs += REST.lookMs) {
    const now = (await instance.usage()).cpuMs;
    if (now - cpuMs < REST.lookMs * REST.share) return;
    cpuMs = now;
    await delay(REST.lookMs);
  }
}

/** Instances are called by names of their own, which no session's id shows. */
export function newInstanceId(): string {
  return `c-${randomBytes(6).toString("hex")}`;
}
