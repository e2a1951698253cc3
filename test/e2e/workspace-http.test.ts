import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { after, test } from "node:test";
import { startWorkspace } from "#support/workspace.ts";

const box = await startWorkspace();
after(() => box[Symbol.asyncDispose]());

const head = (first: string, ...more: string[]) => {
  const own = Object.entries(box.headers()).map(([name, value]) => `${name}: ${value}`);
  return [`${first} HTTP/1.1`, "host: x", ...own, ...more, "", ""].join("\r\n");
};

async function open(): Promise<Socket> {
  const socket = connect(box.port, "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

/** Everything a server says until it has said `times` of what is waited for, or has closed. */
async function heard(socket: Socket, awaited: RegExp, times = 1): Promise<string> {
  let text = "";
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    text += String(piece);
    if ([...text.matchAll(new RegExp(awaited, "g"))].length >= times) break;
  }
  return text;
}

/** What a server says to these bytes before it closes. */
async function said(...pieces: (string | Buffer)[]): Promise<string> {
  const socket = await open();
  socket.on("error", () => undefined);
  for (const piece of pieces) socket.write(piece);
  const text = await heard(socket, /never/).catch(() => "");
  socket.destroy();
  return text;
}

test("requests that come together are answered one after another, and the connection lasts", async () => {
  const socket = await open();
  socket.write(head("GET /health") + head("GET /nowhere") + head("PUT /files/content?path=two", "content-length: 3") + "abc");
  const text = await heard(socket, /HTTP\/1\.1 \d[^]*?\}/, 3);
  const codes = text.matchAll(/HTTP\/1\.1 (\d+)/g).map(([, code]) => code);
  assert.deepEqual([...codes], ["200", "404", "200"]);
  socket.write(head("GET /files/content?path=two"));
  assert.match(await heard(socket, /abc/), /content-length: 3/i);
  socket.destroy();
});

test("a body may come in chunks, byte for byte, and after leave to send it", async () => {
  const socket = await open();
  socket.write(head("PUT /files/content?path=chunks", "transfer-encoding: chunked", "expect: 100-continue"));
  assert.match(await heard(socket, /\r\n\r\n/), /^HTTP\/1\.1 100 /);
  for (const byte of "5;x=y\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n") {
    socket.write(byte);
    await new Promise(setImmediate);
  }
  assert.match(await heard(socket, /\}/), /"size":6\}/);
  assert.equal((await box.send("GET", "/files/content?path=chunks")).text, "abcdef");
  socket.destroy();
});

test("what could be read in two ways is not read at all", async () => {
  const twice = head("PUT /files/content?path=smuggled", "content-length: 4", "transfer-encoding: chunked") + "0\r\n\r\n";
  const wrong = [
    twice,
    head("PUT /files/content?path=smuggled", "content-length: 1", "content-length: 2") + "ab",
    head("PUT /files/content?path=smuggled", "content-length: -1"),
    head("PUT /files/content?path=smuggled", "content-length: 1x") + "a",
    head("PUT /files/content?path=smuggled", "transfer-encoding: chunked") + "zz\r\n",
    head("PUT /files/content?path=smuggled", "transfer-encoding: chunked") + "1\r\nab\r\n0\r\n\r\n",
    head("PUT /files/content?path=smuggled", "bad header: x"),
    head("PUT /files/content?path=smuggled", "content-length : 1") + "a",
    `GET /health HTTP/1.1\r\nhost: x\r\nx: ${"y".repeat(1 << 20)}\r\n\r\n`,
    "\0\0\0\0\r\n\r\n",
    Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 0x0d, 0x0a, 0x0d, 0x0a]),
  ];
  for (const bytes of wrong) assert.doesNotMatch(await said(bytes), /^HTTP\/1\.1 2/m, String(bytes).slice(0, 300));
  assert.equal((await box.send("GET", "/files?path=smuggled")).status, 404);
  assert.equal((await box.send("GET", "/health")).status, 200);
});

test("HEAD has no body, an old client is answered until the end of the connection", async () => {
  const text = await said(head("HEAD /files?path=x", "connection: close"));
  assert.match(text, /^HTTP\/1\.1 405 [^]*\r\n\r\n$/);
  const old = await said(head("GET /filesystem?path=/home").replace("HTTP/1.1", "HTTP/1.0"));
  assert.match(old, /^HTTP\/1\.1 200 /);
  assert.match(old, /\}$/);
});

test("who is refused may finish sending, hears why, and goes on", async () => {
  const socket = await open();
  const bytes = Buffer.alloc(8 * 1024 * 1024);
  socket.write(head("PUT /files/content?path=/etc/passwd", `content-length: ${bytes.length}`));
  socket.write(bytes);
  assert.match(await heard(socket, /\}\}|requestId[^]*\}/), /^HTTP\/1\.1 403 /);
  socket.write(head("PUT /nowhere", "transfer-encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n" + head("GET /health"));
  assert.match(await heard(socket, /"ok"/), /HTTP\/1\.1 200 /);
  socket.destroy();
});

test("many connections that say nothing, or half of something, keep nobody from an answer", async () => {
  const silent = await Promise.all(Array.from({ length: 300 }, open));
  for (const socket of silent.slice(0, 280)) socket.write("GET /health HT");
  const answers = await Promise.all(Array.from({ length: 20 }, () => box.send("GET", "/health")));
  for (const { status } of answers) assert.equal(status, 200);
  for (const socket of silent) socket.destroy();
});

test("a document nested beyond all reason is refused and ends nothing", async () => {
  const deep = `{"code":${"[".repeat(400_000)}${"]".repeat(400_000)}}`;
  assert.equal((await box.send("POST", "/contexts/execute", deep)).status, 400);
  assert.equal((await box.send("GET", "/health")).status, 200);
});
