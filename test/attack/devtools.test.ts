import assert from "node:assert/strict";
import { connect } from "node:net";
import { devtoolsClient } from "#support/devtools-client.ts";
import { proves } from "#support/range.ts";

const BROWSER = { sandbox: { template: "browser" } };
const FLOOD_MESSAGES = 200_000;

proves(
  "T7",
  "no client of DevTools ends the browser for others, opens what is not the web's, or writes downloads outside the user's folders",
  async (range) => {
    const [one, other] = [await devtoolsClient(range), await devtoolsClient(range)];
    const opened = await one.ask("Target.createTarget", { url: "data:text/html,hello" });
    assert.ok(opened.result?.["targetId"], "the control: a page of the web's opens");
    for (const url of ["file:///etc/passwd", "chrome://version", "about:version", "view-source:http://127.0.0.1/"])
      assert.match(String((await one.ask("Target.createTarget", { url })).error?.message), /refused/, url);
    assert.match(String((await one.ask("Browser.crash")).error?.message), /refused/);
    await one.ask("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: "/home/user/../../etc" });
    const closed = new Promise<number>((resolve) => one.socket.once("close", resolve));
    assert.deepEqual((await one.ask("Browser.close")).result, {});
    assert.equal(await closed, 1000);
    assert.ok((await other.ask("Browser.getVersion")).result?.["product"], "the browser goes on for the other");
    other.socket.close();
  },
  BROWSER,
);

proves(
  "T26",
  "a client of DevTools that floods and reads nothing is slowed and cut, and the others' browser answers meanwhile",
  async (range) => {
    const { door, tenant, sandboxId } = range;
    const { hostname, port } = new URL(door.origin);
    const other = await devtoolsClient(range);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    const lines = [
      `GET /sandboxes/${sandboxId}/ws/automation HTTP/1.1`,
      `host: ${hostname}:${port}`,
      `authorization: Bearer ${tenant.key.apiKey}`,
      "connection: Upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    const text = Buffer.from('{"id":1,"method":"Browser.getVersion"}');
    const message = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]);
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    let sent = 0;
    while (sent < FLOOD_MESSAGES && socket.write(message)) sent += 1;
    for (; sent < FLOOD_MESSAGES; sent += 1) socket.write(message);
    assert.ok(socket.writableLength > 0, "the flood is held up at its source");
    assert.ok((await other.ask("Browser.getVersion")).result?.["product"], "the other is answered meanwhile");
    await closed;
    assert.ok((await other.ask("Browser.getVersion")).result?.["product"]);
    other.socket.close();
  },
  BROWSER,
);
