import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** Lets a server finish what is under way before it closes. */
export interface Draining {
  /** Stops accepting, closes what rests at once, and cuts what is not done in time. */
  close(withinMs: number): Promise<void>;
}

/**
 * Counts what is under way on each connection. Node's own notion of an idle connection leaves out those that never sent
 * a request, as clients open them ahead of need.
 */
export function drainable(server: Server): Draining {
  const busy = new Map<Duplex, number>();
  let closing = false;

  function rest(socket: Duplex): void {
    const left = (busy.get(socket) ?? 1) - 1;
    if (busy.has(socket)) busy.set(socket, left);
    if (closing && left === 0) socket.destroy();
  }

  server.on("connection", (socket: Duplex) => {
    busy.set(socket, 0);
    socket.once("close", () => busy.delete(socket));
  });
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    busy.set(request.socket, (busy.get(request.socket) ?? 0) + 1);
    response.once("close", () => rest(request.socket));
  });
  server.on("upgrade", (_request: IncomingMessage, socket: Duplex) => busy.set(socket, 1));

  return {
    async close(withinMs) {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const [socket, count] of busy) if (count === 0) socket.destroy();
      const cut = setTimeout(() => {
        for (const socket of busy.keys()) socket.destroy();
      }, withinMs);
      await closed;
      clearTimeout(cut);
    },
  };
}
