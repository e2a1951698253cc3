import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { NonceMemory, sha256, verifyAcs3 } from "#contract/acs3.ts";
import type { ApiCall, Reply } from "./calls.ts";
import type { Door } from "./door.ts";
import { fail, hasBody, passingHeaders, refuseUpgrade } from "./forward.ts";
import { refusal } from "./refusals.ts";
import { readAnswer } from "./upstream.ts";

/** Code comes as base64 inside JSON: 100 MB of it. Everything else is bounded by what it is for. */
const CODE_BODY_BYTES = 140 * 1024 * 1024;
const INVOKE_BODY_BYTES = 32 * 1024 * 1024;
const BODY_BYTES = 1024 * 1024;
const EMPTY = Buffer.alloc(0);

export interface ServerSpec {
  api: (method: string, path: string, call: Omit<ApiCall, "path">) => Promise<Reply>;
  door: Door;
  secretOf: (accessKeyId: string) => string | undefined;
  now: () => number;
}

/** One port for both: requests for a trigger pass through the door, all others are signed calls of the API. */
export function createEngineServer({ api, door, secretOf, now }: ServerSpec): Server {
  const nonces = new NonceMemory();
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, (req, res) => {
    const requestId = randomUUID();
    if (door.takes(req)) return door.serve(req, res, requestId);
    answerCall(req, res, requestId).catch((error: unknown) => fail(res, error, requestId));
  });
  server.on("upgrade", (req, socket, head) => {
    const requestId = randomUUID();
    if (door.takes(req)) door.upgrade(req, socket, head, requestId);
    else refuseUpgrade(socket, refusal("NotSupported", "Only triggers take upgrades"), requestId);
  });

  async function answerCall(req: IncomingMessage, res: ServerResponse, requestId: string): Promise<void> {
    const method = req.method ?? "GET";
    const url = req.url ?? "/";
    const [path = "/", query = ""] = url.split("?", 2);
    const body = hasBody(req) ? await readAnswer(req, bodyLimit(method, path)) : EMPTY;
    verifyAcs3({ method, url, headers: req.headers, bodySha256: sha256(body), secretOf, nonces, now: now() });
    const gone = new AbortController();
    res.once("close", () => {
      if (!res.writableFinished) gone.abort();
    });
    const reply = await api(method, path, {
      query: new URLSearchParams(query),
      body,
      headers: req.headers,
      requestId,
      signal: gone.signal,
    });
    send(res, reply, requestId);
  }
  return server;
}

function bodyLimit(method: string, path: string): number {
  if (path.endsWith("/invocations")) return INVOKE_BODY_BYTES;
  const isFunction = /\/functions(?:\/[^/]+)?$/.test(path) && (method === "POST" || method === "PUT");
  return isFunction ? CODE_BODY_BYTES : BODY_BYTES;
}

function send(res: ServerResponse, { status, json, headers, stream }: Reply, requestId: string): void {
  const own = Object.entries({ ...headers, "x-fc-request-id": requestId }).flat();
  if (stream) {
    res.writeHead(status, [...passingHeaders(stream), ...own]);
    res.flushHeaders();
    stream.on("error", () => res.destroy());
    stream.pipe(res);
    return;
  }
  if (json === undefined) {
    res.writeHead(status, status === 204 ? own : [...own, "content-length", "0"]).end();
    return;
  }
  const text = JSON.stringify(json);
  res.writeHead(status, [...own, "content-type", "application/json", "content-length", String(Buffer.byteLength(text))]).end(text);
}
