import type { DroppedActions, NewAction } from "#contract/action.ts";
import { Sampler } from "./sampler.ts";

const FLUSH_MS = 250;
/** How long an action waits for its picture. */
const WAIT_MS = 4000;
const WAITING_MOST = 500;

/** One action on its way into the log, which waits until it is told of its picture, or that there is none. */
export interface Entry {
  readonly action: NewAction;
  settle(picture?: NonNullable<NewAction["screenshot"]>): void;
}

export interface Ways {
  write(actions: readonly NewAction[], missed: DroppedActions): Promise<void>;
  now(): number;
}

interface Waiting {
  action: NewAction;
  atMs: number;
  settled: boolean;
}

/** Gathers actions in their order and has them written a few at a time, each with its picture; what is too much is counted. */
export class Notebook {
  readonly #ways: Ways;
  readonly #sampler: Sampler;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(ways: Ways) {
    this.#ways = ways;
    this.#sampler = new Sampler(ways.now);
  }

  get sampler(): Sampler {
    return this.#sampler;
  }

  /** Takes an action; undefined for one too many. Whoever adds it settles it. */
  add(action: NewAction): Entry | undefined {
    this.#timer ??= setInterval(() => this.#flush(this.#ways.now() - WAIT_MS), FLUSH_MS).unref();
    if (!this.#sampler.admits(action.kind, action.by)) return undefined;
    if (this.#waiting.length >= WAITING_MOST) {
      this.#sampler.miss(action.kind);
      return undefined;
    }
    const waiting: Waiting = { action, atMs: this.#ways.now(), settled: false };
    this.#waiting.push(waiting);
    return {
      action,
      settle(picture) {
        if (waiting.settled) return;
        waiting.settled = true;
        if (picture) waiting.action = { ...waiting.action, screenshot: picture };
      },
    };
  }

  /** Whether anything waits to be written. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0 && !this.#sampler.hasMissed;
  }

  /** Writes what there is, with and without a picture. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#flush(Infinity);
    await this.#writing;
  }

  /** Writes what is settled, and what has waited since before `beforeMs`; those that come after one that waits wait too. */
  #flush(beforeMs: number): void {
    const next = this.#waiting.findIndex(({ settled, atMs }) => !settled && atMs > beforeMs);
    const ready = this.#waiting.splice(0, next < 0 ? this.#waiting.length : next);
    if (ready.length === 0 && !this.#sampler.hasMissed) return;
    const missed = this.#sampler.missed();
    const actions = ready.map(({ action, atMs }) => ({ ...action, atMs }));
    this.#writing = this.#writing.then(() => this.#ways.write(actions, missed)).catch(() => undefined);
  }
}
