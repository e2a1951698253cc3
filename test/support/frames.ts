import { connect, type Socket } from "node:net";

/** A frame of a WebSocket as a client writes it. `masked: false` is what no client may send. */
export function frame(opcode: number, payload: Uint8Array | string, { fin = true, masked = true } = {}): Buffer {
  const body = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | opcode;
  const mask = masked ? 0x80 : 0;
  const head = Buffer.alloc(body.length < 126 ? 2 : body.length < 65_536 ? 4 : 10);
  head.writeUInt8(first, 0);
  head.writeUInt8(mask | (head.length === 2 ? body.length : head.length === 4 ? 126 : 127), 1);
  if (head.length === 4) head.writeUInt16BE(body.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(body.length), 2);
  if (!masked) return Buffer.concat([head, body]);
  const key = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([head, key, body.map((byte, at) => byte ^ (key[at % 4] ?? 0))]);
}

/** What a server sent, frame by frame. */
export interface Frame {
  opcode: number;
  payload: Buffer;
}

/** A WebSocket whose every byte the test writes. */
export interface RawSocket {
  socket: Socket;
  head: string;
  /** The next frame; undefined once the connection has ended. */
  next(): Promise<Frame | undefined>;
}

/** Asks for an upgrade by hand; a refusal has the status in `head` and its body as what follows. */
export async function openRaw(url: string, headers: Record<string, string> = {}): Promise<RawSocket> {
  const { hostname, port, host, pathname, search } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.on("error", () => {});
  const lines = Object.entries({
    host,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\n${lines.join("")}\r\n`);
  const pieces = socket[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  const more = async () => {
    const { done, value } = await pieces.next().catch(() => ({ done: true as const, value: undefined }));
    if (!done) held = Buffer.concat([held, value as Buffer]);
    return !done;
  };
  let end = -1;
  while ((end = held.indexOf("\r\n\r\n")) < 0 && (await more()));
  const head = held.subarray(0, end < 0 ? held.length : end).toString();
  held = held.subarray(end + 4);
  return {
    socket,
    head,
    async next() {
      for (;;) {
        const found = firstFrame(held);
        if (found) {
          held = held.subarray(found.size);
          return { opcode: found.opcode, payload: found.payload };
        }
        if (!(await more())) return undefined;
      }
    },
  };
}

function firstFrame(bytes: Buffer): (Frame & { size: number }) | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const start = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (bytes.length < start) return undefined;
  const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
  if (bytes.length < start + length) return undefined;
  return { opcode: bytes.readUInt8(0) & 0x0f, payload: bytes.subarray(start, start + length), size: start + length };
}
