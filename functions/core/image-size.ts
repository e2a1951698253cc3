const SIDE_MAX = 1_000_000;

interface Size {
  width: number;
  height: number;
}

/** How large a picture says it is, by its header alone; undefined when that says nothing. */
export function imageSize(mediaType: string, bytes: Buffer): Size | undefined {
  const size = sizeIn(mediaType, bytes);
  return size && size.width > 0 && size.height > 0 && size.width <= SIDE_MAX && size.height <= SIDE_MAX ? size : undefined;
}

function sizeIn(mediaType: string, bytes: Buffer): Size | undefined {
  if (bytes.length < 30) return undefined;
  switch (mediaType) {
    case "image/png":
      return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
    case "image/gif":
      return { width: bytes.readUInt16LE(6), height: bytes.readUInt16LE(8) };
    case "image/webp":
      return webp(bytes);
    case "image/jpeg":
      return jpeg(bytes);
    default:
      return undefined;
  }
}

function webp(bytes: Buffer): Size | undefined {
  switch (bytes.toString("latin1", 12, 16)) {
    case "VP8X":
      return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) };
    case "VP8L": {
      const bits = bytes.readUInt32LE(21);
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
    }
    case "VP8 ":
      return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
    default:
      return undefined;
  }
}

/** Goes from marker to marker until the one that begins the frame. */
function jpeg(bytes: Buffer): Size | undefined {
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1] ?? 0;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    if (marker === 0xff) at += 1;
    else at += 2 + Math.max(2, bytes.readUInt16BE(at + 2));
  }
  return undefined;
}
