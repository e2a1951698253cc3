import { createServer } from "node:http";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { createApp } from "./app.ts";
import { drainable } from "./draining.ts";
import type { Gateway } from "./gateway.ts";
import { goesThrough, goThrough } from "./through.ts";
import { passUpgrade } from "./upgrade.ts";

/** How long a connection may take to say what it wants, also one that says nothing; and how often that is looked at. */
const HEADERS_TIMEOUT_MS = 30_000;
const CHECK_MS = 5_000;
const KEEP_ALIVE_MS = 65_000;
const DRAIN_MS = 5_000;

/** A listening door. Closing lets what is under way finish for a moment and then cuts it. */
export interface OpenDoor extends AsyncDisposable {
  port: number;
}

/** Opens the door on an address. */
export async function openDoor(gateway: Gateway, listen: { host: string; port: number }): Promise<OpenDoor> {
  const app = createApp(gateway);
  const listener = getRequestListener(app.fetch);
  const server = createServer({ connectionsCheckingInterval: CHECK_MS }, (incoming, outgoing) => {
    if (goesThrough(incoming)) void goThrough(gateway, incoming, outgoing);
    else void listener(incoming, outgoing);
  });
  const draining = drainable(server);
  const upgraded = new Set<Duplex>();
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  // An upload takes as long as it takes; a stalled one is ended by its own connection.
  server.requestTimeout = 0;
  server.on("upgrade", (incoming, socket: Duplex, head) => {
    upgraded.add(socket);
    socket.once("close", () => upgraded.delete(socket));
    void passUpgrade(gateway, incoming, socket, head);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen.port, listen.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : listen.port,
    async [Symbol.asyncDispose]() {
      for (const socket of upgraded) socket.end();
      await draining.close(DRAIN_MS);
    },
  };
}
