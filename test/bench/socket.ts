import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** What a copy costs here at the least: bytes from one process to another through one local socket. */
export interface SocketFloor extends AsyncDisposable {
  copy(bytes: Buffer): Promise<void>;
}

/** Starts the other process, which reads and forgets, and answers each connection's end with one byte. */
export async function openSocketFloor(): Promise<SocketFloor> {
  const child = fork(import.meta.filename, ["sink"]);
  const [port] = (await once(child, "message")) as [number];
  return {
    async copy(bytes) {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.end(bytes);
      await once(socket, "data");
      socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      await end(child);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.disconnect();
  await gone;
}

if (process.argv[2] === "sink") {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("data", () => undefined);
    socket.on("end", () => socket.end("."));
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1", () => process.send?.((server.address() as { port: number }).port));
  process.once("disconnect", () => process.exit(0));
}
