import { once } from "node:events";
import type { Duplex, Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import {
  Broken,
  CLOSE,
  closeFrame,
  frame,
  frameHead,
  FrameWalker,
  type Message,
  MessageReader,
  type Piece,
  PING,
  PONG,
  TEXT,
} from "./frames.ts";
import { Holding } from "./holding.ts";
import { judge, type Opened } from "./policy.ts";

/** What a relay is held to. */
export interface Bounds {
  messageBytes: number;
  messagesPerSecond: number;
  /** How long a client may flood, or read nothing, before it is cut. */
  patienceMs: number;
  /** How long a command of input may wait for control. */
  holdMs: number;
}

export const BOUNDS: Bounds = { messageBytes: 100 * 1024 * 1024, messagesPerSecond: 4000, patienceMs: 20_000, holdMs: 60_000 };

/** What a relay asks of what is around it. */
export interface Around {
  holder(): Promise<string | undefined>;
  /** Told of every command that is let through. */
  asked(method: string): void;
  /** Waits until input would be seen by whoever watches, which is a moment at most. */
  ready(): Promise<void> | undefined;
  /** Why the sandbox's end went away without a word. */
  explain(): Promise<{ code: number; reason: string }>;
  bounds: Bounds;
  /** Pages of the browser's own that are open. */
  opened?: Opened;
}

const MS = 1000;
const LEAVE_MS = 3000;
const ANSWERS_WAITING = 64;
const SNIFFED_BYTES = 4096;
const CONTEXTS = 64;

/**
 * Joins a client of DevTools with the sandbox's browser, message by message. What the browser says goes on as it comes,
 * however long it is; what the client says is read, judged, and goes on as it was judged. Either end waits for the
 * other, and nothing but one message of the client is ever held.
 */
export class Relay {
  readonly #client: Duplex;
  readonly #browser: Duplex;
  readonly #around: Around;
  readonly #holding: Holding;
  readonly #walker = new FrameWalker(false);
  readonly #reader: MessageReader;
  readonly #gone = new AbortController();
  #waiting: Buffer[] = [];
  #closing = false;
  #code: number | undefined;
  #blockedAtMs: number | undefined;
  #left: number;
  #refilledAtMs = performance.now();
  #floodedAtMs: number | undefined;
  /** Commands that open a context, until the browser says which; and the contexts that this client opened. */
  readonly #asked = new Set<number>();
  readonly #contexts = new Set<string>();

  constructor(client: Duplex, browser: Duplex, around: Around) {
    this.#client = client;
    this.#browser = browser;
    this.#around = around;
    this.#left = around.bounds.messagesPerSecond;
    this.#reader = new MessageReader({ masked: true, maxBytes: around.bounds.messageBytes });
    this.#holding = new Holding({
      holder: around.holder,
      pass: (data) => this.#pass(data),
      answer: (answer) => this.#say(answer),
      waitMs: around.bounds.holdMs,
      now: () => performance.now(),
    });
  }

  /** Goes on until both ends are gone; answers the code that the client was closed with. */
  async run(head: Buffer): Promise<number | undefined> {
    for (const end of [this.#client, this.#browser]) {
      end.on("error", () => end.destroy());
      end.once("close", () => this.#gone.abort());
    }
    const watch = setInterval(() => this.#watch(), MS).unref();
    try {
      await Promise.all([this.#down(), this.#up(head)]);
      return this.#code;
    } finally {
      clearInterval(watch);
      this.#holding.close();
      this.#client.destroy();
      this.#browser.destroy();
    }
  }

  async #down(): Promise<void> {
    try {
      for await (const chunk of chunksOf(this.#browser)) {
        for (const piece of this.#walker.walk(chunk)) this.#forward(piece);
        await this.#drained(this.#client);
      }
      if (!this.#closing) {
        const { code, reason } = await this.#around.explain();
        this.#bye(code, reason);
      }
    } catch (error) {
      this.#bye(1011, error instanceof Broken ? `The sandbox's browser broke the protocol: ${error.message}` : "The connection broke");
    }
    this.#client.end();
    setTimeout(() => this.#client.destroy(), LEAVE_MS).unref();
  }

  async #up(head: Buffer): Promise<void> {
    try {
      if (head.length > 0) for (const message of this.#reader.read(head)) await this.#handle(message);
      for await (const chunk of chunksOf(this.#client)) {
        for (const message of this.#reader.read(chunk)) await this.#handle(message);
        if (this.#closing) break;
      }
    } catch (error) {
      if (error instanceof Broken) this.#bye(error.code, error.message);
    }
    // The browser answers a close before it ends; a client that just went needs no answer.
    if (this.#closing && !this.#gone.signal.aborted)
      await delay(LEAVE_MS, undefined, { signal: this.#gone.signal, ref: false }).catch(() => {});
    this.#browser.destroy();
  }

  #forward({ bytes, payload, head, ends }: Piece): void {
    if (head?.opcode === CLOSE) {
      this.#closing = true;
      if (payload.length >= 2) this.#code ??= payload.readUInt16BE(0);
    }
    if (this.#asked.size > 0 && head?.opcode === TEXT && ends && payload.length < SNIFFED_BYTES) this.#noteContext(payload);
    this.#write(this.#client, bytes);
    if (ends && this.#walker.betweenMessages) this.#flush();
  }

  async #handle({ opcode, data }: Message): Promise<void> {
    if (opcode === PONG || this.#closing) return;
    await this.#pace();
    if (opcode === PING) this.#insert(frame(PONG, data, false));
    else if (opcode === CLOSE) {
      this.#closing = true;
      this.#browser.write(frame(CLOSE, data, true));
    } else if (opcode === TEXT) await this.#judged(data);
    else throw new Broken(1003, "DevTools speak text");
    await this.#drained(this.#client);
    while (this.#waiting.length > ANSWERS_WAITING && !this.#gone.signal.aborted) await this.#moment();
  }

  async #judged(data: Buffer): Promise<void> {
    const verdict = judge(data, this.#around.opened);
    if (verdict.do === "answer") {
      this.#say(verdict.answer);
      return;
    }
    if (verdict.do === "leave") {
      await this.#leave(verdict.answer);
      return;
    }
    const { method, input, id, sessionId } = verdict;
    if (input) await this.#around.ready();
    this.#around.asked(method);
    if (verdict.opensContext && id !== undefined && this.#asked.size < CONTEXTS) this.#asked.add(id);
    if (input && (await this.#holding.takes({ data: verdict.data, id, sessionId }))) return;
    await this.#pass(verdict.data);
  }

  /** A client that closes the browser closes what it opened of it: the browser is also others'. */
  async #leave(answer: object): Promise<void> {
    let id = 2 ** 31 - 1 - this.#contexts.size;
    for (const browserContextId of this.#contexts)
      await this.#pass(Buffer.from(JSON.stringify({ id: id++, method: "Target.disposeBrowserContext", params: { browserContextId } })));
    this.#say(answer);
    this.#bye(1000, "Browser.close ends this connection; the sandbox's browser goes on");
    this.#browser.write(closeFrame(1000, "", true));
    this.#client.end();
  }

  async #pass(data: Buffer): Promise<void> {
    if (this.#browser.destroyed) return;
    this.#browser.write(frameHead(TEXT, data.length, true));
    this.#browser.write(data);
    await this.#drained(this.#browser);
  }

  #say(answer: object): void {
    this.#insert(frame(TEXT, Buffer.from(JSON.stringify(answer)), false));
  }

  /** Puts a whole message where the browser's do not stand in the way. */
  #insert(bytes: Buffer): void {
    if (this.#walker.betweenMessages && this.#waiting.length === 0) this.#write(this.#client, bytes);
    else this.#waiting.push(bytes);
  }

  #flush(): void {
    for (const bytes of this.#waiting.splice(0)) this.#write(this.#client, bytes);
  }

  #bye(code: number, reason: string): void {
    if (this.#closing && code !== 1000) return;
    this.#closing = true;
    this.#code ??= code;
    this.#flushIfBetween();
    if (this.#walker.betweenFrames) this.#write(this.#client, closeFrame(code, reason));
    this.#client.end();
  }

  #flushIfBetween(): void {
    if (this.#walker.betweenMessages) this.#flush();
  }

  #write(end: Duplex, bytes: Buffer): void {
    if (!end.destroyed && !end.writableEnded && !end.write(bytes))
      this.#blockedAtMs ??= end === this.#client ? performance.now() : undefined;
  }

  async #drained(end: Duplex): Promise<void> {
    if (!end.writableNeedDrain || end.destroyed) return;
    await once(end, "drain", { signal: this.#gone.signal }).catch(() => {});
    if (end === this.#client) this.#blockedAtMs = undefined;
  }

  /** Slows a client that asks faster than anybody works. */
  async #pace(): Promise<void> {
    const { messagesPerSecond } = this.#around.bounds;
    const now = performance.now();
    this.#left = Math.min(messagesPerSecond, this.#left + ((now - this.#refilledAtMs) / MS) * messagesPerSecond);
    this.#refilledAtMs = now;
    if (this.#left > messagesPerSecond / 2) this.#floodedAtMs = undefined;
    this.#left -= 1;
    if (this.#left >= 0) return;
    this.#floodedAtMs ??= now;
    if (now - this.#floodedAtMs > this.#around.bounds.patienceMs)
      throw new Broken(1008, `A client may send ${messagesPerSecond} messages a second`);
    await this.#moment();
  }

  #moment(): Promise<void> {
    return delay(20, undefined, { signal: this.#gone.signal, ref: false }).catch(() => {});
  }

  /** Cuts a client that does not read. */
  #watch(): void {
    const { patienceMs } = this.#around.bounds;
    if (!this.#client.writableNeedDrain) this.#blockedAtMs = undefined;
    if (this.#blockedAtMs === undefined || performance.now() - this.#blockedAtMs < patienceMs) return;
    this.#bye(1008, `Nothing was read for ${patienceMs / MS} s`);
    this.#browser.destroy();
    setTimeout(() => this.#client.destroy(), LEAVE_MS).unref();
  }

  #noteContext(payload: Buffer): void {
    if (!payload.subarray(0, 6).equals(ANSWERS)) return;
    try {
      const { id, result } = JSON.parse(payload.toString("utf8")) as { id?: number; result?: { browserContextId?: unknown } };
      if (id === undefined || !this.#asked.delete(id)) return;
      const context = result?.browserContextId;
      if (typeof context === "string" && this.#contexts.size < CONTEXTS) this.#contexts.add(context);
    } catch {
      // What the sandbox says need not be JSON.
    }
  }
}

const ANSWERS = Buffer.from('{"id":');

async function* chunksOf(end: Duplex): AsyncGenerator<Buffer> {
  try {
    yield* (end as Readable).iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  } catch {
    // An end that breaks has ended.
  }
}
