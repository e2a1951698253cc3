import { EventEmitter, once } from "node:events";

/** Encodings of RFB: pixels as they are, and packed by zlib. */
const RAW = 0;
const ZRLE = 16;

/** A screen as a viewer sees it: four bytes a pixel, blue first. */
export interface Frame {
  width: number;
  height: number;
  pixels: Buffer;
}

/** A hand-written RFB client over a WebSocket: it says exactly what a test tells it to. */
export interface RfbClient extends Disposable {
  width: number;
  height: number;
  name: string;
  /** Asks for the whole screen and waits for it. */
  frame(): Promise<Frame>;
  /** The same as people's viewers ask for it, packed by the display; nothing of it is unpacked. Answers its size. */
  packedFrame(): Promise<number>;
  key(keysym: number, down?: boolean): void;
  /** Types text key by key. */
  type(text: string): void;
  pointer(buttons: number, x: number, y: number): void;
  cutText(text: string): void;
  send(bytes: Buffer): void;
  /** Resolves with the close code once the view has ended. */
  ended: Promise<number>;
}

/** Opens a view by its WebSocket URL. */
export async function openRfb(url: string): Promise<RfbClient> {
  const socket = new WebSocket(url, ["binary"]);
  socket.binaryType = "arraybuffer";
  const read = reader(socket);
  const ended = new Promise<number>((resolve) => socket.addEventListener("close", ({ code }) => resolve(code), { once: true }));
  await Promise.race([once(socket, "open"), ended.then((code) => Promise.reject(new Error(`The view was refused: ${code}`)))]);
  const send = (bytes: Buffer) => socket.send(bytes);
  await read(12);
  send(Buffer.from("RFB 003.008\n"));
  const types = await read((await read(1)).readUInt8(0));
  if (!types.includes(1)) throw new Error("The display wants a password");
  send(Buffer.from([1]));
  if ((await read(4)).readUInt32BE(0) !== 0) throw new Error("The display refuses");
  send(Buffer.from([1]));
  const init = await read(24);
  const [width, height] = [init.readUInt16BE(0), init.readUInt16BE(2)];
  const name = (await read(init.readUInt32BE(20))).toString();
  const key = (keysym: number, down?: boolean) => {
    for (const one of down === undefined ? [1, 0] : [down ? 1 : 0]) {
      const message = Buffer.from([4, one, 0, 0, 0, 0, 0, 0]);
      message.writeUInt32BE(keysym, 4);
      send(message);
    }
  };
  return {
    width,
    height,
    name,
    ended,
    send,
    key,
    type: (text) => {
      for (const one of text) key(one === "\n" ? 0xff0d : (one.codePointAt(0) ?? 0));
    },
    pointer: (buttons, x, y) => {
      const message = Buffer.from([5, buttons, 0, 0, 0, 0]);
      message.writeUInt16BE(x, 2);
      message.writeUInt16BE(y, 4);
      send(message);
    },
    cutText: (text) => {
      const head = Buffer.from([6, 0, 0, 0, 0, 0, 0, 0]);
      head.writeUInt32BE(Buffer.byteLength(text, "latin1"), 4);
      send(Buffer.concat([head, Buffer.from(text, "latin1")]));
    },
    async frame() {
      const pixels = Buffer.alloc(width * height * 4);
      await readFrame({ width, height, send, read }, RAW, async ([x, y, w, h]) => {
        const part = await read(w * h * 4);
        for (let row = 0; row < h; row += 1) part.copy(pixels, ((y + row) * width + x) * 4, row * w * 4, (row + 1) * w * 4);
      });
      return { width, height, pixels };
    },
    async packedFrame() {
      let bytes = 0;
      await readFrame({ width, height, send, read }, ZRLE, async () => {
        bytes += (await read((await read(4)).readUInt32BE(0))).length;
      });
      return bytes;
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

interface Talk {
  width: number;
  height: number;
  send(bytes: Buffer): void;
  read(size: number): Promise<Buffer>;
}

type Rectangle = [x: number, y: number, width: number, height: number];

/** Asks for the whole screen in one encoding, in the display's own format, and has each part of it taken as that has it. */
async function readFrame({ width, height, send, read }: Talk, encoding: number, take: (part: Rectangle) => Promise<void>): Promise<void> {
  send(Buffer.from([2, 0, 0, 1, 0, 0, 0, encoding]));
  const ask = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  ask.writeUInt16BE(width, 6);
  ask.writeUInt16BE(height, 8);
  send(ask);
  for (let seen = 0; seen < width * height;) {
    const kind = (await read(1)).readUInt8(0);
    if (kind === 2) continue;
    if (kind === 3) {
      await read((await read(7)).readUInt32BE(3));
      continue;
    }
    if (kind !== 0) throw new Error(`The display says ${kind}`);
    for (let rest = (await read(3)).readUInt16BE(1); rest > 0; rest -= 1) {
      const head = await read(12);
      if (head.readInt32BE(8) !== encoding) throw new Error(`The display encodes by ${head.readInt32BE(8)}`);
      const part: Rectangle = [head.readUInt16BE(0), head.readUInt16BE(2), head.readUInt16BE(4), head.readUInt16BE(6)];
      await take(part);
      seen += part[2] * part[3];
    }
  }
}

function reader(socket: WebSocket): (size: number) => Promise<Buffer> {
  const inbox = { chunks: [] as Buffer[], bytes: 0 };
  const more = new EventEmitter();
  socket.addEventListener("close", () => more.emit("more"));
  socket.addEventListener("message", ({ data }) => {
    const chunk = Buffer.from(data as ArrayBuffer);
    inbox.chunks.push(chunk);
    inbox.bytes += chunk.length;
    more.emit("more");
  });
  return async (size) => {
    while (inbox.bytes < size) {
      if (socket.readyState === WebSocket.CLOSED) throw new Error("The view has ended");
      await once(more, "more");
    }
    const all = Buffer.concat(inbox.chunks);
    inbox.chunks = [all.subarray(size)];
    inbox.bytes = all.length - size;
    return all.subarray(0, size);
  };
}

/** How many of a screen's points are of another colour than most of it. */
export function drawnOn({ pixels }: Frame): number {
  const seen = new Map<number, number>();
  for (let at = 0; at < pixels.length; at += 4) {
    const colour = pixels.readUInt32LE(at) & 0xffffff;
    seen.set(colour, (seen.get(colour) ?? 0) + 1);
  }
  return pixels.length / 4 - Math.max(...seen.values());
}
