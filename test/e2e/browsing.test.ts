import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ActionLog } from "#contract/action.ts";
import { Browser as BrowserNow, DevtoolsTarget } from "#contract/browser.ts";
import { PageBytes, PageHtml, PageMarkdown } from "#contract/browsing.ts";
import { type Box, makeBox } from "#support/box.ts";
import { type Door, newTenant, openDoor, type Tenant } from "#support/door.ts";
import { CARDS, MANUAL } from "#support/pages.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const SITE = "http://127.0.0.1:8000";
const LIMIT = { timeout: 240_000 };
const TALL = `<!doctype html><title>Tall</title><body style="margin:0"><div id=red style="width:300px;height:200px;background:#f00"></div>
<div style="height:3000px;background:linear-gradient(#fff,#00f)"></div></body>`;

let door: Door;
let tenant: Tenant;
let box: Box;

before(async () => {
  door = await openDoor();
  tenant = await newTenant(door);
  box = await makeBox(tenant, { template: "all-in-one" });
  for (const [name, content] of Object.entries({ manual: MANUAL, cards: CARDS, tall: TALL, other: "<title>Other</title><h1>Other</h1>" }))
    await tenant.json("POST", `/sandboxes/${box.id}/files`, { path: `/home/user/web/docs/${name}.html`, content });
  await box.command("cd web && exec python3 -m http.server 8000 --bind 127.0.0.1", { background: true });
  await until("the site is served", async () => (await box.command(`curl -sf ${SITE}/docs/tall.html`)).result?.exitCode === 0, 90_000);
}, LIMIT);

after(async () => {
  await box?.[Symbol.asyncDispose]();
  await door?.[Symbol.asyncDispose]();
});

const JSON_ASKED = { accept: "application/json" };
const ask = (what: string, body: object = {}, headers: Record<string, string> = {}) =>
  box.inside("POST", `/browser/${what}`, { timeoutMs: 120_000, ...body }, headers);
const page = (name: string) => `${SITE}/docs/${name}.html`;
const pages = async () =>
  DevtoolsTarget.array()
    .parse(await tenant.json("GET", `/sandboxes/${box.id}/json/list`))
    // The browser lists also what it draws its own window with.
    .filter(({ type, url }) => type === "page" && !url.includes(".top-chrome/"));

async function bytes(response: Response): Promise<Buffer> {
  assert.equal(response.status, 200, response.ok ? "" : await response.clone().text());
  return Buffer.from(await response.arrayBuffer());
}

/** Width and height as a PNG's head has them. */
function sizeOf(png: Buffer): [number, number] {
  assert.equal(png.subarray(1, 4).toString(), "PNG");
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}

test("a picture of an address is bytes of the kind that was asked for, of a window, of all of it, or of one element", LIMIT, async () => {
  await until("the browser has its first page", async () => (await pages()).length > 0, 60_000);
  const open = (await pages()).length;
  const shown = await ask("screenshot", { url: page("tall") });
  assert.equal(shown.headers.get("content-type"), "image/png");
  assert.deepEqual(sizeOf(await bytes(shown)), [1280, 720]);
  assert.deepEqual(sizeOf(await bytes(await ask("screenshot", { url: page("tall"), width: 400, height: 300 }))), [400, 300]);
  const [, tall] = sizeOf(await bytes(await ask("screenshot", { url: page("tall"), fullPage: true })));
  assert.equal(tall, 3200);
  assert.deepEqual(sizeOf(await bytes(await ask("screenshot", { url: page("tall"), selector: "#red" }))), [300, 200]);
  const jpeg = await bytes(await ask("screenshot", { url: page("tall"), format: "jpeg", quality: 50 }));
  assert.deepEqual([...jpeg.subarray(0, 3)], [0xff, 0xd8, 0xff]);
  const webp = PageBytes.parse(await (await ask("screenshot", { url: page("tall"), format: "webp" }, JSON_ASKED)).json());
  assert.equal(Buffer.from(webp.data, "base64").subarray(8, 12).toString(), "WEBP");
  assert.deepEqual([webp.title, webp.url, webp.mediaType], ["Tall", page("tall"), "image/webp"]);
  await until("what was opened for a picture is closed again", async () => (await pages()).length === open, 60_000);
  const log = ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/actions?kind=screenshot`));
  assert.equal(log.items[0]?.url, page("tall"));
});

test("a page is printed", LIMIT, async () => {
  const printed = await ask("pdf", { url: page("manual"), paper: "A5", landscape: true, pages: "1" });
  assert.equal(printed.headers.get("content-type"), "application/pdf");
  assert.equal((await bytes(printed)).subarray(0, 5).toString(), "%PDF-");
});

test("a page's document is read as its scripts have made it, and is inert at the door", LIMIT, async () => {
  const answer = await ask("content", { url: page("cards"), waitFor: "shop-price" });
  assert.match(answer.headers.get("content-security-policy") ?? "", /^sandbox/);
  assert.match((await bytes(answer)).toString(), /^<!DOCTYPE html>\n<html>.*Floor lamp/s);
  const told = PageHtml.parse(await (await ask("content", { url: page("other") }, JSON_ASKED)).json());
  assert.match(told.html, /<h1>Other<\/h1>/);
});

test("a manual's page becomes Markdown: its content alone, with what Markdown has words for", LIMIT, async () => {
  const answer = await ask("markdown", { url: page("manual") });
  assert.equal(answer.headers.get("content-type"), "text/markdown; charset=utf-8");
  assert.equal(
    (await bytes(answer)).toString(),
    `# Configure

Settings live in \`widget.toml\`, which **must** be *UTF-8*. See [how to install](${SITE}/install?x=1&y=2).

\`\`\`bash
$ widget init
$ widget run --port 80   # needs root
\`\`\`

## Keys

| Key | Type | Meaning |
| --- | --- | --- |
| \`port\` | int \\| none | Where it listens |
| \`log_level\` | string | How much is said |

## Steps

3. Stop it.
   - gently
   - or not

4. Edit \`widget.toml\`.

   \`\`\`
   a = 1
   b = 2
   \`\`\`

> Do not panic.
>
> Really.

1\\. is not a list, \\* nor this, \\<b> no tag, snake_case stays.  
A second line.

![A port](${SITE}/img/port.png)

**Port**

A number.`,
  );
  const all = PageMarkdown.parse(await (await ask("markdown", { url: page("manual"), part: "all" }, JSON_ASKED)).json());
  assert.match(all.markdown, /\[Blog\].*\[Install\].*All rights reserved/s);
  assert.doesNotMatch(all.markdown, /Never seen|Nor this|Nor that|document\.write|Skip to content|Copy/);
  const cut = PageMarkdown.parse(await (await ask("markdown", { url: page("manual"), maxChars: 50 }, JSON_ASKED)).json());
  assert.equal(cut.truncated, true);
  assert.equal(cut.markdown.length, 50);
});

test("cards, elements with shadows, and names that a form takes away are read all the same", LIMIT, async () => {
  const { markdown } = PageMarkdown.parse(await (await ask("markdown", { url: page("cards"), waitFor: "shop-price" }, JSON_ASKED)).json());
  assert.match(markdown, new RegExp(`### \\[Desk lamp\\]\\(${SITE}/lamps/1\\)\n\nWarm light\n\n12 EUR`));
  assert.match(markdown, new RegExp(`### \\[Floor lamp\\]\\(${SITE}/lamps/2\\)`));
  assert.match(markdown, /From \*\*9 EUR\*\*, with tax/);
  assert.doesNotMatch(markdown, /Free shipping/);
});

const target = async (url: string) => {
  const socket = new WebSocket(`${door.origin.replace("http", "ws")}/k/${tenant.key.apiKey}/sandboxes/${box.id}/ws/automation`);
  const answer = new Promise<string>((resolve, reject) => {
    socket.addEventListener("message", ({ data }) =>
      resolve((JSON.parse(String(data)) as { result: { targetId: string } }).result.targetId),
    );
    socket.addEventListener("error", () => reject(new Error("The WebSocket failed")));
  });
  socket.addEventListener("open", () => socket.send(JSON.stringify({ id: 1, method: "Target.createTarget", params: { url } })));
  const id = await answer;
  socket.close();
  return id;
};

test("without an address it is the page that was used last, or the one that is named", LIMIT, async () => {
  const [first, second] = [await target(page("tall")), await target(page("other"))];
  const read = async (body: object) => PageMarkdown.parse(await (await ask("markdown", { ...body, waitFor: "body" }, JSON_ASKED)).json());
  await until("it is there", async () => (await read({ targetId: second })).markdown === "# Other");
  assert.equal((await read({})).title, "Other");
  assert.equal((await read({ targetId: first })).targetId, first);
  assert.equal((await ask("screenshot", { targetId: first })).status, 200, "a page behind another has a picture too");
  await refused(ask("content", { targetId: "none" }), "target_not_found");
});

test("what cannot be is refused with what to do next", LIMIT, async () => {
  for (const url of [
    "file:///etc/passwd",
    "chrome://version",
    "view-source:http://127.0.0.1:8000/",
    "javascript:1",
    "about:config",
    "nonsense",
  ])
    await refused(ask("screenshot", { url }), "invalid_request");
  const late = await refused(ask("markdown", { url: page("other"), waitFor: "#never", timeoutMs: 5000 }), "timeout");
  assert.match(late.detail, /it was still (starting|loading|waiting for #never)/);
  assert.match(late.next, /timeoutMs/);
  assert.match((await refused(ask("content", { url: "http://127.0.0.1:9/" }), "page_failed")).detail, /ERR_/);
  await refused(ask("screenshot", { url: page("tall"), selector: "#none" }), "element_not_found");
  await refused(ask("screenshot", { url: page("tall"), selector: "##" }), "invalid_request");
  for (const wrong of [
    { url: page("tall"), targetId: "a" },
    { quality: 50 },
    { width: 500 },
    { fullPage: true, selector: "p" },
    { nonsense: 1 },
    { timeoutMs: 0 },
  ])
    await refused(ask("screenshot", wrong), "invalid_request");
  await using plain = await makeBox(tenant);
  assert.match((await refused(plain.inside("POST", "/browser/markdown", {}), "not_supported")).next, /all-in-one/);
});

test("while a person has control an address is not opened, and what is open may be looked at", LIMIT, async () => {
  await tenant.json("POST", `/api/sandboxes/${box.id}/control`, { name: "Ada" });
  try {
    const held = await refused(ask("screenshot", { url: page("tall") }), "control_held");
    assert.match(held.detail, /Ada/);
    assert.equal((await ask("screenshot")).status, 200);
  } finally {
    await tenant.send("DELETE", `/api/sandboxes/${box.id}/control`);
  }
  assert.equal(BrowserNow.parse(await tenant.json("GET", `/sandboxes/${box.id}/browser`)).restarts, 0);
});
