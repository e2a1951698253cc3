import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { ActionLog } from "#contract/action.ts";
import { MCP_TOOLS } from "#contract/mcp.ts";
import { type Box, makeBox } from "#support/box.ts";
import { type Door, newTenant, openDoor, type Tenant } from "#support/door.ts";
import { type Connected, connectMcp, useTool } from "#support/mcp-client.ts";
import { until } from "#support/until.ts";

const SITE = "http://127.0.0.1:8000";
const LIMIT = { timeout: 240_000 };
const PATIENCE = { timeout: 120_000 };
const ASKING = `<!doctype html><title>Asking</title><button id=ask onclick="said.textContent = confirm('Sure?') ? 'yes' : 'no'">Ask</button><p id=said></p>
<label>Colour <select id=colour><option value=r>Red<option value=g>Green</select></label>
<button id=late style="display:none" onclick="said.textContent = 'late'">Late</button>
<script>setTimeout(() => { late.style.display = "" }, 500)</script>`;

let door: Door;
let tenant: Tenant;
let box: Box;
let session: Connected;

before(async () => {
  door = await openDoor();
  tenant = await newTenant(door);
  box = await makeBox(tenant, { template: "all-in-one" });
  session = await connectMcp(door.origin, tenant, `/sandboxes/${box.id}/mcp`);
  const content = await readFile(new URL("../support/site.py", import.meta.url), "utf8");
  await tenant.json("POST", `/sandboxes/${box.id}/files`, { path: "/home/user/site.py", content });
  await tenant.json("POST", `/sandboxes/${box.id}/files`, { path: "/home/user/web/asking.html", content: ASKING });
  await box.command("python3 /home/user/site.py 8000", { background: true });
  await box.command("cd web && exec python3 -m http.server 8001 --bind 127.0.0.1", { background: true });
  const served = `curl -sf ${SITE}/login && curl -sf http://127.0.0.1:8001/`;
  await until("the site is served", async () => (await box.command(served)).result?.exitCode === 0, 90_000);
}, LIMIT);

after(async () => {
  await session?.[Symbol.asyncDispose]();
  await box?.[Symbol.asyncDispose]();
  await door?.[Symbol.asyncDispose]();
});

const use = (name: string, args: Record<string, unknown> = {}) => useTool(session.client, name, args, PATIENCE);
const browser = (name: string, args: Record<string, unknown> = {}) => use(`browser_${name}`, { timeout: 100, ...args });

const actions = async () => ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/actions?limit=100`)).items;

const offered = async (template: string) => (await tenant.json<{ tools: string[] }>("GET", `/api/templates/${template}/mcp`)).tools;

test("a template offers the tools of what its sandboxes have", LIMIT, async () => {
  const { code, terminal, browser: pages, desktop } = MCP_TOOLS;
  assert.deepEqual(await offered("code-interpreter"), [...code, ...terminal]);
  assert.deepEqual(await offered("browser"), [...code, ...pages]);
  assert.deepEqual(await offered("all-in-one"), [...code, ...terminal, ...pages, ...desktop]);
});

test("an agent opens a site, reads it, logs in, filters, and takes a picture, by tools alone", LIMIT, async () => {
  const opened = await browser("navigate", { url: `${SITE}/orders` });
  assert.deepEqual([opened.value["url"], opened.value["title"]], [`${SITE}/login`, "Log in"], opened.words);
  const form = await browser("read", { elements: true });
  assert.match(form.words, /# Log in/);
  assert.match(form.words, /input:password "" input\[name="password"\]/);
  await browser("type", { selector: "[name=user]", text: "clerk" });
  const entered = await browser("type", { selector: "[name=password]", text: "secret", submit: true });
  assert.equal(entered.value["url"], `${SITE}/orders`, entered.words);
  await browser("type", { selector: "[name=state]", text: "open" });
  const filtered = await browser("read");
  assert.match(filtered.words, /\| 1 \| open \| 7 \|/);
  assert.doesNotMatch(filtered.words, /paid \|/);
  const next = await browser("click", { text: "next" });
  assert.match(String(next.value["url"]), /page=2/, next.words);
  const shown = await browser("screenshot");
  assert.equal(shown.images[0]?.mimeType, "image/png");
  assert.ok(Array.isArray((await use("browser_pages")).value["pages"]));
  const has = async (said: RegExp) => (await actions()).some(({ summary }) => said.test(summary));
  // The tools tell what they did, and whoever watches the browser what came of it: each once.
  for (const said of [/^Opened http.*login/, /^Typed 6 characters/, /^Clicked "Next"/, /^Opened http.*page=2/])
    await until(`the log says ${said}`, () => has(said), 30_000);
  const log = await actions();
  assert.deepEqual(
    log.filter(({ kind }) => kind === "click").map(({ by }) => by),
    ["agent"],
  );
  assert.equal(log.filter(({ summary }) => /^Opened http.*login/.test(summary)).length, 1);
  assert.ok(log.some(({ kind, by, screenshot }) => kind === "navigate" && by === "agent" && screenshot));
  assert.doesNotMatch(JSON.stringify(log), /"secret"|: secret/);
});

test("what a page asks is answered as the call says, and what comes late is waited for", LIMIT, async () => {
  await browser("navigate", { url: "http://127.0.0.1:8001/asking.html" });
  const dismissed = await browser("click", { selector: "#ask" });
  assert.deepEqual(dismissed.value["dialogs"], [{ type: "confirm", message: "Sure?", accepted: false }]);
  assert.equal((await browser("wait", { text: "no" })).isError, false);
  await browser("click", { selector: "#ask", acceptDialogs: true });
  assert.equal((await browser("wait", { text: "yes" })).isError, false);
  await browser("click", { text: "Late" });
  assert.match((await browser("read", { part: "all" })).words, /late/);
  assert.match((await browser("type", { selector: "#colour", text: "Blue" })).words, /no option/);
  const missing = await browser("click", { selector: "#nowhere", timeout: 1 });
  assert.ok(missing.isError);
  assert.match(missing.words, /looking for #nowhere/);
  assert.match((await browser("navigate", { url: "file:///etc/passwd" })).words, /pages are not shown here/);
  const pressed = await browser("press", { key: "Tab" });
  assert.equal(pressed.isError, false, pressed.words);
});

test("a terminal goes on between calls: opened, written to, read again, resized and closed", LIMIT, async () => {
  const opened = await use("terminal_open", { cwd: "/tmp" });
  const { terminalId } = opened.value;
  const where = await use("terminal_write", { terminalId, input: "pwd; x=41\n", until: "/tmp\n", wait: 60 });
  assert.match(where.words, /\/tmp/);
  const sum = await use("terminal_write", { terminalId, input: "echo is $((x + 1))\n", until: "is 42", wait: 60 });
  assert.match(sum.words, /is 42/);
  const read = await use("terminal_read", { terminalId, until: "is 42", wait: 60 });
  assert.match(String(read.value["output"]), /\/tmp[\s\S]*is 42/);
  assert.ok(!String(read.value["output"]).includes(String.fromCharCode(27)));
  await use("terminal_resize", { terminalId, rows: 30, cols: 111 });
  assert.match((await use("terminal_write", { terminalId, input: "stty size\n", until: "30 111", wait: 60 })).words, /30 111/);
  const items = (await use("terminal_list")).value["items"] as { terminalId: string }[];
  assert.ok(items.some((one) => one.terminalId === terminalId));
  const ended = await use("terminal_write", { terminalId, input: "exit 3\n", until: "never said", wait: 60 });
  assert.deepEqual([ended.value["status"], ended.value["exitCode"]], ["exited", 3]);
  assert.equal((await use("terminal_close", { terminalId })).value["closed"], true);
  const none = await use("terminal_write", { terminalId: "tty-none", input: "x" });
  assert.equal(none.problem?.code, "process_not_found");
});

test("the desktop is looked at, pointed at and typed on, and what lies outside of it is refused", LIMIT, async () => {
  const size = await use("desktop_size");
  const { width, height } = (size.value as { screen: { width: number; height: number } }).screen;
  assert.ok(width > 0 && height > 0, size.words);
  const seen = await use("desktop_screenshot");
  assert.equal(seen.images[0]?.mimeType, "image/png");
  await use("desktop_move", { x: 40, y: 50 });
  assert.deepEqual((await use("desktop_cursor")).value["cursor"], { x: 40, y: 50 });
  for (const [name, args] of [
    ["click", { x: 60, y: 70 }],
    ["double_click", {}],
    ["triple_click", {}],
    [
      "drag",
      {
        path: [
          { x: 60, y: 70 },
          { x: 80, y: 90 },
        ],
      },
    ],
    ["scroll", { scrollY: 2 }],
    ["type", { text: "hello" }],
    ["key", { keys: "ctrl+a" }],
    ["wait", { ms: 10 }],
  ] as const) {
    const done = await use(`desktop_${name}`, args);
    assert.equal(done.isError, false, `${name}: ${done.words}`);
  }
  const outside = await use("desktop_click", { x: width + 1, y: 0 });
  assert.equal(outside.problem?.code, "invalid_request");
});

test("tools that act are refused while a person has control, and those that look are not", LIMIT, async () => {
  await tenant.json("POST", `/api/sandboxes/${box.id}/control`, { name: "Ada" });
  try {
    for (const [name, args] of [
      ["browser_click", { selector: "body" }],
      ["browser_navigate", { url: SITE }],
      ["desktop_click", {}],
    ] as const)
      assert.equal((await use(name, args)).problem?.code, "control_held", name);
    assert.equal((await browser("read", { part: "all" })).isError, false);
  } finally {
    await tenant.send("DELETE", `/api/sandboxes/${box.id}/control`);
  }
});

test("a call that is cancelled stops waiting in the page", LIMIT, async () => {
  await assert.rejects(
    useTool(session.client, "browser_wait", { selector: "#never", timeout: 200 }, { signal: AbortSignal.timeout(1000) }),
  );
  assert.equal((await browser("read", { part: "all" })).isError, false);
});
