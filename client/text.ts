/** Text kept up to a bound, first come first kept; what comes later is counted, so that a flood costs no memory. */
export interface KeptText {
  readonly parts: string[];
  add(text: string): void;
  dropped(): number;
}

export function keptText(limitBytes: number): KeptText {
  const parts: string[] = [];
  let room = limitBytes;
  let dropped = 0;
  return {
    parts,
    add(text) {
      const size = Buffer.byteLength(text);
      const kept = size <= room ? text : cut(text, room);
      const keptSize = kept === text ? size : Buffer.byteLength(kept);
      if (kept !== "") parts.push(kept);
      dropped += size - keptSize;
      room = keptSize === size ? room - size : 0;
    },
    dropped: () => dropped,
  };
}

/** The longest start of a text that fits, never cut inside a character. */
function cut(text: string, bytes: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes));
  return text.slice(0, read);
}
