import assert from "node:assert/strict";
import { once } from "node:events";
import { duplexPair, type Duplex } from "node:stream";
import { test } from "node:test";
import { CLOSE, closeFrame, frame, frameHead, FrameWalker, type Message, MessageReader, TEXT } from "#gateway/devtools/frames.ts";
import { judge } from "#gateway/devtools/policy.ts";
import { type Bounds, BOUNDS, Relay } from "#gateway/devtools/relay.ts";
import { outlineOf } from "#gateway/devtools/scan.ts";
import { until } from "#support/until.ts";

const MIB = 1024 * 1024;

interface End {
  stream: Duplex;
  heard: Message[];
  texts(): unknown[];
  closed(): { code: number; reason: string } | undefined;
}

/** One end that a test holds in its hand. */
function endOf(stream: Duplex, masked: boolean, reads = true): End {
  const heard: Message[] = [];
  const reader = new MessageReader({ masked, maxBytes: 400 * MIB });
  if (reads) stream.on("data", (chunk: Buffer) => heard.push(...reader.read(Buffer.from(chunk))));
  stream.on("error", () => {});
  return {
    stream,
    heard,
    texts: () => heard.filter(({ opcode }) => opcode === TEXT).map(({ data }) => JSON.parse(data.toString()) as unknown),
    closed() {
      const close = heard.find(({ opcode }) => opcode === CLOSE);
      return close && { code: close.data.readUInt16BE(0), reason: close.data.subarray(2).toString() };
    },
  };
}

const explain = async () => ({ code: 4410, reason: "sandbox_ended: deleted" });

function joined({
  bounds = {},
  holder = async () => undefined,
  reads = true,
}: { bounds?: Partial<Bounds>; holder?: () => Promise<string | undefined>; reads?: boolean } = {}) {
  const [client, clientSide] = duplexPair();
  const [browser, browserSide] = duplexPair();
  const passed: string[] = [];
  const around = {
    holder,
    explain,
    asked: (method: string) => void passed.push(method),
    ready: () => undefined,
    bounds: { ...BOUNDS, ...bounds },
  };
  const run = new Relay(clientSide, browserSide, around).run(Buffer.alloc(0));
  return { client: endOf(client, false, reads), browser: endOf(browser, true), run, passed };
}

const said = (end: Duplex, message: object | string, masked = true) =>
  end.write(frame(TEXT, Buffer.from(typeof message === "string" ? message : JSON.stringify(message)), masked));

test("messages pass both ways, whole and in their order, and a close passes with its code", async () => {
  const { client, browser, run } = joined();
  for (let id = 1; id <= 100; id += 1) said(client.stream, { id, method: "Runtime.evaluate" });
  await until("the browser heard them", () => browser.texts().length === 100);
  assert.deepEqual(
    browser.texts().map((text) => (text as { id: number }).id),
    Array.from({ length: 100 }, (_, at) => at + 1),
  );
  said(browser.stream, { id: 1, result: {} }, false);
  await until("the client heard it", () => client.texts().length === 1);
  client.stream.write(closeFrame(4001, "done", true));
  await until("the browser heard the close", () => browser.closed() !== undefined);
  assert.deepEqual(browser.closed(), { code: 4001, reason: "done" });
  browser.stream.write(closeFrame(4001, "done"));
  browser.stream.end();
  await until("the client heard it back", () => client.closed() !== undefined);
  client.stream.destroy();
  await run;
});

test("a message of 128 MiB passes to the client as it comes, held by nobody", async () => {
  const { client, browser } = joined({ reads: false });
  const walker = new FrameWalker(false);
  const seen = { bytes: 0, ends: 0 };
  client.stream.on("data", (chunk: Buffer) => {
    for (const { payload, ends } of walker.walk(chunk)) {
      seen.bytes += payload.length;
      seen.ends += ends ? 1 : 0;
    }
  });
  const chunk = Buffer.alloc(MIB / 4, 97);
  browser.stream.write(frameHead(TEXT, 128 * MIB, false));
  for (let at = 0; at < 512; at += 1) if (!browser.stream.write(chunk)) await once(browser.stream, "drain");
  await until("the client has it", () => seen.ends === 1, 30_000);
  assert.equal(seen.bytes, 128 * MIB);
});

test("a message of 4 MiB passes from the client, as it was written", async () => {
  const { client, browser } = joined();
  const message = { id: 7, method: "Runtime.evaluate", params: { expression: "x".repeat(4 * MIB) } };
  said(client.stream, message);
  await until("the browser has it", () => browser.heard.length === 1, 30_000);
  assert.deepEqual(browser.texts(), [message]);
});

test("answers of the door stand between the browser's messages, never inside one", async () => {
  const { client, browser } = joined();
  const whole = frame(TEXT, Buffer.from(JSON.stringify({ id: 1, result: "x".repeat(1000) })), false);
  browser.stream.write(whole.subarray(0, 500));
  await until("half of it is there", () => client.stream.readableLength === 0 && browser.stream.writableLength === 0);
  said(client.stream, { id: 2, method: "Page.navigate", params: { url: "file:///etc/passwd" } });
  said(client.stream, { id: 3, method: "Runtime.enable" });
  await until("the later command came by", () => browser.texts().length === 1);
  assert.equal(client.heard.length, 0);
  browser.stream.write(whole.subarray(500));
  await until("both came", () => client.texts().length === 2);
  assert.deepEqual(
    client.texts().map((text) => (text as { id: number }).id),
    [1, 2],
  );
});

test("an end that goes without a word is told to the client with its reason", async () => {
  const { client, browser, run } = joined();
  browser.stream.end();
  browser.stream.destroy();
  await until("the client was told", () => client.closed() !== undefined);
  assert.deepEqual(client.closed(), { code: 4410, reason: "sandbox_ended: deleted" });
  client.stream.destroy();
  await run;
});

test("a client that floods is slowed, and cut when it goes on", async () => {
  const { client, browser } = joined({ bounds: { messagesPerSecond: 100, patienceMs: 500 } });
  const flood = frame(TEXT, Buffer.from('{"id":1,"method":"Runtime.enable"}'), true);
  const timer = setInterval(() => client.stream.write(Buffer.concat(Array.from({ length: 50 }, () => flood))), 5);
  await until("it is cut", () => client.closed() !== undefined);
  clearInterval(timer);
  assert.equal(client.closed()?.code, 1008);
  assert.ok(browser.heard.length < 400, `${browser.heard.length} came through`);
});

test("a client that never reads holds the browser up, and is cut", async () => {
  const { browser, run } = joined({ bounds: { patienceMs: 1000 }, reads: false });
  const chunk = frame(TEXT, Buffer.alloc(60_000, 97), false);
  let written = 0;
  while (written < 50 * MIB && browser.stream.write(chunk)) written += chunk.length;
  assert.ok(written < 2 * MIB, `${written} bytes were taken`);
  let over = false;
  void run.then(() => (over = true));
  await until("it is cut", () => over, 15_000);
});

test("a client that breaks the protocol is closed with the code that says how", async () => {
  const unmasked = frame(TEXT, Buffer.from("{}"), false);
  const reserved = Buffer.from([0xc1, 0x80, 0, 0, 0, 0]);
  const binary = frame(2, Buffer.from("x"), true);
  const tooLong = Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  for (const [bytes, code] of [
    [unmasked, 1002],
    [reserved, 1002],
    [binary, 1003],
    [tooLong, 1009],
  ] as const) {
    const { client } = joined();
    client.stream.write(bytes);
    await until("it is closed", () => client.closed() !== undefined);
    assert.equal(client.closed()?.code, code);
  }
});

test("input waits while a person has control and goes on in its order; all else goes by", async () => {
  let holder: string | undefined = "Ada";
  const { client, browser } = joined({ holder: async () => holder });
  said(client.stream, { id: 1, method: "Input.dispatchMouseEvent" });
  said(client.stream, { id: 2, method: "Input.dispatchKeyEvent" });
  said(client.stream, { id: 3, method: "Page.captureScreenshot" });
  await until("what is no input went by", () => browser.texts().length === 1);
  assert.deepEqual(browser.texts(), [{ id: 3, method: "Page.captureScreenshot" }]);
  holder = undefined;
  await until("the input follows", () => browser.texts().length === 3);
  assert.deepEqual(
    browser.texts().map((text) => (text as { id: number }).id),
    [3, 1, 2],
  );
});

test("input that waits too long, or is too much, is answered with who has control", async () => {
  const { client, browser } = joined({ holder: async () => "Ada", bounds: { holdMs: 300 } });
  for (let id = 1; id <= 260; id += 1) said(client.stream, { id, sessionId: "S", method: "Input.insertText" });
  await until("all are answered", () => client.texts().length === 260);
  const answers = client.texts() as { id: number; sessionId: string; error: { message: string } }[];
  assert.deepEqual(
    answers.slice(0, 4).map(({ id }) => id),
    [257, 258, 259, 260],
    "those for whom there is no room first",
  );
  for (const { error, sessionId } of answers) assert.match(`${sessionId} ${error.message}`, /^S Ada has control/);
  assert.equal(browser.heard.length, 0);
});

test("Browser.close ends the client and the contexts that it opened, and not the browser", async () => {
  const { client, browser } = joined();
  said(client.stream, { id: 1, method: "Target.createBrowserContext" });
  await until("the browser is asked", () => browser.texts().length === 1);
  said(browser.stream, { id: 1, result: { browserContextId: "CTX" } }, false);
  await until("the client knows", () => client.texts().length === 1);
  said(client.stream, { id: 2, method: "Browser.close" });
  await until("the client is let go", () => client.closed() !== undefined);
  assert.deepEqual(client.texts()[1], { id: 2, result: {} });
  assert.equal(client.closed()?.code, 1000);
  const asked = browser.texts() as { method: string; params?: object }[];
  assert.deepEqual(asked[1]?.params, { browserContextId: "CTX" });
  assert.ok(asked.every(({ method }) => method !== "Browser.close"));
});

const verdict = (message: object | string) => judge(Buffer.from(typeof message === "string" ? message : JSON.stringify(message)));

test("addresses that are not the web's are refused, however they are written", () => {
  const refused = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    " \tfile:///etc/passwd",
    "fi\nle:///etc/passwd",
    "chrome://version",
    "chrome-untrusted://terminal",
    "about:version",
    "view-source:http://127.0.0.1/",
    "devtools://devtools/bundled/inspector.html",
    "chrome-extension://abc/x.html",
    "filesystem:http://host/temporary/x",
    "javascript:alert(1)",
    "no address",
  ];
  for (const url of refused) {
    for (const method of ["Page.navigate", "Target.createTarget", "Network.loadNetworkResource", "Fetch.continueRequest"]) {
      const judged = verdict({ id: 5, sessionId: "S", method, params: { url } });
      assert.equal(judged.do, "answer", `${method} ${url}`);
      assert.match(JSON.stringify(judged), /"id":5,"sessionId":"S","error":\{"code":-32000/);
    }
    const nested = JSON.stringify({ id: 1, method: "Page.navigate", params: { url } });
    assert.equal(verdict({ id: 5, method: "Target.sendMessageToTarget", params: { message: nested } }).do, "answer", `nested ${url}`);
  }
  for (const url of ["http://127.0.0.1:8080/a", "https://example.com", "data:text/html,hi", "about:blank", "about:blank#x"])
    assert.equal(verdict({ id: 1, method: "Page.navigate", params: { url } }).do, "pass", url);
});

test("what the browser reads is what was judged: of a name that comes twice the one that counted goes on", () => {
  const twice = '{"id":1,"method":"Page.navigate","params":{"url":"file:///etc/passwd"},"method":"Runtime.enable","params":{}}';
  const judged = verdict(twice);
  assert.equal(judged.do === "pass" && judged.data.toString(), '{"id":1,"method":"Runtime.enable","params":{}}');
});

const downloadsTo = (downloadPath: unknown) => {
  const judged = verdict({ id: 1, method: "Browser.setDownloadBehavior", params: { behavior: "allow", downloadPath } });
  return judged.do === "pass"
    ? (JSON.parse(judged.data.toString()) as { params: { downloadPath: string } }).params.downloadPath
    : judged.do;
};

test("downloads stay in the folders of the user", () => {
  for (const escape of ["/etc", "/home/user/downloads/../../../etc", "relative", "/tmpx/a", "", 7, "/tmp/../opt", "/home/user/.."])
    assert.equal(downloadsTo(escape), "/home/user/downloads", String(escape));
  assert.equal(downloadsTo("/tmp/playwright-artifacts-1"), "/tmp/playwright-artifacts-1");
  assert.equal(downloadsTo("/home/user/downloads/reports"), "/home/user/downloads/reports");
});

test("what is for nobody who shares a browser is refused, and what is no command is answered", () => {
  for (const method of ["Browser.crash", "Target.exposeDevToolsProtocol", "Target.openDevTools", "Extensions.loadUnpacked", "PWA.install"])
    assert.equal(verdict({ id: 1, method }).do, "answer", method);
  for (const broken of ["", "{", "[]", "null", "7", '{"id":1}', '{"id":1,"method":7}']) assert.equal(verdict(broken).do, "answer", broken);
  assert.equal(judge(Buffer.from([0xff, 0xfe])).do, "answer");
});

test("a large message is judged by its outline, which cannot be read in two ways", () => {
  const filler = "x".repeat(2 * MIB);
  const large = (head: string) => verdict(`{${head},"params":{"expression":"${filler}","nested":{"method":"Page.navigate"}}}`);
  assert.equal(large('"id":1,"method":"Runtime.evaluate"').do, "pass");
  assert.equal(large('"id":1,"method":"Page.navigate"').do, "answer");
  assert.equal(large('"id":1,"method":"Browser.close"').do, "answer");
  assert.equal(large('"id":1,"method":"Runtime.evaluate","method":"Page.navigate"').do, "answer");
  assert.equal(large(String.raw`"id":1,"meth\u006fd":"Page.navigate","method":"Runtime.evaluate"`).do, "answer");
  assert.equal(large('/*"*/"method":"Page.navigate",/*"*/"id":1').do, "answer");
  assert.equal(large('"id":1').do, "answer");
  assert.equal(verdict("[".repeat(5 * MIB)).do, "answer");
  assert.deepEqual(outlineOf(Buffer.from('{"id": 3, "sessionId": "AB", "method": "A.b", "params": {"a": ["\\\\", "\\"}"]}}')), {
    id: 3,
    sessionId: "AB",
    method: "A.b",
  });
});

test("frames cut anywhere are the same frames", () => {
  const bytes = Buffer.concat([
    frame(TEXT, Buffer.alloc(70_000, 1), true),
    frame(9, Buffer.from("p"), true),
    frame(TEXT, Buffer.alloc(300, 2), true),
  ]);
  for (const step of [1, 3, 7, 1000, bytes.length]) {
    const walker = new FrameWalker(true);
    let ends = 0;
    let length = 0;
    for (let at = 0; at < bytes.length; at += step)
      for (const piece of walker.walk(Buffer.from(bytes.subarray(at, at + step)))) {
        length += piece.payload.length;
        if (piece.ends) ends += 1;
      }
    assert.deepEqual({ ends, length }, { ends: 3, length: 70_301 }, `in steps of ${step}`);
  }
});
