import { Readable } from "node:stream";

/** The forms that a file's bytes can be had in. */
export type Format = "text" | "bytes" | "blob" | "stream";

interface Contents {
  text: string;
  bytes: Uint8Array<ArrayBuffer>;
  blob: Blob;
  stream: ReadableStream<Uint8Array>;
}

export type Content<F extends Format> = Contents[F];

/** Reads chunks into the form asked for; only `stream` leaves them unread. */
export async function readAs<F extends Format>(chunks: AsyncGenerator<Uint8Array, void>, format: F): Promise<Content<F>> {
  if (format === "stream") return Readable.toWeb(Readable.from(chunks, { objectMode: false })) as unknown as Content<F>;
  const bytes = await gather(chunks);
  if (format === "bytes") return bytes as Content<F>;
  if (format === "blob") return new Blob([bytes]) as Content<F>;
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) as Content<F>;
}

async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    size += chunk.byteLength;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}
