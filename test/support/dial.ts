import { request } from "node:http";

/** A WebSocket's handshake by hand: what the instance says first, and a way to speak and to end. */
export function dial(url: string, headers: Record<string, string>) {
  return new Promise<{ status: number; first: string; say: (text: string) => Promise<string>; closed: Promise<void>; end: () => void }>(
    (resolve, reject) => {
      const req = request(url, { headers: { connection: "Upgrade", upgrade: "websocket", ...headers } });
      req.once("error", reject);
      req.once("response", (res) =>
        resolve({ status: res.statusCode ?? 0, first: "", say: async () => "", closed: Promise.resolve(), end: () => req.destroy() }),
      );
      req.once("upgrade", (res, socket, head) => {
        const closed = new Promise<void>((done) => socket.once("close", () => done()));
        socket.on("error", () => {});
        const next = () => new Promise<string>((done) => socket.once("data", (data: Buffer) => done(data.toString())));
        const say = (text: string) => {
          const heard = next();
          socket.write(text);
          return heard;
        };
        const found = { status: res.statusCode ?? 0, say, closed, end: () => socket.destroy() };
        if (head.length > 0) resolve({ ...found, first: head.toString() });
        else void next().then((first) => resolve({ ...found, first }));
      });
      req.end();
    },
  );
}
