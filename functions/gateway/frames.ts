/** Opcodes of WebSocket frames. */
const CONTINUATION = 0;
const BINARY = 2;
const CONTROL = 8;
const FIN = 0x80;
const MASKED = 0x80;
const CONTROL_BYTES = 125;

/** What a client may not send; its connection ends with it. */
export class FrameError extends Error {}

/** A piece of what a client sent: bytes of its binary messages as they come, or a whole frame of control, as it was. */
export type Piece = { data: Buffer } | { control: Buffer };

interface Head {
  opcode: number;
  size: number;
  bytes: number;
  mask: Buffer;
}

/** Reads a client's frames. Where a message ends is not told: who asks reads a stream. */
export function frameReader(): (chunk: Buffer) => Piece[] {
  let held: Buffer = Buffer.alloc(0);
  /** The frame whose payload is on its way, and how much of it has come. */
  let current: (Head & { seen: number }) | undefined;

  return (chunk) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const pieces: Piece[] = [];
    while (held.length > 0) {
      if (!current) {
        const head = headOf(held);
        if (!head || (head.opcode >= CONTROL && held.length < head.bytes + head.size)) break;
        if (head.opcode >= CONTROL) {
          pieces.push({ control: held.subarray(0, head.bytes + head.size) });
          held = held.subarray(head.bytes + head.size);
          continue;
        }
        current = { ...head, seen: 0 };
        held = held.subarray(head.bytes);
      }
      const part = held.subarray(0, current.size - current.seen);
      if (part.length > 0) pieces.push({ data: unmasked(part, current.mask, current.seen) });
      held = held.subarray(part.length);
      current.seen += part.length;
      if (current.seen >= current.size) current = undefined;
    }
    return pieces;
  };
}

/** One binary message as a client sends it. The mask hides nothing here, since no browser is between us and the sandbox. */
export function binaryFrame(parts: readonly Buffer[]): Buffer {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const head = Buffer.alloc(size < 126 ? 6 : size < 65_536 ? 8 : 14);
  head.writeUInt8(FIN | BINARY, 0);
  head.writeUInt8(MASKED | (head.length === 6 ? size : head.length === 8 ? 126 : 127), 1);
  if (head.length === 8) head.writeUInt16BE(size, 2);
  if (head.length === 14) head.writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([head, ...parts]);
}

function headOf(bytes: Buffer): Head | undefined {
  const [first = 0, second = 0] = bytes;
  if (bytes.length < 2) return undefined;
  const opcode = first & 0x0f;
  if ((first & 0x70) !== 0) throw new FrameError("A frame of an extension that nobody agreed on");
  if ((second & MASKED) === 0) throw new FrameError("A client masks its frames");
  if (opcode !== BINARY && opcode !== CONTINUATION && opcode < CONTROL) throw new FrameError("Only binary messages are RFB");
  const short = second & 0x7f;
  if (opcode >= CONTROL && (short > CONTROL_BYTES || (first & FIN) === 0)) throw new FrameError("A frame of control is short and whole");
  const sizeAt = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < sizeAt + 4) return undefined;
  const size = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  return { opcode, size, bytes: sizeAt + 4, mask: bytes.subarray(sizeAt, sizeAt + 4) };
}

function unmasked(part: Buffer, mask: Buffer, offset: number): Buffer {
  const plain = Buffer.allocUnsafe(part.length);
  for (let at = 0; at < part.length; at += 1) plain[at] = (part[at] ?? 0) ^ (mask[(offset + at) & 3] ?? 0);
  return plain;
}
