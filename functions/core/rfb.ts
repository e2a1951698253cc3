import { LIMITS } from "#contract/limits.ts";

/** What a client says to a display, message by message, as the protocol numbers them. */
const MESSAGE = {
  setPixelFormat: 0,
  setEncodings: 2,
  updateRequest: 3,
  key: 4,
  pointer: 5,
  cutText: 6,
  continuousUpdates: 150,
  fence: 248,
  qemu: 255,
} as const;
const VERSION_BYTES = 12;
const OLD_VERSION = "RFB 003.003\n";
const QEMU_KEY = 0;
/** More keys than hands have. */
const DOWN_MOST = 32;

/** A message by its first bytes. */
interface Shape {
  bytes: number;
  input?: Input;
}

/** Input that only who has control may give. `begins` when it means something by itself, as a key or a button that goes down. */
interface Input {
  begins: boolean;
  /** The message that lets go of what this one holds down, by the name of that. */
  held?: { name: string; release: Buffer | undefined };
}

/** What a client may not say at all; its view ends with it. */
export class RfbError extends Error {}

/**
 * Reads what a viewer says, and lets pass what `permit` allows: looking always, keys, pointer and clipboard when asked
 * for each. A message that is not known ends the view, since nobody could tell where it ends.
 */
export function rfbFilter(permit: (begins: boolean) => Promise<boolean>): (piece: Buffer) => Promise<Buffer[]> {
  let held: Buffer = Buffer.alloc(0);
  /** What is left of a message whose fate is decided. */
  let left = { bytes: 0, passes: true };
  let handshake = 0;
  const down = new Map<string, Buffer>();

  /** The client's part of the handshake is of fixed sizes, since the display offers one way to authenticate, which is none. */
  function greeting(): Shape | undefined {
    if (handshake === 0 && held.length < VERSION_BYTES) return undefined;
    if (handshake === 0) {
      const version = held.toString("latin1", 0, VERSION_BYTES);
      if (!/^RFB \d{3}\.\d{3}\n$/.test(version)) throw new RfbError("That is no RFB");
      handshake = version === OLD_VERSION ? 2 : 1;
      return { bytes: VERSION_BYTES };
    }
    handshake += 1;
    return { bytes: 1 };
  }

  return async (piece) => {
    const passed: Buffer[] = [];
    held = held.length === 0 ? piece : Buffer.concat([held, piece]);
    while (held.length > 0) {
      if (left.bytes === 0) {
        const shape = handshake < 3 ? greeting() : shapeOf(held);
        if (!shape) break;
        left = { bytes: shape.bytes, passes: !shape.input || (await permitted(shape.input, passed)) };
      }
      const part = held.subarray(0, left.bytes);
      if (left.passes) passed.push(part);
      held = held.subarray(part.length);
      left = { ...left, bytes: left.bytes - part.length };
    }
    return passed;
  };

  /** Whether input passes. Who has lost control lets go of what they held down, since nobody else would. */
  async function permitted({ begins, held: holds }: Input, passed: Buffer[]): Promise<boolean> {
    if (!(await permit(begins))) {
      passed.push(...down.values());
      down.clear();
      return false;
    }
    if (holds?.release && down.size < DOWN_MOST) down.set(holds.name, holds.release);
    else if (holds) down.delete(holds.name);
    return true;
  }
}

function shapeOf(bytes: Buffer): Shape | undefined {
  switch (bytes[0]) {
    case MESSAGE.setPixelFormat:
      return { bytes: 20 };
    case MESSAGE.setEncodings:
      return bytes.length < 4 ? undefined : { bytes: 4 + 4 * bytes.readUInt16BE(2) };
    case MESSAGE.updateRequest:
    case MESSAGE.continuousUpdates:
      return { bytes: 10 };
    case MESSAGE.key:
      return bytes.length < 8 ? undefined : keyOf(bytes.subarray(0, 8), 1, 4);
    case MESSAGE.pointer:
      return bytes.length < 6 ? undefined : pointerOf(bytes.subarray(0, 6));
    case MESSAGE.cutText:
      return bytes.length < 8 ? undefined : cutText(bytes.readInt32BE(4));
    case MESSAGE.fence:
      return bytes.length < 9 ? undefined : { bytes: 9 + bytes.readUInt8(8) };
    case MESSAGE.qemu:
      if (bytes.length >= 2 && bytes[1] !== QEMU_KEY) throw new RfbError("A view has no sound");
      return bytes.length < 12 ? undefined : keyOf(bytes.subarray(0, 12), 3, 4);
    default:
      throw new RfbError(`A view may not send messages of type ${bytes[0]}`);
  }
}

/** Text is never what control begins with: viewers send what is on their clipboard as soon as they are looked at. */
function cutText(length: number): Shape {
  // A negative length is that of the extended form.
  const bytes = Math.abs(length);
  if (bytes > LIMITS.clipboardBytes) throw new RfbError(`A text may have ${LIMITS.clipboardBytes} bytes`);
  return { bytes: 8 + bytes, input: { begins: false } };
}

/** A key, whose message says whether it is down at one place and which one it is from another on. */
function keyOf(message: Buffer, downAt: number, keyAt: number): Shape {
  const isDown = message[downAt] !== 0;
  const up = Buffer.from(message);
  up[downAt] = 0;
  return {
    bytes: message.length,
    input: { begins: isDown, held: { name: message.toString("hex", keyAt), release: isDown ? up : undefined } },
  };
}

function pointerOf(message: Buffer): Shape {
  const isDown = message[1] !== 0;
  const up = Buffer.from(message);
  up[1] = 0;
  return { bytes: message.length, input: { begins: isDown, held: { name: "pointer", release: isDown ? up : undefined } } };
}
