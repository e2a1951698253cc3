import { isInitializeRequest, type McpServer, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { closeSession, findSession, keyedSession, type McpSessionRow, openSession } from "#core/mcp-sessions.ts";
import type { Gateway } from "#gateway/gateway.ts";
import type { Place, Speaker } from "./place.ts";
import { buildServer } from "./server.ts";

/** What a client asked, its body read. */
export interface Asking {
  request: Request;
  body: unknown;
}

/** A session as this process serves it. Its row says all that is needed to build another, here or elsewhere. */
interface Live {
  server: McpServer;
  transport: WebStandardStreamableHTTPServerTransport;
  /** What it was built for: other tools need another server. */
  offers: string;
  usedAtMs: number;
  answering: number;
}

const LIVE_MAX = 500;
const REST_MS = 5 * 60_000;

/** Serves clients of the revisions with sessions. What it holds is a memory: a session that it does not know is taken up by its row. */
export function openLive(gateway: Gateway) {
  const { platform } = gateway;
  const lives = new Map<string, Promise<Live>>();

  /** Lets go of servers at rest: those that nobody asked for long, and the longest unused when there are too many. */
  async function tidy(): Promise<void> {
    for (const [id, promise] of lives) {
      const live = await promise.catch(() => undefined);
      const rests = live?.answering === 0 && (lives.size > LIVE_MAX || performance.now() - live.usedAtMs > REST_MS);
      if (!live || rests) await drop(id);
      else if (lives.size <= LIVE_MAX) return;
    }
  }

  async function drop(id: string): Promise<void> {
    const live = lives.get(id);
    lives.delete(id);
    await (await live?.catch(() => undefined))?.server.close();
  }

  async function build(row: McpSessionRow, speaker: Speaker): Promise<Live> {
    const server = buildServer(gateway, speaker);
    const transport = new WebStandardStreamableHTTPServerTransport({ sessionIdGenerator: () => row.id });
    await server.connect(transport);
    return { server, transport, offers: offersOf(speaker), usedAtMs: performance.now(), answering: 0 };
  }

  /** Says again to a new server what the client said when the session began. */
  async function takeUp(row: McpSessionRow, speaker: Speaker): Promise<Live> {
    const live = await build(row, speaker);
    for (const body of [
      { jsonrpc: "2.0", id: "again", method: "initialize", params: row.client },
      { jsonrpc: "2.0", method: "notifications/initialized" },
    ])
      await (await live.transport.handleRequest(asIfFrom(row.id), { parsedBody: body })).text();
    return live;
  }

  async function liveOf(row: McpSessionRow, speaker: Speaker): Promise<Live> {
    const known = await lives.get(row.id)?.catch(() => undefined);
    if (known?.offers === offersOf(speaker)) return known;
    if (known) await drop(row.id);
    const taken = lives.get(row.id) ?? takeUp(row, speaker);
    lives.set(row.id, taken);
    return taken;
  }

  async function begin(speaker: Speaker, { request, body }: Asking): Promise<Response> {
    const { template, place, principal } = speaker;
    const { params: client } = body as { params: unknown };
    if (JSON.stringify(client).length > LIMITS.mcpClientBytes)
      throw new Problem("invalid_request", { detail: `What a client says of itself has at most ${LIMITS.mcpClientBytes} bytes` });
    const of = { template: template.name, client, ...(place.kind === "sandbox" ? { sandboxId: place.sandboxId } : {}) };
    const { value: row } = await openSession(platform, principal.project, of);
    await tidy();
    const live = build(row, inSession(speaker, row));
    lives.set(row.id, live);
    return answerBy(await live, { request, body });
  }

  return async (speaker: Speaker, { request, body }: Asking): Promise<Response> => {
    if (request.method === "POST" && isInitializeRequest(body)) return begin(speaker, { request, body });
    const { project } = speaker.principal;
    const { place, template } = speaker;
    const byKey = request.method === "DELETE" && place.kind === "key" ? keyedSession(template.name, place.key) : null;
    const id = request.headers.get("mcp-session-id") ?? byKey;
    if (id === null)
      throw new Problem("invalid_request", { detail: "The header Mcp-Session-Id is missing", next: "Begin a session with `initialize`." });
    const { value: row } = await findSession(platform, project, id);
    if (row.template !== template.name || (place.kind === "sandbox" && row.sandboxId !== place.sandboxId))
      throw new Problem("mcp_session_not_found", { detail: "No such MCP session" });
    if (request.method !== "DELETE") return answerBy(await liveOf(row, inSession(speaker, row)), { request, body });
    await closeSession(platform, project, id);
    await drop(id);
    return new Response(null, { status: 204 });
  };
}

async function answerBy(live: Live, { request, body }: Asking): Promise<Response> {
  live.usedAtMs = performance.now();
  live.answering += 1;
  const done = () => {
    live.usedAtMs = performance.now();
    live.answering -= 1;
  };
  const response = await live.transport.handleRequest(request, { parsedBody: body });
  if (!response.body) {
    done();
    return response;
  }
  const seen = new TransformStream<Uint8Array, Uint8Array>();
  void response.body
    .pipeTo(seen.writable)
    // A client that leaves in the middle ends its stream, not its call.
    .catch(() => {})
    .finally(done);
  return new Response(seen.readable, response);
}

function inSession(speaker: Speaker, row: McpSessionRow): Speaker {
  const place: Place = speaker.place.kind === "named" ? { kind: "session", id: row.id } : speaker.place;
  return { ...speaker, place };
}

function offersOf({ settings, place }: Speaker): string {
  return JSON.stringify([settings.enabledTools, place]);
}

function asIfFrom(sessionId: string): Request {
  const headers = { "content-type": "application/json", accept: "application/json, text/event-stream", "mcp-session-id": sessionId };
  return new Request("http://gateway/mcp", { method: "POST", headers });
}
