import assert from "node:assert/strict";
import { after, test } from "node:test";
import { chromium, type Page } from "playwright-core";
import { Control } from "#contract/control.ts";
import { localConfig } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { openBareBrowser } from "#support/bare-browser.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const LIMIT = { timeout: 240_000 };
const SLOW_MS = 90_000;

/** A page that is all one button and counts its clicks by its colour. */
const BUTTON = `<body style="margin:0;background:#204080"><script>
addEventListener("click", () => { document.body.style.background = "#c02060"; window.clicks = (window.clicks ?? 0) + 1; });</script>`;

/** The colour in the middle of what is to be seen of a page, as a person sees it: decoded from its screenshot. */
async function middleOf(page: Page): Promise<string> {
  const shot = (await page.screenshot()).toString("base64");
  return page.evaluate<string>(`(async () => {
    const bytes = Uint8Array.from(atob("${shot}"), (one) => one.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const context = new OffscreenCanvas(image.width, image.height).getContext("2d");
    context.drawImage(image, 0, 0);
    const [red, green, blue] = context.getImageData(image.width / 2, image.height * 2 / 3, 1, 1).data;
    return [red, green, blue].map((part) => Math.round(part / 32)).join();
  })()`);
}
const rounded = (...parts: number[]) => parts.map((part) => Math.round(part / 32)).join();
const [BLUE, RED] = [rounded(0x20, 0x40, 0x80), rounded(0xc0, 0x20, 0x60)];

test("a person sees what an agent's browser shows, takes control, clicks, and gives back; the agent waits and goes on", LIMIT, async () => {
  await using box = await makeBox(tenant, { template: "all-in-one" });
  await using host = await openBareBrowser(currentRoot(localConfig()).root);
  const agent = await chromium.connectOverCDP(`${door.origin}/k/${tenant.key.apiKey}/sandboxes/${box.id}`, { timeout: SLOW_MS });
  const person = await chromium.connectOverCDP(host.url, { timeout: SLOW_MS });
  const page = agent.contexts()[0]?.pages()[0] ?? (await agent.newPage());
  await page.setContent(BUTTON);
  const clicks = () => page.evaluate("window.clicks ?? 0");
  const control = async () => Control.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/control`));

  const { url } = await tenant.json<{ url: string }>("POST", `/api/sandboxes/${box.id}/tickets`, { purpose: "view:control" }, 201);
  const view = await person.newPage();
  view.setDefaultTimeout(SLOW_MS);
  await view.goto(door.origin + new URL(url).pathname + new URL(url).search + new URL(url).hash);
  await until("the view shows the agent's page", async () => (await middleOf(view)) === BLUE, SLOW_MS);
  assert.match((await view.textContent("#holder")) ?? "", /agent is in control/);

  await page.evaluate(`console.error('<img src=x onerror="document.title=1">')`);
  const log = async () => (await view.locator("#actions").textContent()) ?? "";
  await until("what the page said is told as text", async () => (await log()).includes('<img src=x onerror="document.title=1">'), SLOW_MS);
  assert.equal(await view.locator("#log img").count(), 0);

  await view.click("#take");
  await until("who has control is told", async () => (await view.textContent("#holder"))?.startsWith("You have control") ?? false, SLOW_MS);
  assert.equal((await control()).held, true);
  let acted = false;
  const waiting = page.mouse.click(300, 300).then(() => (acted = true));
  // Looking goes on while the agent's hands wait.
  assert.equal(await page.evaluate("6 * 7"), 42);
  assert.equal(await clicks(), 0);
  const screen = (await view.locator("#screen canvas").boundingBox()) ?? assert.fail("no screen");
  await view.mouse.click(screen.x + screen.width / 2, screen.y + (screen.height * 2) / 3);
  await until("the person's click arrives", async () => (await clicks()) === 1, SLOW_MS);
  await until("and is seen", async () => (await middleOf(view)) === RED, SLOW_MS);
  assert.equal(acted, false, "the agent's click waits");
  assert.equal((await control()).held, true);

  await until("and stands in the log beside the screen", async () => /Person.*control/.test(await log()), SLOW_MS);
  await view.click("#show-log");
  assert.equal(await view.locator("#log").isVisible(), false, "who wants the whole width has it");
  await view.click("#show-log");

  await view.click("#give");
  await waiting;
  await until("the agent's click arrives after it", async () => (await clicks()) === 2, SLOW_MS);
  assert.equal((await control()).held, false);
  await Promise.all([agent.close(), person.close()]);
});
