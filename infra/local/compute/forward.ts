import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { refusal, refusalOf } from "./refusals.ts";
import { lost, type Upstream } from "./upstream.ts";

/** A request on its way to an instance: the path inside, the platform's headers, and how long it may take. */
export interface Passage {
  path: string;
  requestId: string;
  headers: readonly string[];
  timeoutMs: number;
}

const UNWANTED_BODY_MS = 30_000;

const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
]);

/** Headers as they may pass: none that belong to one connection, none that only the platform may set. */
export function passingHeaders(message: IncomingMessage): string[] {
  const named = message.headers.connection
    ?.toLowerCase()
    .split(",")
    .map((name) => name.trim());
  const raw = message.rawHeaders;
  const passing: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] ?? "").toLowerCase();
    if (HOP_BY_HOP.has(name) || name.startsWith("x-fc-") || named?.includes(name)) continue;
    passing.push(name, raw[i + 1] ?? "");
  }
  return passing;
}

/** Streams a request to an instance and its answer back. Whoever goes away first takes the other side along. */
export function forward(upstream: Upstream, req: IncomingMessage, res: ServerResponse, passage: Passage): void {
  const leave = upstream.enter();
  const headers = [...passingHeaders(req), ...passage.headers];
  // Where it ends is said of every body: one of a method that has none by itself would be the next request to its reader.
  if (hasBody(req) && !headers.some((name, at) => at % 2 === 0 && name === "content-length")) headers.push("transfer-encoding", "chunked");
  const outgoing = upstream.request({ method: req.method ?? "GET", path: passage.path, headers });
  const deadline = setTimeout(() => outgoing.destroy(late(passage)), passage.timeoutMs);
  outgoing.on("response", (incoming) => answer(upstream, incoming, res, passage));
  outgoing.on("error", (error) => fail(res, lost(upstream, error), passage.requestId));
  res.on("close", () => {
    clearTimeout(deadline);
    leave();
    if (!res.writableFinished || !req.complete) outgoing.destroy();
    if (res.writableFinished && !req.complete) letPass(req, outgoing);
  });
  if (hasBody(req)) req.pipe(outgoing);
  else outgoing.end();
}

/** Whether a request's head says that a body follows. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** Reads off what an early answer made pointless: the caller's next request waits behind it on the same connection. */
function letPass(req: IncomingMessage, outgoing: ClientRequest): void {
  const { socket } = req;
  const timer = setTimeout(() => req.destroy(), UNWANTED_BODY_MS);
  const done = () => {
    clearTimeout(timer);
    socket.off("close", done);
  };
  // A request that has been answered is not told when its connection ends.
  socket.once("close", done);
  req.once("end", done);
  req.unpipe(outgoing);
  req.resume();
}

function answer(upstream: Upstream, incoming: IncomingMessage, res: ServerResponse, { requestId }: Passage): void {
  res.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, [
    ...passingHeaders(incoming),
    "x-fc-request-id",
    requestId,
    "x-fc-instance-id",
    upstream.id,
  ]);
  if (incoming.headers["content-length"] === undefined) res.flushHeaders();
  incoming.on("error", () => res.destroy());
  incoming.pipe(res);
}

/** Passes a WebSocket on. A refused upgrade ends its connection, so that nothing else can travel on it. */
export function forwardUpgrade(upstream: Upstream, req: IncomingMessage, socket: Duplex, head: Buffer, passage: Passage): void {
  const leave = upstream.enter();
  const headers = [
    ...withoutLength(passingHeaders(req)),
    ...passage.headers,
    "connection",
    "upgrade",
    "upgrade",
    req.headers.upgrade ?? "websocket",
  ];
  const outgoing = upstream.request({ method: req.method ?? "GET", path: passage.path, headers });
  const deadline = setTimeout(() => socket.destroy(), passage.timeoutMs);
  const ids = ["x-fc-request-id", passage.requestId, "x-fc-instance-id", upstream.id];
  let peer: Duplex | undefined;
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    clearTimeout(deadline);
    leave();
    outgoing.destroy();
    peer?.destroy();
  });
  outgoing.on("upgrade", (incoming, stream, early) => {
    peer = stream;
    upstream.adopt(stream);
    socket.write(headOf(incoming, ["connection", "Upgrade", "upgrade", incoming.headers.upgrade ?? "websocket", ...ids]));
    join(socket, head, stream, early);
  });
  outgoing.on("response", (incoming) => {
    socket.write(headOf(incoming, ["connection", "close", ...ids]));
    incoming.on("error", () => socket.destroy());
    incoming.pipe(socket);
  });
  outgoing.on("error", (error) => {
    if (!peer) refuseUpgrade(socket, lost(upstream, error), passage.requestId);
  });
  outgoing.end();
}

/** An upgrade has no body: a length would be taken from the next request on the instance's connection. */
function withoutLength(headers: readonly string[]): string[] {
  return headers.filter((_, at) => headers[at - (at % 2)] !== "content-length");
}

function join(socket: Duplex, head: Buffer, peer: Duplex, early: Buffer): void {
  if (early.length > 0) socket.write(early);
  if (head.length > 0) peer.write(head);
  peer.on("error", () => peer.destroy());
  peer.on("close", () => socket.destroy());
  peer.pipe(socket);
  socket.pipe(peer);
}

function headOf(incoming: IncomingMessage, extra: readonly string[]): string {
  const headers = [...passingHeaders(incoming), ...extra];
  const lines = [`HTTP/1.1 ${incoming.statusCode} ${incoming.statusMessage ?? ""}`];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** Answers an error, or cuts an answer that has begun: a cut is how its reader learns that it is not whole. */
export function fail(res: ServerResponse, error: unknown, requestId: string): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const { status, body } = refusalOf(error, requestId);
  const text = JSON.stringify(body);
  res.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
    "x-fc-request-id": requestId,
    ...(res.req.complete ? {} : { connection: "close" }),
  });
  res.end(text);
}

/** Answers an upgrade that goes nowhere. */
export function refuseUpgrade(socket: Duplex, error: unknown, requestId: string): void {
  const { status, body } = refusalOf(error, requestId);
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${body.Code}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nx-fc-request-id: ${requestId}\r\n\r\n${text}`,
  );
}

function late({ timeoutMs }: Passage): Error {
  return refusal("InvocationTimeout", `The function ran for longer than ${timeoutMs / 1000} s`);
}
