import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { BrowserProfile } from "#contract/browser-profile.ts";
import { type Box, makeBox } from "#support/box.ts";
import { type Door, newTenant, openDoor, type Tenant } from "#support/door.ts";
import { poolAtRest } from "#support/pool.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const SITE = "http://127.0.0.1:8000";
const SHOP = "https://shop.example";
const LIMIT = { timeout: 240_000 };
const WAIT = { timeout: 60_000 };

let door: Door;
let tenant: Tenant;

before(async () => {
  door = await openDoor();
  tenant = await newTenant(door);
}, LIMIT);

after(async () => {
  await door?.[Symbol.asyncDispose]();
});

const save = async (box: Box, name: string) =>
  BrowserProfile.parse(await tenant.json("PUT", `/api/sandboxes/${box.id}/browser-profiles/${name}`, {}));

/** A sandbox with the shop's back office on its loopback. */
async function makeServed(browserProfile?: string): Promise<Box> {
  const box = await makeBox(tenant, { template: "all-in-one", ...(browserProfile === undefined ? {} : { browserProfile }) });
  const content = await readFile(new URL("../support/site.py", import.meta.url), "utf8");
  await tenant.json("POST", `/sandboxes/${box.id}/files`, { path: "/home/user/site.py", content });
  await box.command("python3 /home/user/site.py 8000", { background: true });
  await until("the site is served", async () => (await box.command(`curl -s ${SITE}/login`)).result?.exitCode === 0, 90_000);
  return box;
}

/** The browser's own context, whose cookies a profile has. */
async function visit<T>(box: Box, work: (page: Page, context: BrowserContext, browser: Browser) => Promise<T>): Promise<T> {
  const browser = await chromium.connectOverCDP(`${door.origin}/k/${tenant.key.apiKey}/sandboxes/${box.id}`, WAIT);
  try {
    const context = browser.contexts()[0] ?? assert.fail("the browser has no context of its own");
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT.timeout);
    return await work(page, context, browser);
  } finally {
    await browser.close();
  }
}

async function logIn(page: Page): Promise<void> {
  await page.goto(`${SITE}/login`);
  await page.fill("[name=user]", "clerk");
  await page.fill("[name=password]", "secret");
  await page.click("button");
  await page.waitForURL(`${SITE}/orders`);
}

const OPENED = `const open = indexedDB.open("shop", 1);
  open.onupgradeneeded = () => open.result.createObjectStore("words");
  open.onerror = () => reject(open.error);`;

/** Has a page remember a word in every way that lasts. */
const remember = (page: Page, word: string) =>
  page.evaluate(`new Promise((resolve, reject) => {
    document.cookie = "lasting=${word}; max-age=86400";
    localStorage.setItem("word", "${word}");
    ${OPENED}
    open.onsuccess = () => {
      const work = open.result.transaction("words", "readwrite");
      work.objectStore("words").put("${word}", "word");
      work.oncomplete = () => resolve();
    };
  })`);

/** What it remembers. */
const recall = (page: Page) =>
  page.evaluate(`new Promise((resolve, reject) => {
    ${OPENED}
    open.onsuccess = () => {
      const found = open.result.transaction("words").objectStore("words").get("word");
      found.onsuccess = () => resolve([/lasting=(\\w+)/.exec(document.cookie)?.[1], localStorage.getItem("word"), found.result]);
    };
  })`);

const all = (word: string) => [word, word, word];
const NOTHING = [undefined, null, undefined];

/** Opens a page of the shop, which sets cookies. */
async function shop(page: Page, cookies: string[]): Promise<void> {
  const headers = { "set-cookie": cookies.join("\n") };
  await page.route(`${SHOP}/**`, (route) => route.fulfill({ contentType: "text/html", body: "<title>Shop</title>", headers }));
  await page.goto(`${SHOP}/in/deep`);
}

test("who is logged in when a profile is saved is so in a sandbox that is given it, and in no other", LIMIT, async () => {
  {
    await using first = await makeServed();
    const closed = await visit(first, async (page, _context, browser) => {
      await logIn(page);
      await remember(page, "first");
      const left = new Promise((resolve) => void browser.once("disconnected", resolve));
      const saved = await save(first, "clerk");
      assert.partialDeepStrictEqual(saved, { name: "clerk", version: 1, sandboxId: first.id });
      assert.match(saved.digest, /^[0-9a-f]{64}$/);
      assert.ok(saved.sizeBytes > 10_000 && saved.sizeBytes < 10_000_000, `${saved.sizeBytes} bytes`);
      await left;
      return saved;
    });
    assert.deepEqual(await tenant.json("GET", "/api/browser-profiles/clerk"), closed);
    await visit(first, async (page) => {
      await page.goto(`${SITE}/orders`);
      assert.equal(page.url(), `${SITE}/orders`, "saving logs nobody out");
      assert.deepEqual(await recall(page), all("first"));
    });
  }
  await using next = await makeServed("clerk");
  assert.equal((await next.read()).browserProfile, "clerk");
  await visit(next, async (page) => {
    await page.goto(`${SITE}/orders`);
    assert.equal(page.url(), `${SITE}/orders`);
    assert.deepEqual(await recall(page), all("first"));
  });
  await using other = await makeServed();
  assert.equal((await other.read()).browserProfile, undefined);
  await visit(other, async (page) => {
    await page.goto(`${SITE}/orders`);
    assert.equal(page.url(), `${SITE}/login`);
    assert.deepEqual(await recall(page), NOTHING);
  });
});

test(
  "a template's prepared browsers take a profile too, cookies of a host, of a domain and of a partition as they were",
  LIMIT,
  async () => {
    const facts = ["name", "value", "domain", "path", "httpOnly", "secure", "sameSite", "partitionKey"] as const;
    const told = async (context: BrowserContext) => {
      const cookies = (await context.cookies()).toSorted((one, other) => (one.name < other.name ? -1 : 1));
      return cookies.map((cookie) => [cookie.expires === -1, ...facts.map((fact) => cookie[fact])]);
    };
    let kept: Awaited<ReturnType<typeof told>>;
    {
      await using first = await makeBox(tenant, { template: "browser" });
      kept = await visit(first, async (page, context) => {
        await shop(page, [
          "__Host-short=1; Path=/; Secure; HttpOnly; SameSite=Strict",
          "deep=2; Path=/in; SameSite=Lax",
          "wide=3; Domain=shop.example; Path=/",
          "apart=4; Path=/; Secure; SameSite=None; Partitioned",
          "lasting=5; Path=/; Max-Age=86400; Secure",
        ]);
        return told(context);
      });
      assert.deepEqual(
        kept.map(([isSession, name]) => [isSession, name]),
        [
          [true, "__Host-short"],
          [true, "apart"],
          [true, "deep"],
          [false, "lasting"],
          [true, "wide"],
        ],
      );
      await save(first, "shop");
    }
    // Its browser has run for longer than its sandbox is there.
    const made = { name: `ready${Date.now()}`, type: "Browser", scaling: { minPrepared: 1, maxPrepared: 1 } };
    const { name: template } = await tenant.json<{ name: string }>("POST", "/api/templates", made, 201);
    await poolAtRest(tenant, template);
    await using next = await makeBox(tenant, { template, browserProfile: "shop" });
    assert.equal((await tenant.json("GET", `/sandboxes/${next.id}/browser`))["state"], "running");
    assert.deepEqual(await visit(next, async (_page, context) => told(context)), kept);
  },
);

test("saving again is a new version in place of the old, deleting is the end of it, and each is in the audit log", LIMIT, async () => {
  await using box = await makeServed();
  const first = await save(box, "again");
  await visit(box, async (page) => {
    await page.goto(`${SITE}/login`);
    await remember(page, "second");
  });
  const second = await save(box, "again");
  assert.partialDeepStrictEqual(second, { version: 2, createdAt: first.createdAt });
  assert.notEqual(second.digest, first.digest);
  const { items } = await tenant.json<{ items: { name: string }[] }>("GET", "/api/browser-profiles");
  assert.deepEqual(
    items.filter(({ name }) => name === "again"),
    [second],
  );
  await using next = await makeServed("again");
  await visit(next, async (page) => {
    await page.goto(`${SITE}/login`);
    assert.deepEqual(await recall(page), all("second"));
  });
  assert.equal((await tenant.send("DELETE", "/api/browser-profiles/again")).status, 204);
  for (const method of ["GET", "DELETE"]) await refused(tenant.send(method, "/api/browser-profiles/again"), "browser_profile_not_found");
  const told = await tenant.json<{ items: { action: string; phase: string }[] }>("GET", "/api/audit?resource=again");
  const actions = told.items.filter(({ phase }) => phase === "ended").map(({ action }) => action);
  assert.deepEqual(actions.slice(-4).toReversed(), [
    "saveBrowserProfile",
    "saveBrowserProfile",
    "giveBrowserProfile",
    "deleteBrowserProfile",
  ]);
});

test("what cannot be is refused in words: no browser, no such name, no such field, too many bytes", LIMIT, async () => {
  const make = (spec: object) => tenant.send("POST", "/api/sandboxes", spec);
  await refused(make({ template: "browser", browserProfile: "none" }), "browser_profile_not_found");
  await refused(make({ template: "browser", browserProfile: "../none" }), "invalid_request");
  await using box = await makeBox(tenant, { template: "all-in-one" });
  const path = `/api/sandboxes/${box.id}/browser-profiles`;
  const kept = await save(box, "small");
  await refused(make({ browserProfile: "small" }), "not_supported");
  await refused(make({ id: box.id, template: "all-in-one", browserProfile: "small" }), "already_exists");
  await refused(tenant.send("PUT", `${path}/small`, { force: true }), "invalid_request");
  await refused(tenant.send("PUT", `${path}/1st`, {}), "invalid_request");
  await using plain = await makeBox(tenant);
  await refused(tenant.send("PUT", `/api/sandboxes/${plain.id}/browser-profiles/small`, {}), "not_supported");
  await box.command("mkdir -p ~/.browser/Default/IndexedDB && truncate -s 70M ~/.browser/Default/IndexedDB/large");
  await refused(tenant.send("PUT", `${path}/small`, {}), "body_too_large");
  assert.deepEqual(await tenant.json("GET", "/api/browser-profiles/small"), kept, "what was kept stays");
  await tenant.json("POST", `/api/sandboxes/${box.id}/control`, { holdMs: 60_000 });
  await refused(tenant.send("PUT", `${path}/small`, {}), "control_held");
});
