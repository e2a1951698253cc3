import { Problem } from "#contract/problem.ts";
import { isActive } from "#core/media-types.ts";

/** Bytes that may be downloaded, with what is said of them. `tag` names these bytes and no others. */
export interface Download {
  name: string;
  mediaType: string;
  sizeBytes: number;
  tag: string;
  open: (range: Range | undefined) => Promise<ReadableStream<Uint8Array>>;
}

interface Range {
  start: number;
  end: number;
}

/** Answers bytes, or the one range of them that was asked for, or that they are those the client has. */
export async function download(from: Download, request: Request): Promise<Response> {
  const head = headersOf(from);
  if (isKnown(request.headers.get("if-none-match"), head.etag)) return new Response(null, { status: 304, headers: head });
  const range = rangeOf(request, from.sizeBytes, head.etag);
  const headers = {
    ...head,
    "content-length": String(range ? range.end - range.start + 1 : from.sizeBytes),
    ...(range ? { "content-range": `bytes ${range.start}-${range.end}/${from.sizeBytes}` } : {}),
  };
  const body = request.method === "HEAD" ? null : await from.open(range);
  return new Response(body, { status: range ? 206 : 200, headers });
}

/** What a sandbox made is never shown by the door's own origin: it is a download, of no type that a browser runs, without script. */
function headersOf({ name, mediaType, tag }: Download) {
  const isPlain = /^[\w.+-]+\/[\w.+-]+$/.test(mediaType) && !isActive(mediaType);
  const quoted = encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return {
    "content-type": isPlain ? mediaType : "application/octet-stream",
    "content-disposition": `attachment; filename*=UTF-8''${quoted}`,
    "content-security-policy": "sandbox; default-src 'none'",
    "accept-ranges": "bytes",
    "cache-control": "private, no-store",
    etag: `"${tag}"`,
  };
}

function isKnown(header: string | null, etag: string): boolean {
  return header !== null && header.split(",").some((one) => ["*", etag, `W/${etag}`].includes(one.trim()));
}

/** One range, from a start or from the end. HTTP lets a server answer the whole for several, and where `If-Range` names other bytes. */
function rangeOf(request: Request, sizeBytes: number, etag: string): Range | undefined {
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(request.headers.get("range") ?? "");
  const condition = request.headers.get("if-range");
  if (!found || (condition !== null && condition !== etag)) return undefined;
  const [, first = "", last = ""] = found;
  if (first === "" && last === "") return undefined;
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (start >= sizeBytes || end < start) throw new Problem("range_not_satisfiable", { sizeBytes });
  return { start, end };
}
