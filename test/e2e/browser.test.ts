import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { after, before, test } from "node:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { connect } from "puppeteer-core";
import { Browser as BrowserNow, DevtoolsTarget, DevtoolsVersion } from "#contract/browser.ts";
import { projectDir } from "#infra/config.ts";
import { type Box, makeBox } from "#support/box.ts";
import { type Door, newTenant, openDoor, type Tenant } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { endedSpans } from "#support/spans.ts";
import { until } from "#support/until.ts";

const SITE = "http://127.0.0.1:8000";
const LIMIT = { timeout: 240_000 };
const WAIT = { timeout: 60_000 };
/** A page of pixels that no compression makes small. */
const NOISE = `<body style="margin:0"><canvas id=c width=2600 height=2600></canvas><script>
const context = c.getContext("2d"); const image = context.createImageData(2600, 2600); const { data } = image;
for (let at = 0; at < data.length; at += 65536) crypto.getRandomValues(data.subarray(at, at + 65536));
for (let at = 3; at < data.length; at += 4) data[at] = 255;
context.putImageData(image, 0, 0);</script>`;
const CSV = /^number,state,total\n1,open,7\n/;

let door: Door;
let tenant: Tenant;
let box: Box;

before(async () => {
  door = await openDoor();
  tenant = await newTenant(door);
  box = await makeBox(tenant, { template: "all-in-one" });
  const content = await readFile(new URL("../support/site.py", import.meta.url), "utf8");
  await tenant.json("POST", `/sandboxes/${box.id}/files`, { path: "/home/user/site.py", content });
  await box.command("python3 /home/user/site.py 8000", { background: true });
  await until("the site is served", async () => (await box.command(`curl -s ${SITE}/login`)).result?.exitCode === 0, 90_000);
}, LIMIT);

after(async () => {
  await box?.[Symbol.asyncDispose]();
  await door?.[Symbol.asyncDispose]();
});

const inPath = () => `${door.origin}/k/${tenant.key.apiKey}/sandboxes/${box.id}`;
const browserNow = async () => BrowserNow.parse(await tenant.json("GET", `/sandboxes/${box.id}/browser`));

async function playwright(query = ""): Promise<Browser & AsyncDisposable> {
  const browser = await chromium.connectOverCDP(`${inPath()}${query}`, WAIT);
  return Object.assign(browser, { [Symbol.asyncDispose]: () => browser.close() });
}

async function logIn(page: Page): Promise<void> {
  page.setDefaultTimeout(WAIT.timeout);
  await page.goto(`${SITE}/orders`);
  assert.equal(page.url(), `${SITE}/login`);
  await page.fill("[name=user]", "clerk");
  await page.fill("[name=password]", "secret");
  await page.click("button");
  await page.waitForURL(`${SITE}/orders`);
}

test("a browser runs from its first use on, and what DevTools say of themselves leads back through the door", LIMIT, async () => {
  assert.equal((await browserNow()).state, "stopped");
  const path = `/sandboxes/${box.id}/json`;
  const version = DevtoolsVersion.parse(await tenant.json("GET", `${path}/version?tenantId=7&recording=false`));
  const base = `ws${door.origin.slice(4)}`;
  assert.match(version.Browser, /^Chrome\/\d+/);
  assert.equal(version.webSocketDebuggerUrl, `${base}/sandboxes/${box.id}/ws/automation?tenantId=7&recording=false`);
  assert.equal((await browserNow()).state, "running");
  const slashed = DevtoolsVersion.parse(await (await fetch(`${inPath()}/json/version/`)).json());
  assert.equal(slashed.webSocketDebuggerUrl, `${base}/k/${tenant.key.apiKey}/sandboxes/${box.id}/ws/automation`);
  for (const list of [path, `${path}/list`]) {
    const page = DevtoolsTarget.array()
      .parse(await tenant.json("GET", list))
      .find((target) => target.type === "page");
    assert.ok(page);
    assert.equal(page.webSocketDebuggerUrl, `${base}/sandboxes/${box.id}/devtools/page/${page.id}`);
    assert.equal("devtoolsFrontendUrl" in page, false);
  }
  assert.equal(BrowserNow.parse(await tenant.json("PUT", `/sandboxes/${box.id}/browser`)).state, "running");
});

test(
  "the menus of the browser's own window are no pages of the user's, and a page is drawn as often as it is asked for",
  LIMIT,
  async () => {
    await using fresh = await makeBox(tenant, { template: "browser" });
    const base = `${door.origin}/k/${tenant.key.apiKey}/sandboxes/${fresh.id}`;
    const browser = await chromium.connectOverCDP(base, WAIT);
    // What is typed into the address bar drops a list down from it, as the browser's start may do by itself.
    for (const action of [
      { type: "click", x: 640, y: 62 },
      { type: "type", text: "about" },
    ])
      await tenant.json("POST", `/sandboxes/${fresh.id}/desktop/actions`, action);
    const pages = browser.contexts().flatMap((context) => context.pages());
    assert.deepEqual(
      pages.map((page) => page.url()),
      ["about:blank"],
    );
    for (let times = 0; times < 5; times += 1) assert.ok((await pages[0]?.screenshot(WAIT))?.length);
    const listed = await tenant.json<DevtoolsTarget[]>("GET", `/sandboxes/${fresh.id}/json/list`);
    assert.deepEqual(
      listed.map(({ type, url }) => [type, url]),
      [["page", "about:blank"]],
    );
    await browser.close();
  },
);

test("Playwright logs in, filters, pages on, downloads, uploads, and meets dialogs, frames and popups", LIMIT, async () => {
  await using browser = await playwright("?tenantId=7&recording=false");
  const context = await browser.newContext();
  const page = await context.newPage();
  await logIn(page);
  await page.selectOption("select", "open");
  await page.waitForURL(/state=open/);
  assert.equal(await page.locator("tr.order").count(), 5);
  await page.click("#next");
  await page.waitForURL(/page=2/);
  assert.equal(await page.locator("tr.order").first().textContent(), "16open112");

  await page.goto(`${SITE}/upload`);
  await page.setInputFiles("[name=file]", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.alloc(100_000, "n") });
  await page.click("button");
  assert.equal(await page.textContent("#got"), "notes.txt 100000");

  await page.goto(`${SITE}/desk`);
  page.once("dialog", (dialog) => void dialog.accept());
  await page.click("#ask");
  assert.equal(await page.textContent("#answer"), "deleted");
  await page.frameLocator("[name=inner]").locator("#note").fill("from outside");
  assert.equal(await page.frameLocator("[name=inner]").locator("#seen").textContent(), "from outside");
  const [popup] = await Promise.all([page.waitForEvent("popup"), page.click("#open")]);
  assert.equal(await popup.textContent("h1"), "Popped up");

  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#csv")]);
  assert.equal(download.suggestedFilename(), "orders.csv");
  assert.equal(await download.failure(), null);
  assert.match(await readInside((await download.path()) ?? ""), CSV);
  await context.close();
});

test("`cleanroom browser` has it at a port of this machine, where Puppeteer's browserURL finds it, and no page does", LIMIT, async () => {
  const child = spawn(process.execPath, ["cli/cleanroom.mjs", "browser", box.id, "--port", "0", "--json"], {
    cwd: projectDir(),
    env: { ...process.env, CLEANROOM_URL: door.origin, CLEANROOM_API_KEY: tenant.key.apiKey },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  try {
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    const { url } = JSON.parse(line.toString()) as { url: string };
    const browser = await connect({ browserURL: url, defaultViewport: null });
    const page = await browser.newPage();
    await page.goto("data:text/html,<title>By a port</title>");
    assert.equal(await page.title(), "By a port");
    await page.close();
    await browser.disconnect();
    const status = async (path: string, headers: Record<string, string> = {}) => {
      const asked = get(`${url}${path}`, { headers });
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      answer.resume();
      return answer.statusCode;
    };
    assert.equal(await status("/json/list"), 200);
    assert.equal(await status("/json/list", { origin: "https://evil.example" }), 403);
    assert.equal(await status("/json/list", { host: "evil.example" }), 403);
    assert.equal(await status("/files?path=/etc/passwd"), 404);
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws/automation`, { headers: { origin: "https://evil.example" } });
    const [met] = (await Promise.race([once(socket, "open"), once(socket, "error")])) as [Event];
    assert.equal(met.type, "error");
  } finally {
    child.kill("SIGINT");
    await ended;
  }
});

test("a download is kept where the client asks for it inside, and read from the sandbox's files", LIMIT, async () => {
  await using browser = await playwright();
  const page = await (browser.contexts()[0] ?? (await browser.newContext())).newPage();
  await logIn(page);
  const session = await browser.newBrowserCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: "/home/user/downloads", eventsEnabled: true });
  await page.goto(`${SITE}/desk`);
  await page.click("#csv");
  await until("the download is there", async () => CSV.test(await readInside("/home/user/downloads/orders.csv")), WAIT.timeout);
  await page.close();
});

test("service workers, a picture of tens of megabytes and a trace pass through every hop", LIMIT, async () => {
  await using browser = await playwright();
  const context = await browser.newContext();
  const page = await context.newPage();
  await logIn(page);
  await page.goto(`${SITE}/hands`);
  await page.waitForFunction("document.title === 'worker ready'");
  await page.reload();
  assert.equal(await page.evaluate("fetch('/by-worker').then((answer) => answer.text())"), "worked");
  await browser.startTracing(page);
  await page.setViewportSize({ width: 2600, height: 2600 });
  await page.setContent(NOISE);
  const picture = await page.screenshot();
  assert.ok(picture.length > 15_000_000, `${picture.length} bytes`);
  assert.match((await browser.stopTracing()).toString("latin1"), /traceEvents/);
  await context.close();
});

test("Puppeteer drives the same browser beside Playwright, each with contexts of its own", LIMIT, async () => {
  await using browser = await playwright();
  const browserWSEndpoint = `${inPath().replace("http", "ws")}/ws/automation?tenantId=7`;
  const other = await connect({ browserWSEndpoint, protocolTimeout: WAIT.timeout });
  try {
    const mine = await browser.newContext();
    const page = await mine.newPage();
    await logIn(page);
    const theirs = await other.createBrowserContext();
    const tab = await theirs.newPage();
    await tab.goto(`${SITE}/orders`);
    assert.equal(tab.url(), `${SITE}/login`, "the other context's cookies are its own");
    await tab.type("[name=user]", "clerk");
    await tab.type("[name=password]", "secret");
    await Promise.all([tab.waitForNavigation(), tab.click("button")]);
    await tab.goto(`${SITE}/orders?state=sent&page=2`);
    assert.equal((await tab.$$("tr.order")).length, 5);
    await tab.goto(`${SITE}/upload`);
    await (await tab.$("input[type=file]"))?.uploadFile("/home/user/site.py");
    await Promise.all([tab.waitForNavigation(), tab.click("button")]);
    assert.match(String(await tab.evaluate("got.textContent")), /^site\.py [1-9]\d+$/);
    await tab.goto(`${SITE}/desk`);
    // Playwright, which sees every page, dismisses what nobody asked it about; whoever comes second finds no dialog any more.
    tab.once("dialog", (dialog) => void dialog.dismiss().catch(() => undefined));
    await tab.click("#ask");
    assert.equal(await tab.evaluate("answer.textContent"), "kept");
    const popup = new Promise<{ url(): string } | null>((resolve) => void tab.once("popup", resolve));
    await tab.click("#open");
    assert.equal((await popup)?.url(), `${SITE}/popup`);
    assert.equal(await page.locator("tr.order").count(), 5);
    await Promise.all([mine.close(), theirs.close()]);
  } finally {
    await other.disconnect();
  }
});

test("a page can be driven by an address of its own", LIMIT, async () => {
  const targets = DevtoolsTarget.array().parse(await (await fetch(`${inPath()}/json`)).json());
  const socket = new WebSocket(targets.find(({ type }) => type === "page")?.webSocketDebuggerUrl ?? "");
  const answered = new Promise<string>((resolve, reject) => {
    socket.addEventListener("message", ({ data }) => resolve(String(data)));
    socket.addEventListener("error", () => reject(new Error("The WebSocket failed")));
  });
  socket.addEventListener("open", () =>
    socket.send(JSON.stringify({ id: 1, method: "Runtime.evaluate", params: { expression: "6 * 7" } })),
  );
  assert.match(await answered, /"value":42/);
  socket.close();
  const gone = new WebSocket(`${inPath().replace("http", "ws")}/devtools/page/none`);
  await new Promise((resolve) => gone.addEventListener("error", resolve));
  const spans = await endedSpans(tenant, box.id, "browser", 2, "automatePage");
  const driven = spans.find(({ attributes }) => Number(attributes["websocket.bytes_out"]) > 0);
  assert.equal(driven?.status, "ok", JSON.stringify(spans));
});

test("files, settings and sources of the browser are not to be looked at through it", LIMIT, async () => {
  await using browser = await playwright();
  for (const url of ["file:///etc/passwd", "chrome://version", "devtools://devtools/bundled/inspector.html", `view-source:${SITE}/login`]) {
    const page = await browser.newPage();
    await assert.rejects(page.goto(url, WAIT), /pages are not shown here/, url);
    // What the door does not see, because a page itself goes there, the browser's own policy refuses.
    await page.evaluate(`void (location.href = ${JSON.stringify(url)})`);
    assert.equal(page.url(), "about:blank");
    await page.close();
  }
});

test("a tab that crashes is a result: the browser goes on, and so does every other tab", LIMIT, async () => {
  await using browser = await playwright();
  const context = await browser.newContext();
  const [doomed, other] = [await context.newPage(), await context.newPage()];
  await logIn(other);
  const crashed = new Promise((resolve) => void doomed.once("crash", resolve));
  const session = await context.newCDPSession(doomed);
  session.send("Page.crash").catch(() => undefined);
  await crashed;
  assert.equal(await other.title(), "Orders");
  assert.equal((await browserNow()).restarts, 0);
  await context.close();
});

test("a browser that is killed comes back in the same sandbox and says so; nothing else is lost", LIMIT, async () => {
  const { restarts } = await browserNow();
  const browser = await chromium.connectOverCDP(inPath(), WAIT);
  const left = new Promise((resolve) => void browser.once("disconnected", resolve));
  await box.execute("kept = 1");
  await box.command("pkill -KILL -o -x chromium");
  await left;
  await until("it runs again", async () => (await browserNow()).restarts === restarts + 1, 120_000);
  const now = await browserNow();
  assert.equal(now.state, "running");
  assert.match(now.lastCrash?.reason ?? "", /SIGKILL/);
  await using again = await playwright();
  const page = await again.newPage();
  await logIn(page);
  assert.equal(await page.title(), "Orders");
  assert.equal((await box.execute("print(kept)")).stdout, "1\n");
});

test("a browser that is stopped is there again with the next use", LIMIT, async () => {
  const { restarts } = await browserNow();
  const stopped = await box.inside("DELETE", "/browser");
  assert.equal(stopped.status, 204);
  assert.equal((await browserNow()).state, "stopped");
  await until("none of its processes is left", async () => (await box.command("pgrep -c -x chromium")).result?.stdout.trim() === "0");
  await using browser = await playwright();
  assert.ok(browser.isConnected());
  assert.partialDeepStrictEqual(await browserNow(), { state: "running", restarts });
});

test("a browser that nobody uses for as long as its sandbox says ends by itself, and comes back", LIMIT, async () => {
  await using idle = await makeBox(tenant, { template: "all-in-one", environment: { CLEANROOM_BROWSER_IDLE_S: "1" } });
  const state = async () => BrowserNow.parse(await tenant.json("GET", `/sandboxes/${idle.id}/browser`)).state;
  await tenant.json("GET", `/sandboxes/${idle.id}/json/version`);
  await until("it has ended", async () => (await state()) === "stopped", 60_000);
  await tenant.json("GET", `/sandboxes/${idle.id}/json/version`);
});

test("a sandbox without a browser says so, and who has no key learns nothing", LIMIT, async () => {
  await using plain = await makeBox(tenant);
  const problem = await refused(plain.inside("GET", "/json/version"), "not_supported");
  assert.match(problem.next, /all-in-one/);
  const stranger = await newTenant(door);
  await refused(stranger.send("GET", `/sandboxes/${box.id}/json/version`), "sandbox_not_found");
  assert.equal((await fetch(`${door.origin}/sandboxes/${box.id}/json/version`)).status, 401);
});

async function readInside(path: string): Promise<string> {
  return (await box.inside("GET", `/filesystem/download?path=${encodeURIComponent(path)}`)).text();
}
