import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import { bodyOf } from "#gateway/bodies.ts";

/** What a server makes of one request whose bytes are sent as they are and then left, or cut. */
async function received(sent: string, cut: boolean, work: (incoming: IncomingMessage) => Promise<unknown>): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const server = createServer((incoming, outgoing) => {
    const done = work(incoming).catch((error: unknown) => error);
    void done.then(resolve).finally(() => outgoing.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write(sent, () => {
    if (cut) setTimeout(() => socket.destroy(), 50);
  });
  const found = await promise;
  socket.destroy();
  server.close();
  return found;
}

const head = (length: number) => `PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n\r\n`;
const whole = async (body: ReadableStream<Uint8Array>) => Buffer.concat(await Array.fromAsync(body)).toString();

async function readLate(incoming: IncomingMessage): Promise<string> {
  await once(incoming.socket, "close");
  return whole(bodyOf(incoming));
}

test("a body comes whole, also an empty one", async () => {
  const text = "piece ".repeat(100_000);
  assert.equal(await received(head(text.length) + text, false, (incoming) => whole(bodyOf(incoming))), text);
  assert.equal(await received(head(0), false, (incoming) => whole(bodyOf(incoming))), "");
});

test("a body that is cut is an error and no shorter body, also when it was cut before it was read", async () => {
  assert.ok((await received(`${head(10)}12345`, true, (incoming) => whole(bodyOf(incoming)))) instanceof Error);
  assert.ok((await received(`${head(10)}12345`, true, readLate)) instanceof Error);
});

test("a body that nobody asks for waits in its socket, and one that is given up can be read off", async () => {
  const sent = 8 * 1024 * 1024;
  const read = async (incoming: IncomingMessage) => {
    const reader = bodyOf(incoming).getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const waiting = incoming.socket.bytesRead < sent / 2;
    await reader.cancel();
    incoming.resume();
    await once(incoming, "end");
    return waiting;
  };
  assert.equal(await received(head(sent) + "x".repeat(sent), false, read), true);
});
