import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as the fake door received it. */
export interface Received {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

export type Reply = (received: Received, response: ServerResponse) => void | Promise<void>;

/** A door that answers what a test tells it to: `"POST /api/sandboxes"` → a reply. Everything received is kept. */
export async function fakeDoor(replies: Record<string, Reply>) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    void answer(request, response, replies, received);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, replies: Record<string, Reply>, received: Received[]) {
  const url = new URL(request.url ?? "/", "http://door");
  const reply = replies[`${request.method} ${url.pathname}`];
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const one = {
    method: request.method ?? "",
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: request.headers,
    body: Buffer.concat(chunks),
  };
  received.push(one);
  if (!reply) return json(404, { error: `no reply for ${request.method} ${url.pathname}` })(one, response);
  await reply(one, response);
}

/** Answers one document. */
export function json(status: number, body: unknown, headers: Record<string, string> = {}): Reply {
  return (_received, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  };
}

/** Answers bytes, cut as given, each cut flushed on its own. */
export function bytes(chunks: Iterable<Uint8Array | string>, type = "application/octet-stream"): Reply {
  return async (_received, response) => {
    response.writeHead(200, { "content-type": type });
    for (const chunk of chunks) {
      response.write(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  };
}

/** Answers server-sent events, one per item. */
export function events(items: unknown[]): Reply {
  return bytes(
    items.map((item) => `data: ${JSON.stringify(item)}\n\n`),
    "text/event-stream",
  );
}

/** A sandbox as the door describes it. */
export function sandboxInfo(id: string, facts: Record<string, unknown> = {}) {
  return {
    id,
    template: "code-interpreter",
    type: "CodeInterpreter",
    state: "ready",
    metadata: {},
    taskId: "task-1",
    cpu: 1,
    memoryMiB: 1024,
    diskMiB: 1024,
    idleTimeoutMs: 600_000,
    autoPause: false,
    autoResume: true,
    createdAt: "2026-01-01T00:00:00.000Z",
    endsAt: "2026-01-01T06:00:00.000Z",
    ...facts,
  };
}
