import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import { Problem } from "#contract/problem.ts";
import { reached, readied, type Wanted } from "./elements.ts";
import type { Page } from "./page.ts";

const Reached = z.object({
  state: z.enum(["ready", "missing", "hidden", "covered"]),
  x: z.number(),
  y: z.number(),
  tag: z.string(),
  kind: z.string(),
  name: z.string(),
  by: z.string(),
});
const LOOK_EVERY_MS = 100;

/** What was met, as the page names it. */
export interface Met {
  tag: string;
  kind: string;
  name: string;
}

/** Waits until an element can be pointed at. Whose time is over first is told what stood in the way. */
async function reach(page: Page, wanted: Wanted): Promise<Met & { x: number; y: number }> {
  const what = wanted.selector ?? `an element that says "${wanted.text}"`;
  page.stage(`looking for ${what}`);
  for (;;) {
    const found = await page.run(Reached, reached, wanted);
    if (found.state === "ready") return found;
    if (found.state === "covered") page.stage(`waiting for ${what}, which is behind ${found.by}`);
    if (found.state === "hidden") page.stage(`waiting for ${what}, which is there and not to be seen`);
    await delay(LOOK_EVERY_MS, undefined, { signal: page.signal });
  }
}

export interface Click {
  button: "left" | "middle" | "right";
  count: number;
}

/** Points at an element and clicks, as a mouse does. */
export async function click(page: Page, wanted: Wanted, { button, count }: Click): Promise<Met> {
  const { x, y, ...met } = await reach(page, wanted);
  await page.settle(async () => {
    const at = { x, y };
    await page.do("Input.dispatchMouseEvent", { type: "mouseMoved", ...at });
    for (let clickCount = 1; clickCount <= count; clickCount += 1) {
      await page.do("Input.dispatchMouseEvent", { type: "mousePressed", ...at, button, clickCount });
      await page.do("Input.dispatchMouseEvent", { type: "mouseReleased", ...at, button, clickCount });
    }
  });
  return met;
}

export interface Typing {
  text: string;
  clear: boolean;
  submit: boolean;
}

/** Types into a field, or chooses of a list. */
export async function type(page: Page, selector: string, { text, clear, submit }: Typing): Promise<Met> {
  const { x: _x, y: _y, ...met } = await reach(page, { selector });
  const how = await page.run(z.enum(["text", "chosen", "none", "missing"]), readied, { selector, value: text, clear });
  if (how === "missing") throw new Problem("element_not_found", { detail: `No element is ${selector}`, selector });
  if (how === "none") throw new Problem("element_not_found", { detail: `${selector} has no option of that value or name`, selector });
  await page.settle(async () => {
    if (how === "text" && text === "" && clear) await press(page, "Delete");
    if (how === "text" && text !== "") await page.do("Input.insertText", { text });
    if (submit) await press(page, "Enter");
  });
  return met;
}

/** Keys by the names that pages know them by, with their numbers. */
export const KEYS = {
  Enter: 13,
  Tab: 9,
  Escape: 27,
  Backspace: 8,
  Delete: 46,
  Space: 32,
  ArrowLeft: 37,
  ArrowUp: 38,
  ArrowRight: 39,
  ArrowDown: 40,
  PageUp: 33,
  PageDown: 34,
  End: 35,
  Home: 36,
} as const;
export type Key = keyof typeof KEYS;

const TEXTS: Partial<Record<Key, string>> = { Enter: "\r", Space: " " };

/** Presses a key where the page's focus is. */
export async function press(page: Page, key: Key): Promise<void> {
  const named = { key: key === "Space" ? " " : key, code: key, windowsVirtualKeyCode: KEYS[key] };
  const text = TEXTS[key];
  await page.do("Input.dispatchKeyEvent", {
    type: text === undefined ? "rawKeyDown" : "keyDown",
    ...named,
    ...(text === undefined ? {} : { text }),
  });
  await page.do("Input.dispatchKeyEvent", { type: "keyUp", ...named });
}
