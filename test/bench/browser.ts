import { type Browser, chromium, type Page } from "playwright-core";
import { localConfig } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";
import { openBareBrowser } from "#support/bare-browser.ts";
import { callerOf, create, destroy, type Caller } from "./caller.ts";
import { footprint } from "./memory.ts";
import { printTable, sample, summary, timeMs, type Figure } from "./stats.ts";

/** `npm run bench:browser [runs]`: what a client waits for that wants a browser, and what one takes. */
const runs = Number(process.argv[2] ?? 10);
const SETTLE_MS = 60_000;
const WAIT = { timeout: 120_000 };
const BARE = "navigate + screenshot, the same browser bare";
const PAGE = `data:text/html,${encodeURIComponent(`<h1>Orders</h1>${"<p>One more line of an order.</p>".repeat(40)}`)}`;

const door = await openDoor({ environment: { CLEANROOM_MIN_PREPARED: "0", CLEANROOM_MAX_PREPARED: "64" } });
await using _door = door;
const tenant = await newTenant(door);
using caller = callerOf(door.origin, tenant);
const address = (id: string) => `${door.origin}/k/${tenant.key.apiKey}/sandboxes/${id}`;

async function template(name: string, type: string, prepared: number): Promise<() => Promise<void>> {
  const scaling = { minPrepared: prepared, maxPrepared: prepared };
  await caller.json("POST", "/api/templates", { name, type, scaling }, 201);
  return async () => {
    if (prepared > 0) await until("one waits", async () => (await readyOf(caller, name)) >= prepared, SETTLE_MS);
  };
}

async function readyOf(asker: Caller, name: string): Promise<number> {
  return (await asker.json<{ prepared: { ready: number } }>("GET", `/api/templates/${name}`)).prepared.ready;
}

/** From the wish for a sandbox until its browser's DevTools have answered. */
async function firstReply(name: string, prepared: number, targetMs: number): Promise<Figure> {
  const of = `reply-${prepared}-${process.pid}`;
  const settled = await template(of, "Browser", prepared);
  const samplesMs: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    await settled();
    let id = "";
    samplesMs.push(
      await timeMs(async () => {
        id = await create(caller, { template: of });
        await caller.json("GET", `/sandboxes/${id}/json/version`);
      }),
    );
    await destroy(caller, id);
  }
  await caller.json("DELETE", `/api/templates/${of}`, undefined, 204);
  return { name, samplesMs, targetMs };
}

async function wholeSession(): Promise<Figure> {
  const of = `session-${process.pid}`;
  const settled = await template(of, "Browser", 1);
  const samplesMs: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    await settled();
    samplesMs.push(
      await timeMs(async () => {
        const id = await create(caller, { template: of });
        const browser = await chromium.connectOverCDP(address(id), WAIT);
        await look(await pageOf(browser));
        await browser.close();
        await destroy(caller, id);
      }),
    );
  }
  await caller.json("DELETE", `/api/templates/${of}`, undefined, 204);
  return { name: "create + connect + navigate + screenshot + release", samplesMs, targetMs: 350 };
}

async function pageOf(browser: Browser): Promise<Page> {
  const [context] = browser.contexts();
  return context?.pages()[0] ?? (await browser.newPage());
}

async function look(page: Page): Promise<void> {
  await page.goto(PAGE, WAIT);
  await page.screenshot(WAIT);
}

async function looks(name: string, url: string): Promise<Figure> {
  const browser = await chromium.connectOverCDP(url, WAIT);
  try {
    const page = await browser.newPage();
    await page.setViewportSize({ width: 1280, height: 720 });
    return await sample(name, runs * 5, () => look(page), 5);
  } finally {
    await browser.close();
  }
}

async function inBoth(): Promise<Figure[]> {
  const id = await create(caller, { template: "all-in-one" });
  const first = await timeMs(() => caller.json("GET", `/sandboxes/${id}/json/version`));
  const sealed = await looks("navigate + screenshot in a sandbox", address(id));
  await destroy(caller, id);
  await using bare = await openBareBrowser(currentRoot(localConfig()).root);
  const floor = await looks(BARE, bare.url);
  return [{ name: "first use of an all-in-one's browser", samplesMs: [first] }, floor, { ...sealed, against: BARE, targetRatio: 1.3 }];
}

/** What one sandbox takes, in MiB, before its browser was ever wanted and with a page open. */
async function memory() {
  const id = await create(caller, { template: "all-in-one" });
  await caller.json("POST", `/sandboxes/${id}/processes/cmd`, { command: "true" });
  const before = footprint(door.dataDir);
  const browser = await chromium.connectOverCDP(address(id), WAIT);
  await look(await pageOf(browser));
  const after = footprint(door.dataDir);
  await browser.close();
  await destroy(caller, id);
  return { before, after };
}

/** Says how far it is, on the other stream: who waits for minutes wants to know for what. */
async function told<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startedAtMs = performance.now();
  const done = await work();
  console.error(`${what}: ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`);
  return done;
}

// First of all, while nothing else lives.
const taken = await told("memory", memory);
const figures = [
  await told("prepared", () => firstReply("create → first DevTools reply, prepared", 1, 80)),
  await told("cold", () => firstReply("create → first DevTools reply, cold", 0, 350)),
  await told("whole sessions", wholeSession),
  ...(await told("navigations", inBoth)),
];
const rows = summary(figures);
printTable(rows);
console.log(JSON.stringify({ memoryMiB: taken, rows }));
