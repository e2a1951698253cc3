/** One timer for many deadlines: it rings at the earliest that it was told of, and the ringing says when next. */
export class Alarm {
  readonly #now: () => number;
  readonly #ring: () => number;
  #timer: NodeJS.Timeout | undefined;
  #at = Infinity;

  /** `ring` does what is due and answers the next deadline, `Infinity` for none. */
  constructor(now: () => number, ring: () => number) {
    this.#now = now;
    this.#ring = ring;
  }

  /** Makes sure that it rings at `at` or before. */
  by(at: number): void {
    if (at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#rings(), Math.min(Math.max(at - this.#now(), MIN_MS), MAX_MS));
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#at = -Infinity;
  }

  #rings(): void {
    this.#at = Infinity;
    this.by(this.#ring());
  }
}

/** Deadlines that are close together ring once. */
const MIN_MS = 20;
const MAX_MS = 3_600_000;
