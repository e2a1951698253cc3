import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { type Browser, chromium, type Page } from "playwright-core";
import { connect } from "puppeteer-core";
import { type Action, type ActionKind, ActionLog } from "#contract/action.ts";
import { projectDir } from "#infra/config.ts";
import { type Box, makeBox } from "#support/box.ts";
import { type Door, newTenant, openDoor, type Tenant } from "#support/door.ts";
import { until } from "#support/until.ts";

const SITE = "http://127.0.0.1:8000";
const LIMIT = { timeout: 240_000 };
const WAIT = { timeout: 60_000 };
const DONE = new Set<ActionKind>(["navigate", "click", "input", "upload", "download"]);

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

async function playwright(): Promise<Browser & AsyncDisposable> {
  const browser = await chromium.connectOverCDP(inPath(), WAIT);
  return Object.assign(browser, { [Symbol.asyncDispose]: () => browser.close() });
}

/** Everything in the log, oldest first. */
async function told(): Promise<Action[]> {
  const items: Action[] = [];
  let cursor = "";
  for (;;) {
    const log = ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/actions?limit=200${cursor}`));
    items.push(...log.items);
    if (log.next === undefined) return items.toReversed();
    cursor = `&after=${log.next}`;
  }
}

/** What was told since so many actions, once `last` is among it. */
async function since(count: number, last: RegExp): Promise<Action[]> {
  let items: Action[] = [];
  await until(
    `the log tells ${last}`,
    async () => {
      items = (await told()).slice(count);
      return items.some(({ summary }) => last.test(summary));
    },
    WAIT.timeout,
  );
  return items;
}

const lines = (actions: readonly Action[]) => actions.map(({ by, summary }) => `${by}: ${summary}`);

async function logIn(page: Page): Promise<void> {
  page.setDefaultTimeout(WAIT.timeout);
  await page.goto(`${SITE}/orders`);
  await page.fill("[name=user]", "clerk");
  await page.fill("[name=password]", "secret");
  await page.click("button");
  await page.waitForURL(`${SITE}/orders`);
}

test(
  "what an agent did on a site is told as a story: pages, clicks, inputs, dialogs, frames, popups, uploads, downloads",
  LIMIT,
  async () => {
    await using browser = await playwright();
    const context = await browser.newContext();
    const page = await context.newPage();
    await logIn(page);
    await page.selectOption("select", "open");
    await page.waitForURL(/state=open/);
    await page.click("#next");
    await page.waitForURL(/page=2/);
    await page.goto(`${SITE}/upload`);
    await page.setInputFiles("[name=file]", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.alloc(1000, "n") });
    await page.click("button");
    await page.waitForSelector("#got");
    await page.goto(`${SITE}/desk`);
    page.once("dialog", (dialog) => void dialog.accept());
    await page.click("#ask");
    assert.equal(await page.textContent("#answer"), "deleted", "a dialog is its client's to answer");
    await page.frameLocator("[name=inner]").locator("#note").fill("from outside");
    const [popup] = await Promise.all([page.waitForEvent("popup"), page.click("#open")]);
    await popup.waitForLoadState();
    await popup.close();
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#csv")]);
    assert.equal(await download.failure(), null);
    await since(0, /Downloaded/);
    await page.close();
    const story = await since(0, /Closed a tab: .*desk/);
    const acts = story.filter(({ kind }) => DONE.has(kind));
    assert.deepEqual(
      acts.filter(({ details }) => details["script"] !== true).map(({ summary }) => summary),
      [
        `Opened ${SITE}/login`,
        'Typed "clerk" into the text field "user"',
        'Typed a secret into the password field "password"',
        'Clicked the button "Log in"',
        `Opened ${SITE}/orders`,
        `Opened ${SITE}/orders?state=open`,
        'Clicked the link "Next"',
        `Opened ${SITE}/orders?state=open&page=2`,
        `Opened ${SITE}/upload`,
        'Clicked the button "Send"',
        `Opened ${SITE}/upload`,
        `Opened ${SITE}/desk`,
        'Clicked the button "Delete"',
        'Typed "from outside" into the text field "note"',
        'Clicked the button "Open"',
        `Opened ${SITE}/popup`,
        'Clicked the link "CSV"',
        'Downloaded "orders.csv", 355 bytes',
      ],
    );
    const done = lines(acts);
    // What a page does soon after a click is the click's; how soon it does it is the machine's affair.
    for (const line of [
      `agent: Opened ${SITE}/login`,
      `page: Opened ${SITE}/orders?state=open`,
      `agent: Opened ${SITE}/desk`,
      'agent: Clicked the button "Log in"',
    ])
      assert.ok(done.includes(line), line);
    for (const line of ['Chose "open" in the choice "state"', 'Chose "notes.txt" in the file field "file"'])
      assert.ok(done.includes(`page: A script: ${line}`), "what Playwright has a script do is told as a script's");
    assert.doesNotMatch(JSON.stringify(story), /secret\b(?! into)/, "the password is told of, and not told");
    const dialogs = lines(story.filter(({ kind }) => kind === "dialog"));
    assert.deepEqual(dialogs, ['page: The page asked: "Delete it?"', "agent: Accepted the confirm"]);
    const tabs = lines(story.filter(({ kind }) => kind === "tab"));
    for (const line of ["agent: Opened a tab", `agent: Closed a tab: ${SITE}/popup`, `agent: Closed a tab: ${SITE}/desk`])
      assert.ok(tabs.includes(line), line);
    await context.close();
  },
);

test("actions have a small picture of what they came to, which any program can read", LIMIT, async () => {
  const count = (await told()).length;
  await using browser = await playwright();
  const page = await (browser.contexts()[0] ?? (await browser.newContext())).newPage();
  await logIn(page);
  await page.goto(`${SITE}/orders?page=3`);
  const pictured = async () => (await since(count, /page=3/)).find(({ summary, screenshot }) => screenshot && summary.endsWith("page=3"));
  await until("it has a picture", async () => (await pictured()) !== undefined, WAIT.timeout);
  const action = await pictured();
  const picture = await tenant.send("GET", `/api/sandboxes/${box.id}/actions/${action?.id}/screenshot`);
  assert.equal(picture.headers.get("content-type"), "image/jpeg");
  const bytes = Buffer.from(await picture.arrayBuffer());
  assert.ok(bytes.length < 48 * 1024, `${bytes.length} bytes`);
  const read =
    "import sys, io, base64; from PIL import Image; image = Image.open(io.BytesIO(base64.b64decode(sys.argv[1]))); image.load(); print(image.format, image.width)";
  const decoded = await box.command(`/usr/bin/python3 -c '${read}' ${bytes.toString("base64")}`);
  assert.match(decoded.result?.stdout ?? decoded.result?.stderr ?? "", /^JPEG (4\d\d|3\d\d)\n$/);
  await page.close();
});

test("a page that was there before, and one that is written anew by a client or by itself, is watched like any other", LIMIT, async () => {
  await using fresh = await makeBox(tenant, { template: "browser" });
  const browser = await chromium.connectOverCDP(`${door.origin}/k/${tenant.key.apiKey}/sandboxes/${fresh.id}`, WAIT);
  const page = browser.contexts()[0]?.pages()[0] ?? assert.fail("it has no page");
  await page.setContent("<button>Set</button>");
  await page.click("button");
  const rewritten = `<script>addEventListener("load", () => { document.open(); document.write("<button>Rewritten</button>"); document.close(); })</script>`;
  await page.goto(`data:text/html,${encodeURIComponent(rewritten)}`);
  await page.click("text=Rewritten");
  const log = async () => ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${fresh.id}/actions`)).items;
  for (const said of ['Clicked the button "Set"', 'Clicked the button "Rewritten"'])
    await until(
      `the log says ${said}`,
      async () => (await log()).some(({ by, summary }) => by === "agent" && summary === said),
      WAIT.timeout,
    );
  await browser.close();
});

test("errors of a page and requests that failed are told, with what they came to", LIMIT, async () => {
  const count = (await told()).length;
  await using browser = await playwright();
  const page = await (await browser.newContext()).newPage();
  await logIn(page);
  await page.goto(`${SITE}/faults`);
  // A page that is left takes along what had not come to its end.
  await since(count, /missing failed: 404/);
  await page.goto("http://127.0.0.1:9/nothing").catch(() => undefined);
  const session = await page.context().newCDPSession(page);
  session.send("Page.crash").catch(() => undefined);
  const story = await since(count, /The page crashed/);
  const said = lines(story);
  for (const line of [
    "page: The till is empty 3",
    "page: Error: Broken on purpose",
    `page: ${SITE}/missing failed: 404`,
    "agent: Could not open http://127.0.0.1:9/nothing",
    "platform: The page crashed",
  ])
    assert.ok(said.includes(line), `${line} is not in ${said.join("\n")}`);
  assert.equal(story.find(({ summary }) => summary.endsWith("failed: 404"))?.details["status"], 404);
});

test("Puppeteer's hands are told of like any other's, and its dialogs are its own to answer", LIMIT, async () => {
  const count = (await told()).length;
  const browser = await connect({ browserWSEndpoint: `${inPath().replace("http", "ws")}/ws/automation`, protocolTimeout: WAIT.timeout });
  try {
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    await page.goto(`${SITE}/login`);
    await page.type("[name=user]", "clerk");
    await page.type("[name=password]", "secret");
    await Promise.all([page.waitForNavigation(), page.click("button")]);
    await page.goto(`${SITE}/desk`);
    page.once("dialog", (dialog) => void dialog.dismiss());
    await page.click("#ask");
    assert.equal(await page.evaluate("answer.textContent"), "kept");
    await page.goto(`${SITE}/upload`);
    await (await page.$("input[type=file]"))?.uploadFile("/home/user/site.py");
    await page.goto(`${SITE}/pay`);
    await page.type("[name=cardnumber]", "5555555555554444");
    await page.type("[name=note]", "for 4111 1111 1111 1111");
    await page.click("button");
    const story = await since(count, /Clicked the button "Pay"/);
    const said = lines(story);
    for (const line of [
      'agent: Typed a secret into the password field "password"',
      "agent: Dismissed the confirm",
      'agent: Chose "site.py" in the file field "file"',
      'agent: Typed a secret into the text field "cardnumber"',
      'agent: Typed "for •••" into the text field "note"',
    ])
      assert.ok(said.includes(line), `${line} is not in ${said.join("\n")}`);
    assert.equal(story.find(({ summary }) => summary.includes("Pay"))?.screenshot, false, "a card number that can be read is not pictured");
    await context.close();
  } finally {
    await browser.disconnect();
  }
});

test("the command line tells the same story", LIMIT, async () => {
  const environment = { ...process.env, CLEANROOM_URL: door.origin, CLEANROOM_API_KEY: tenant.key.apiKey };
  const args = [join(projectDir(), "cli/cleanroom.mjs"), "actions", box.id];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: environment });
  assert.match(stdout, /agent +Clicked the button "Log in"\n/);
});

test(
  "a sandbox and its browser are as idle as if nobody had watched once the last client has left, and the log is closed",
  LIMIT,
  async () => {
    await using idle = await makeBox(tenant, { template: "all-in-one", environment: { CLEANROOM_BROWSER_IDLE_S: "1" } });
    const browser = await chromium.connectOverCDP(`${door.origin}/k/${tenant.key.apiKey}/sandboxes/${idle.id}`, WAIT);
    await (await browser.newPage()).goto("data:text/html,<h1>here</h1>");
    await browser.close();
    const state = async () => (await tenant.json<{ state: string }>("GET", `/sandboxes/${idle.id}/browser`)).state;
    await until("its browser has ended", async () => (await state()) === "stopped", WAIT.timeout);
    const log = ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${idle.id}/actions`));
    assert.ok(!log.items.some(({ kind }) => kind === "gap" || kind === "browser_restart"));
  },
);
