import { randomUUID } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { Alarm } from "./alarm.ts";
import type { Capacity, CapacityLimits } from "./capacity.ts";
import { readFields, SessionCreation, SessionTimes } from "./definitions.ts";
import type { FunctionRecord } from "./functions.ts";
import type { Made } from "./isolated.ts";
import type { Pools } from "./pools.ts";
import type { InstanceUsage } from "#infra/local/sealed/maker.ts";
import { isHalted, type Pausable, pauseInstance, resumeInstance, wrongState } from "./pausing.ts";
import { refusal } from "./refusals.ts";
import { type EndReason, openSessionRows, type SessionRow, type SessionRows } from "./session-rows.ts";
import type { Upstream } from "./upstream.ts";

export interface SessionLimits extends CapacityLimits {
  processesPerInstance: number;
  readyMs: number;
  sessionTtlMaxS: number;
  /** How long an ended session can still be asked about. */
  endedKeptMs: number;
}

export interface SessionDeps {
  db: DatabaseSync;
  pools: Pick<Pools, "take">;
  capacity: Capacity;
  limits: SessionLimits;
  now: () => number;
  log: { event(name: string, facts: Record<string, unknown>): void };
}

interface Live extends Pausable {
  stop: AbortController;
  release: () => void;
  made?: Promise<Made>;
}

const FORGET_EVERY_MS = 60_000;
/** What those learn who still make an instance that nobody wants any more. */
const ENDED = new Error("The session was ended");

/** Sessions of isolated functions: each has an instance of its own from its creation until its end. */
export class Sessions {
  readonly #deps: SessionDeps;
  readonly #live = new Map<string, Live>();
  readonly #rows: SessionRows;
  readonly #alarm: Alarm;
  #forgotAt = 0;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
    this.#rows = openSessionRows(deps.db, deps.now());
    this.#alarm = new Alarm(deps.now, () => this.#endDue());
  }

  /** Answers once the session's instance answers. The row is written before an instance of its own exists or a prepared one is used. */
  async create(record: FunctionRecord, input: unknown): Promise<SessionRow> {
    if (!record.affinity) throw refusal("InvalidArgument", `The function ${record.name} has no session affinity`);
    const wish = readFields(SessionCreation, input);
    const id = wish.sessionId ?? randomUUID();
    const earlier = this.#rows.find(record.name, id);
    if (this.#live.has(keyOf(record.name, id)) || earlier?.reusable === 0) {
      throw refusal(
        "SessionAlreadyExists",
        earlier?.status === "Expired" ? `The session ${id} has ended and its id may not be used again` : `The session ${id} exists`,
      );
    }
    const at = this.#deps.now();
    const row: SessionRow = {
      function: record.name,
      id,
      instanceId: "",
      status: "Creating",
      ttlS: wish.sessionTTLInSeconds ?? record.affinity.sessionTTLInSeconds,
      idleS: wish.sessionIdleTimeoutInSeconds ?? record.affinity.sessionIdleTimeoutInSeconds,
      reusable: (wish.disableSessionIdReuse ?? record.affinity.disableSessionIdReuse) ? 0 : 1,
      createdAt: at,
      modifiedAt: at,
      endedAt: null,
      endReason: null,
      usage: null,
    };
    this.#checkLife(row);
    const live: Live = { row, stop: new AbortController(), release: this.#deps.capacity.take(record.name, record.reserved) };
    this.#live.set(keyOf(record.name, id), live);
    await this.#start(live, record);
    return row;
  }

  get(functionName: string, id: string): SessionRow {
    const row = this.#live.get(keyOf(functionName, id))?.row ?? this.#rows.find(functionName, id);
    if (!row) throw refusal("SessionNotFound", `The function ${functionName} has no session ${id}`);
    return row;
  }

  list(functionName: string, page: { after: string; limit: number; status?: string | undefined }): SessionRow[] {
    return this.#rows.list(functionName, page);
  }

  /** Lives of the running sessions of a function, all functions when none is named. */
  running(functionName?: string): SessionRow[] {
    return [...this.#live.values()].map(({ row }) => row).filter((row) => functionName === undefined || row.function === functionName);
  }

  /** New times count from the session's creation and its last activity, as the old ones did. */
  update(functionName: string, id: string, input: unknown): SessionRow {
    const wish = readFields(SessionTimes, input);
    const { row } = this.#active(functionName, id);
    if (isHalted(row)) throw wrongState(row);
    const changed = { ...row };
    if (wish.sessionTTLInSeconds !== undefined) changed.ttlS = wish.sessionTTLInSeconds;
    if (wish.sessionIdleTimeoutInSeconds !== undefined) changed.idleS = wish.sessionIdleTimeoutInSeconds;
    if (wish.disableSessionIdReuse !== undefined) changed.reusable = wish.disableSessionIdReuse ? 0 : 1;
    this.#checkLife(changed);
    this.#rows.save(Object.assign(row, changed, { modifiedAt: this.#deps.now() }));
    this.#alarm.by(this.#deps.now());
    return row;
  }

  /** Resolves when nothing of the session runs any more. Ending an ended session is done already. */
  async remove(functionName: string, id: string): Promise<SessionRow> {
    const live = this.#live.get(keyOf(functionName, id));
    if (live && isHalted(live.row) && live.row.status !== "Paused") throw wrongState(live.row);
    if (live) await this.#end(live, "deleted");
    return live?.row ?? this.get(functionName, id);
  }

  /** Stops it where it stands: its life goes on to end, its idle time does not. */
  pause(functionName: string, id: string): Promise<SessionRow> {
    return this.#change(this.#active(functionName, id), pauseInstance);
  }

  resume(functionName: string, id: string): Promise<SessionRow> {
    return this.#change(this.#active(functionName, id), resumeInstance);
  }

  async #change(live: Live, change: (live: Live) => Promise<void>): Promise<SessionRow> {
    await change(live);
    this.#rows.save(Object.assign(live.row, { modifiedAt: this.#deps.now() }));
    this.#watch(live);
    return live.row;
  }

  /** The instance behind a session that can take requests. */
  upstream(functionName: string, id: string): Upstream {
    const { row, upstream } = this.#active(functionName, id);
    if (!upstream || isHalted(row)) throw wrongState(row);
    return upstream;
  }

  /** Measured now for a running session; for an ended one as it was at the end. */
  async usage(row: SessionRow): Promise<InstanceUsage | undefined> {
    const live = this.#live.get(keyOf(row.function, row.id));
    if (live && !live.ending) return live.instance?.usage().catch(() => undefined);
    return row.usage === null ? undefined : (JSON.parse(row.usage) as InstanceUsage);
  }

  async endAll(reason: EndReason, functionName?: string): Promise<void> {
    const chosen = [...this.#live.values()].filter(({ row }) => functionName === undefined || row.function === functionName);
    await Promise.all(chosen.map((live) => this.#end(live, reason)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#alarm.stop();
    await this.endAll("engine_restarted");
  }

  async #start(live: Live, record: FunctionRecord): Promise<void> {
    const { row } = live;
    try {
      Object.assign(live, await this.#instanceFor(live, record));
      if (!live.ending) this.#rows.save(Object.assign(row, { status: "Active" }));
    } catch (error) {
      if (!live.ending) await this.#end(live, "crashed");
      throw error;
    }
    if (live.ending) throw refusal("SessionNotFound", `The session ${row.id} was ended while it was being created`);
    void live.instance?.ended.then((end) => this.#end(live, end.reason === "oom" ? "oom" : "crashed"));
    this.#watch(live);
  }

  /** One that ends before it answers is replaced, once: what killed it need not come again, and its session's id cannot. */
  async #instanceFor(live: Live, record: FunctionRecord, tries = 2): Promise<Made> {
    const { row, stop } = live;
    const lease = this.#deps.pools.take(record, stop.signal);
    live.made = lease.made;
    this.#rows.save(Object.assign(row, { instanceId: lease.id }));
    try {
      return await lease.made;
    } catch (error) {
      if (live.ending || tries === 1) throw error;
      this.#deps.log.event("instance_replaced", { function: row.function, instance: lease.id, error: String(error) });
      return this.#instanceFor(live, record, tries - 1);
    }
  }

  #watch(live: Live): void {
    live.upstream?.onRest(() => this.#alarm.by(deadlineOf(live)));
    this.#alarm.by(deadlineOf(live));
  }

  #end(live: Live, reason: EndReason): Promise<void> {
    return (live.ending ??= this.#finish(live, reason));
  }

  /**
   * The row turns first: a crash from here on leaves a leftover for the sweep, not a session that seems alive.
   * A row that cannot be written, as on a full disk, keeps no instance alive.
   */
  async #finish(live: Live, reason: EndReason): Promise<void> {
    const { row } = live;
    const { now, log } = this.#deps;
    this.#note(Object.assign(row, { status: "Expired", endReason: reason, endedAt: now() }));
    live.stop.abort(ENDED);
    live.upstream?.close(reason);
    const made = await live.made?.catch(() => undefined);
    const usage = await made?.instance.usage().catch(() => undefined);
    await made?.instance
      .destroy()
      .catch((error: unknown) => log.event("instance_leftover", { instance: row.instanceId, error: String(error) }));
    live.release();
    this.#live.delete(keyOf(row.function, row.id));
    this.#note(Object.assign(row, { usage: usage ? JSON.stringify(usage) : null }));
    log.event("session_ended", { function: row.function, session: row.id, instance: row.instanceId, reason });
  }

  #endDue(): number {
    const at = this.#deps.now();
    let next = Infinity;
    for (const live of this.#live.values()) {
      if (live.ending || !live.upstream) continue;
      const deadline = deadlineOf(live);
      if (deadline > at) next = Math.min(next, deadline);
      else void this.#end(live, ttlOf(live.row) <= at ? "ttl" : "idle");
    }
    return next;
  }

  #active(functionName: string, id: string): Live {
    const live = this.#live.get(keyOf(functionName, id));
    if (!live || live.ending) throw refusal("SessionNotFound", `The function ${functionName} has no running session ${id}`);
    return live;
  }

  #checkLife(row: SessionRow): void {
    const most = this.#deps.limits.sessionTtlMaxS;
    if (row.ttlS > most || row.idleS > most) throw refusal("InvalidArgument", `Sessions live and rest for at most ${most} s`);
  }

  /** Writes how a session ends, and now and then forgets those that ended long ago. */
  #note(row: SessionRow): void {
    const { now, limits, log } = this.#deps;
    const at = now();
    try {
      this.#rows.save(row);
      if (at < this.#forgotAt + FORGET_EVERY_MS) return;
      this.#rows.forget(at - limits.endedKeptMs);
      this.#forgotAt = at;
    } catch (error) {
      log.event("session_not_written", { function: row.function, session: row.id, error: String(error) });
    }
  }
}

const keyOf = (functionName: string, id: string) => `${functionName}/${id}`;
const ttlOf = (row: SessionRow) => row.createdAt + row.ttlS * 1000;

function deadlineOf({ row, upstream }: Live): number {
  const resting = upstream && upstream.inFlight === 0 && row.idleS > 0 && !isHalted(row);
  return Math.min(ttlOf(row), resting ? upstream.lastActiveAt + row.idleS * 1000 : Infinity);
}
