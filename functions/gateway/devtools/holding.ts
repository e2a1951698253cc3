import { errorAnswer } from "./policy.ts";

/** A command that waits until a person gives control back. */
export interface Held {
  data: Buffer;
  id: number | undefined;
  sessionId: string | undefined;
}

const COMMANDS = 256;
const BYTES = 4 * 1024 * 1024;
const LOOK_EVERY_MS = 200;

/** What a holding needs: who has control, where commands and answers go, and how long one may wait. */
export interface Ways {
  /** The person who has control now, by name; undefined when nobody has. */
  holder(): Promise<string | undefined>;
  pass(data: Buffer): Promise<void>;
  answer(answer: object): void;
  waitMs: number;
  now(): number;
}

/**
 * Holds the agent's input while a person has control, and lets it go on in its order afterwards. What waits too long, or
 * is too much, is answered with an error that says who has control.
 */
export class Holding {
  readonly #ways: Ways;
  #queue: (Held & { untilMs: number })[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #lookedAtMs = -Infinity;
  #holder: string | undefined;
  #releasing = false;

  constructor(ways: Ways) {
    this.#ways = ways;
  }

  /** Whether a command of input was taken to be held; it may go on by itself if not. */
  async takes(held: Held): Promise<boolean> {
    const holder = await this.#look();
    if (holder === undefined && this.#queue.length === 0 && !this.#releasing) return false;
    if (this.#queue.length >= COMMANDS || this.#bytes + held.data.length > BYTES) this.#refuse(held);
    else {
      this.#queue.push({ ...held, untilMs: this.#ways.now() + this.#ways.waitMs });
      this.#bytes += held.data.length;
      this.#timer ??= setInterval(() => void this.#release(), LOOK_EVERY_MS).unref();
    }
    return true;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#queue = [];
  }

  async #look(): Promise<string | undefined> {
    const now = this.#ways.now();
    if (now - this.#lookedAtMs < LOOK_EVERY_MS) return this.#holder;
    this.#lookedAtMs = now;
    this.#holder = await this.#ways.holder().catch(() => this.#holder);
    return this.#holder;
  }

  async #release(): Promise<void> {
    if (this.#releasing) return;
    this.#releasing = true;
    try {
      while ((await this.#look()) === undefined) {
        const [first] = this.#queue;
        if (!first) break;
        this.#drop();
        await this.#ways.pass(first.data);
      }
      const now = this.#ways.now();
      for (let first = this.#queue[0]; first && first.untilMs <= now; first = this.#queue[0]) {
        this.#drop();
        this.#refuse(first);
      }
    } finally {
      this.#releasing = false;
    }
    if (this.#queue.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #drop(): void {
    this.#bytes -= this.#queue.shift()?.data.length ?? 0;
  }

  #refuse(held: Held): void {
    const who = this.#holder ?? "A person";
    this.#ways.answer(errorAnswer(held, -32_000, `${who} has control of this browser; wait until it is given back, or take it back`));
  }
}
