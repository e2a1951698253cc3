import type { Duplex, Readable } from "node:stream";
import { CLOSE, closeFrame, frame, FrameWalker, PING, PONG, TEXT } from "#gateway/devtools/frames.ts";

/** What the browser tells without being asked. What it says in `params` is the sandbox's word. */
export interface Told {
  method: string;
  params: Record<string, unknown>;
  sessionId: string;
}

/** Whether a message is wanted, judged by its first characters: what a page floods with is not worth being read. */
export type Wanted = (start: string) => boolean;

interface Waiting {
  resolve(result: Record<string, unknown>): void;
  reject(error: Error): void;
}

/** The event that stands for one too large to be read. */
export const OVERLONG = "overlong";
const START_BYTES = 160;
const ANSWER = '{"id":';

/**
 * A DevTools connection of the gateway's own. It reads as fast as messages come and holds one at most; those that are
 * unwanted or too large pass by unread, so that it is never slower than a page that floods.
 */
export class Channel {
  readonly #stream: Duplex;
  readonly #maxBytes: number;
  readonly #walker = new FrameWalker(false);
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #parts: Buffer[] = [];
  #size = 0;
  #opcode = TEXT;
  #ended = false;

  constructor(stream: Duplex, maxBytes: number) {
    this.#stream = stream;
    this.#maxBytes = maxBytes;
  }

  /** Goes on until either end leaves; `hear` is told of every wanted event. */
  async listen(wanted: Wanted, hear: (told: Told) => void): Promise<void> {
    this.#stream.on("error", () => this.#stream.destroy());
    try {
      for await (const chunk of (this.#stream as Readable).iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
        for (const { payload, head, ends } of this.#walker.walk(chunk)) {
          const opcode = head?.opcode ?? this.#opcode;
          if (head) this.#opcode = opcode;
          if (opcode >= CLOSE) this.#control(opcode, payload);
          else this.#gather(payload);
          if (ends && opcode < CLOSE && this.#walker.betweenMessages) this.#message(wanted, hear);
        }
    } catch {
      // What breaks the protocol has ended.
    }
    this.close();
  }

  send(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    if (this.#ended) return Promise.reject(new Error("The browser has gone"));
    this.#lastId += 1;
    const id = this.#lastId;
    const answered = new Promise<Record<string, unknown>>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    const message = { id, method, params, ...(sessionId === undefined ? {} : { sessionId }) };
    this.#stream.write(frame(TEXT, Buffer.from(JSON.stringify(message)), true));
    return answered;
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const { reject } of this.#waiting.values()) reject(new Error("The browser has gone"));
    this.#waiting.clear();
    if (!this.#stream.destroyed) this.#stream.end(closeFrame(1000, "", true));
    this.#stream.destroy();
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === PING) this.#stream.write(frame(PONG, payload, true));
    else if (opcode === CLOSE) this.close();
  }

  /** Of a message that is too large only the beginning is held. */
  #gather(payload: Buffer): void {
    const room = this.#size <= this.#maxBytes ? this.#maxBytes : START_BYTES;
    if (this.#size < room) this.#parts.push(payload);
    this.#size += payload.length;
    if (this.#size > this.#maxBytes) this.#parts = [Buffer.concat(this.#parts).subarray(0, START_BYTES)];
  }

  #message(wanted: Wanted, hear: (told: Told) => void): void {
    const [first = Buffer.alloc(0)] = this.#parts;
    const data = this.#parts.length === 1 ? first : Buffer.concat(this.#parts);
    const whole = this.#size <= this.#maxBytes;
    this.#parts = [];
    this.#size = 0;
    const start = data.toString("latin1", 0, START_BYTES);
    if (!start.startsWith(ANSWER) && !wanted(start)) return;
    if (!whole) {
      hear({ method: OVERLONG, params: {}, sessionId: "" });
      return;
    }
    const said = objectOf(data);
    if (!said) return;
    if (typeof said["id"] === "number") this.#answer(said["id"], said);
    else if (typeof said["method"] === "string") {
      const { params, sessionId } = said;
      hear({ method: said["method"], params: isObject(params) ? params : {}, sessionId: typeof sessionId === "string" ? sessionId : "" });
    }
  }

  #answer(id: number, said: Record<string, unknown>): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    const { result, error } = said;
    if (isObject(error)) waiting?.reject(new Error(String(error["message"]).slice(0, 200)));
    else waiting?.resolve(isObject(result) ? result : {});
  }
}

function objectOf(data: Buffer): Record<string, unknown> | undefined {
  try {
    const said: unknown = JSON.parse(data.toString("utf8"));
    return isObject(said) ? said : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
