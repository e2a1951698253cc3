import { type ClientRequest, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Passage, Passed, Upgraded } from "#core/ports.ts";
import { doorProblem } from "./engine-problems.ts";

const SMALL_BYTES = 64 * 1024;
const NULL_BODY = new Set([101, 204, 205, 304]);

/** Sends a request to a trigger and answers the head of what comes back; an abort ends both. */
export function send(outgoing: ClientRequest, body: Passage["body"], signal: AbortSignal | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once("response", resolve);
    outgoing.on("error", (error) => reject(signal?.aborted ? (signal.reason as Error) : doorError(error)));
    if (!body) {
      outgoing.end();
      return;
    }
    const source = body instanceof Readable ? body : Readable.fromWeb(body);
    source.on("error", (error) => outgoing.destroy(error));
    // What is not taken any more is not read on, so that its sender stops.
    outgoing.once("close", () => source.unpipe(outgoing).pause());
    source.pipe(outgoing);
  });
}

/** A small answer of known length is taken whole, which spares a stream and lets a broken one be told as a Problem. */
export async function passedOf(incoming: IncomingMessage, method: string): Promise<Passed> {
  const { rawHeaders, statusCode: status = 502 } = incoming;
  const headers = new Headers();
  for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  if (method === "HEAD" || NULL_BODY.has(status)) {
    incoming.resume();
    return { status, headers, body: null };
  }
  const length = headers.get("content-length");
  return { status, headers, body: length !== null && Number(length) <= SMALL_BYTES ? await readWhole(incoming) : incoming };
}

/** The same answer as one that is read here. */
export function responseOf({ status, headers, body }: Passed): Response {
  return new Response(
    body instanceof Readable ? (Readable.toWeb(body) as ReadableStream<Uint8Array>) : (body as ConstructorParameters<typeof Response>[0]),
    {
      status,
      headers,
    },
  );
}

function readWhole(incoming: IncomingMessage): Promise<Uint8Array<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.once("end", () => resolve(Buffer.concat(chunks)));
    incoming.once("error", (error) => reject(doorError(error)));
  });
}

/** Sends an upgrade and answers its raw ends, or the Problem that refused it. */
export function upgrade(outgoing: ClientRequest, signal: AbortSignal | undefined): Promise<Upgraded> {
  return new Promise((resolve, reject) => {
    outgoing.once("upgrade", (incoming, stream, head) => {
      if (head.length > 0) stream.unshift(head);
      const headers = Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]));
      resolve({ status: incoming.statusCode ?? 101, headers, stream });
    });
    outgoing.once("response", (incoming) => void refusedUpgrade(incoming).then(reject, reject));
    outgoing.on("error", (error) => reject(signal?.aborted ? (signal.reason as Error) : doorError(error)));
    outgoing.end();
  });
}

async function refusedUpgrade(incoming: IncomingMessage): Promise<Problem> {
  if (incoming.headers["x-fc-instance-id"] === undefined) return doorProblem(incoming);
  const said: unknown = await passedOf(incoming, "GET")
    .then((passed) => responseOf(passed).json())
    .catch(() => undefined);
  return problemFrom(said) ?? new Problem("route_not_found", { detail: `The sandbox refused the upgrade with ${incoming.statusCode}` });
}

function doorError(error: Error): Problem {
  const code = (error as { code?: unknown }).code;
  if (code === "ECONNRESET" || code === "EPIPE")
    return new Problem("sandbox_lost", { detail: "The connection to the sandbox broke" }, error);
  return new Problem("engine_unavailable", { detail: "The engine's door does not answer" }, error);
}

/** Path and query of a URL, or of what is only these. */
export function pathOf(url: string): string {
  if (url.startsWith("/")) return url;
  const at = url.indexOf("/", url.indexOf("://") + 3);
  return at < 0 ? "/" : url.slice(at);
}
