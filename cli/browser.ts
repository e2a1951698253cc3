import { createServer, type IncomingMessage, request as requestPlain, type Server, type ServerResponse } from "node:http";
import { request as requestSecure } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type Client, inside, newClient } from "#client/client.ts";
import { Sandbox } from "#client/sandbox.ts";
import type { Command } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";

/** Where Chromium itself would listen. */
const PORT = 9222;
const ASKED = /^\/json(\/version|\/list)?\/?$/;
const SOCKET = /^\/(ws\/automation|devtools\/page\/[\w-]{1,64})(\?.*)?$/;
const REFUSED = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

export const browser: Command = {
  name: "browser",
  usage: "SANDBOX",
  summary: "Have a sandbox's browser at a port of this machine, for clients that take only host and port, as Puppeteer's browserURL.",
  example: "cleanroom browser 01KA7Q3Z9M4T2V6X8Y0B1C5D7E --port 9222",
  words: { min: 1, max: 1 },
  options: { port: { type: "string", value: "PORT", about: `where to listen (${PORT}; 0 is any that is free)` } },
  async run(given, { screen, client, signal }) {
    const port = portIn(given.text("port") ?? String(PORT));
    // One that has ended, or a key that is not good, is told at once and not to each client.
    const { id } = await Sandbox.connect(given.positionals[0] ?? "", { ...client, signal });
    const there = inside(newClient(client), id);
    const server = createServer((incoming, outgoing) => void answer(there, incoming, outgoing));
    server.on("upgrade", (incoming, socket, head) => join(there, incoming, socket, head));
    try {
      const { port: chosen } = await listen(server, port);
      const url = `http://127.0.0.1:${chosen}`;
      await screen.answer(given.json ? `${JSON.stringify({ url })}\n` : `${url}\n`);
      screen.note("[the sandbox's browser, until Ctrl-C; it goes on after that]\n");
      if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      return EXIT.ok;
    } finally {
      server.close();
      server.closeAllConnections();
    }
  },
};

function portIn(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port < 65_536) return port;
  throw refusal(EXIT.usage, `--port is a number below 65536, not ${text}`, `Write it like --port ${PORT}.`);
}

async function listen(server: Server, port: number): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  }).catch((error: unknown) => {
    throw refusal(EXIT.usage, `Nothing can listen on port ${port} here: ${String(error)}`, "Name another with --port.");
  });
  return server.address() as AddressInfo;
}

/** Whether a client of this machine asks, and no page: what a page has asked for names where it comes from, or a host that it made up. */
function isClient({ headers, socket }: IncomingMessage): boolean {
  const hosts = [`127.0.0.1:${socket.localPort}`, `localhost:${socket.localPort}`];
  return headers.origin === undefined && hosts.includes(headers.host ?? "");
}

async function answer(there: Client, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const isAsked = incoming.method === "GET" && ASKED.test(incoming.url ?? "");
  if (!isClient(incoming) || !isAsked) return void outgoing.writeHead(isAsked ? 403 : 404).end();
  try {
    const response = await fetch(`${there.url}${there.prefix}${incoming.url}`, { headers: keyOf(there), redirect: "error" });
    const here = `ws://${incoming.headers.host}`;
    const text = (await response.text()).replaceAll(/wss?:\/\/[^/"]+\/sandboxes\/[^/"]+/g, here);
    outgoing.writeHead(response.status, { "content-type": response.headers.get("content-type") ?? "application/json" }).end(text);
  } catch {
    outgoing.writeHead(502).end();
  }
}

/** Joins a WebSocket with the sandbox's own, as they are. */
function join(there: Client, incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
  socket.on("error", () => socket.destroy());
  if (!isClient(incoming) || !SOCKET.test(incoming.url ?? "")) return void socket.end(REFUSED);
  const url = new URL(`${there.url}${there.prefix}${incoming.url}`);
  const { host: _host, ...headers } = incoming.headers;
  const request = (url.protocol === "https:" ? requestSecure : requestPlain)(url, { headers: { ...headers, ...keyOf(there) } });
  request.once("upgrade", (response, door, first) => {
    socket.write(headOf(response));
    socket.write(first);
    door.write(head);
    door.on("error", () => door.destroy());
    door.once("close", () => socket.destroy());
    socket.once("close", () => door.destroy());
    door.pipe(socket).pipe(door);
  });
  request.once("response", (response) => {
    socket.write(headOf(response));
    response.pipe(socket);
  });
  request.once("error", () => socket.destroy());
  request.end();
}

function headOf({ statusCode, statusMessage, rawHeaders }: IncomingMessage): string {
  const lines = rawHeaders.flatMap((name, at) => (at % 2 === 0 ? [`${name}: ${rawHeaders[at + 1]}`] : []));
  return [`HTTP/1.1 ${statusCode} ${statusMessage}`, ...lines, "", ""].join("\r\n");
}

function keyOf({ apiKey }: Client): Record<string, string> {
  return apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
}
