/** One entry as its header says it, also where that is a lie. */
export interface Entry {
  name: string;
  type?: string;
  link?: string;
  body?: string;
  mode?: number;
  claims?: number;
}

/** A tar as an attacker writes it: nothing is checked. */
export function tarOf(entries: Iterable<Entry>): Uint8Array<ArrayBuffer> {
  const blocks: Buffer[] = [];
  for (const { name, type = "0", link = "", body = "", mode = 0o644, claims = Buffer.byteLength(body) } of entries) {
    const header = Buffer.alloc(512);
    header.write(name, 0, 100);
    header.write(
      `${mode.toString(8).padStart(7, "0")}\0${"0001750\0".repeat(2)}${claims.toString(8).padStart(11, "0")}\0${"0".repeat(11)}\0        ${type}`,
      100,
    );
    header.write(link, 157, 100);
    header.write("ustar\x0000", 257);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, "0")}\0 `,
      148,
    );
    const content = Buffer.alloc(Math.ceil(Buffer.byteLength(body) / 512) * 512);
    content.write(body);
    blocks.push(header, content);
  }
  return new Uint8Array(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}
