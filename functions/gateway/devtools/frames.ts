/** What WebSockets are made of (RFC 6455), as far as two ends need it that are joined message by message. */
export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

const CONTINUATION = 0;
const FINAL = 0x80;
const RESERVED = 0x70;
const MASKED = 0x80;
const CONTROL_BYTES = 125;
const SHORT = 126;
const LONG = 127;

/** Why an end broke the protocol, as the code and reason that it is closed with. */
export class Broken extends Error {
  readonly code: number;

  constructor(code: number, reason: string) {
    super(reason);
    this.code = code;
  }
}

export interface Head {
  opcode: number;
  final: boolean;
  length: number;
}

/** A stretch of bytes of one frame. `head` is there where one begins, `ends` where it is whole with these. */
export interface Piece {
  bytes: Buffer;
  payload: Buffer;
  head: Head | undefined;
  ends: boolean;
}

/**
 * Walks along frames without holding them: what comes goes on at once, and only where a frame begins and ends is known.
 * `masked` says which end writes them.
 */
export class FrameWalker {
  readonly #masked: boolean;
  #rest: Buffer = Buffer.alloc(0);
  #left = 0;
  #mask = Buffer.alloc(4);
  #at = 0;
  #inFrame = false;
  #inMessage = false;

  constructor(masked: boolean) {
    this.#masked = masked;
  }

  /** Whether another frame may be put here, and whether another message may: a head that is not whole yet has not gone on. */
  get betweenFrames(): boolean {
    return !this.#inFrame;
  }

  get betweenMessages(): boolean {
    return this.betweenFrames && !this.#inMessage;
  }

  *walk(chunk: Buffer): Generator<Piece> {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    this.#rest = Buffer.alloc(0);
    while (bytes.length > 0) {
      let head: Head | undefined;
      let start = 0;
      if (!this.#inFrame) {
        const size = headSize(bytes);
        if (size === undefined || bytes.length < size) {
          this.#rest = bytes;
          return;
        }
        head = this.#begin(bytes, size);
        start = size;
      }
      const end = Math.min(bytes.length, start + this.#left);
      const payload = bytes.subarray(start, end);
      if (this.#masked) this.#unmask(payload);
      this.#left -= payload.length;
      const ends = this.#left === 0;
      if (ends) this.#inFrame = false;
      const piece = { bytes: bytes.subarray(0, end), payload, head, ends };
      bytes = bytes.subarray(end);
      yield piece;
    }
  }

  #begin(bytes: Buffer, size: number): Head {
    const [first = 0, second = 0] = bytes;
    const opcode = first & 0x0f;
    const final = (first & FINAL) !== 0;
    if ((first & RESERVED) !== 0) throw new Broken(1002, "A frame has reserved bits");
    if (((second & MASKED) !== 0) !== this.#masked) throw new Broken(1002, "A frame is masked as only the other end's are");
    const length = lengthOf(bytes);
    const isControl = opcode >= CLOSE;
    if (opcode > PONG || (opcode > BINARY && !isControl)) throw new Broken(1002, `There is no frame of type ${opcode}`);
    if (isControl && (!final || length > CONTROL_BYTES)) throw new Broken(1002, "A control frame is short and whole");
    if (!isControl) {
      if ((opcode === CONTINUATION) !== this.#inMessage) throw new Broken(1002, "A message begins inside another, or goes on after none");
      this.#inMessage = !final;
    }
    if (this.#masked) this.#mask = Buffer.from(bytes.subarray(size - 4, size));
    this.#at = 0;
    this.#left = length;
    this.#inFrame = true;
    return { opcode, final, length };
  }

  #unmask(payload: Buffer): void {
    const mask = this.#mask;
    if (mask.readUInt32LE(0) === 0) return;
    for (let at = 0; at < payload.length; at += 1) payload[at] = (payload[at] ?? 0) ^ (mask[(this.#at + at) & 3] ?? 0);
    this.#at = (this.#at + payload.length) & 3;
  }
}

/** How many bytes a frame's head has; undefined while that is not known. */
export function headSize(bytes: Buffer): number | undefined {
  const second = bytes[1];
  if (second === undefined) return undefined;
  const length = second & 0x7f;
  return 2 + (length === SHORT ? 2 : length === LONG ? 8 : 0) + ((second & MASKED) === 0 ? 0 : 4);
}

/** How long the payload is that a head announces. */
export function lengthOf(bytes: Buffer): number {
  const short = (bytes[1] ?? 0) & 0x7f;
  if (short < SHORT) return short;
  if (short === SHORT) return bytes.readUInt16BE(2);
  const long = bytes.readBigUInt64BE(2);
  if (long > BigInt(Number.MAX_SAFE_INTEGER)) throw new Broken(1009, "A frame is longer than any can be");
  return Number(long);
}

/** The head of a frame around `length` bytes. One that needs a mask gets the one that changes nothing. */
export function frameHead(opcode: number, length: number, masked: boolean): Buffer {
  const mask = masked ? MASKED : 0;
  const tail = masked ? [0, 0, 0, 0] : [];
  if (length < SHORT) return Buffer.from([FINAL | opcode, mask | length, ...tail]);
  if (length < 65_536) return Buffer.from([FINAL | opcode, mask | SHORT, length >> 8, length & 0xff, ...tail]);
  const head = Buffer.alloc(10 + tail.length);
  head[0] = FINAL | opcode;
  head[1] = mask | LONG;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

export function frame(opcode: number, payload: Uint8Array, masked: boolean): Buffer {
  return Buffer.concat([frameHead(opcode, payload.byteLength, masked), payload]);
}

/** A close frame; a reason is cut to what one can carry. */
export function closeFrame(code: number, reason: string, masked = false): Buffer {
  let text = Buffer.from(reason);
  if (text.length > CONTROL_BYTES - 2)
    text = Buffer.from(
      text
        .subarray(0, CONTROL_BYTES - 5)
        .toString("utf8")
        .replace(/\uFFFD$/, ""),
    );
  const payload = Buffer.alloc(2 + text.length);
  payload.writeUInt16BE(code);
  text.copy(payload, 2);
  return frame(CLOSE, payload, masked);
}

/** A whole message, or a control frame. */
export interface Message {
  opcode: number;
  data: Buffer;
}

/** Reads whole messages of at most so many bytes. `held` tells others how much is being held of one that is under way. */
export class MessageReader {
  readonly #walker: FrameWalker;
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #control: Buffer[] = [];
  #kind = TEXT;
  #current: Head = { opcode: TEXT, final: true, length: 0 };
  held = 0;

  constructor({ masked, maxBytes }: { masked: boolean; maxBytes: number }) {
    this.#walker = new FrameWalker(masked);
    this.#maxBytes = maxBytes;
  }

  *read(chunk: Buffer): Generator<Message> {
    for (const { payload, head, ends } of this.#walker.walk(chunk)) {
      if (head) {
        this.#current = head;
        if (head.opcode === TEXT || head.opcode === BINARY) this.#kind = head.opcode;
        if (head.opcode < CLOSE && this.held + head.length > this.#maxBytes)
          throw new Broken(1009, `A message has at most ${this.#maxBytes} bytes`);
      }
      const { opcode, final } = this.#current;
      const isControl = opcode >= CLOSE;
      (isControl ? this.#control : this.#parts).push(payload);
      if (!isControl) this.held += payload.length;
      if (!ends) continue;
      if (isControl) yield { opcode, data: joined(this.#control.splice(0)) };
      else if (final) {
        this.held = 0;
        yield { opcode: this.#kind, data: joined(this.#parts.splice(0)) };
      }
    }
  }
}

function joined(parts: Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only ? only : Buffer.concat(parts);
}
