import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import type { Which } from "#contract/browsing.ts";
import type { Devtools } from "./client.ts";
import { type Manner, Page, refuseAddress } from "./page.ts";

const Nothing = z.looseObject({});
const Target = z.looseObject({ targetId: z.string() });
const Targets = z.looseObject({ targetInfos: z.array(Target) });
const CLOSING_LOOKS = 100;
const LOOK_EVERY_MS = 20;

/** Opens a page that stays open. */
export async function openPage(devtools: Devtools): Promise<string> {
  return (await devtools.send(Target, "Target.createTarget", { url: "about:blank" })).targetId;
}

/**
 * Has a page of its own for as long as the work takes, in the browser's own context. It has a window of its own as well:
 * a tab behind others draws nothing, and no picture of it is to be had.
 */
export async function withNewPage<T>(
  devtools: Devtools,
  { url, waitUntil }: { url: string; waitUntil: Which["waitUntil"] },
  manner: Manner,
  size: { width: number; height: number } | undefined,
  work: (page: Page) => Promise<T>,
): Promise<T> {
  refuseAddress(url, manner.opened);
  const { targetId } = await devtools.send(Target, "Target.createTarget", { url: "about:blank", background: true, newWindow: true });
  try {
    const page = await Page.attach(devtools, targetId, manner);
    if (size) await page.do("Emulation.setDeviceMetricsOverride", { ...size, deviceScaleFactor: 1, mobile: false });
    await page.navigate(url, waitUntil);
    return await work(page);
  } finally {
    await close(devtools, targetId).catch(() => {});
  }
}

/** Closes a page and sees it gone: until then it is listed, as the one that was used last. */
async function close(devtools: Devtools, targetId: string): Promise<void> {
  await devtools.send(Nothing, "Target.closeTarget", { targetId });
  for (let looks = 0; looks < CLOSING_LOOKS; looks += 1) {
    const { targetInfos } = await devtools.send(Targets, "Target.getTargets");
    if (!targetInfos.some((it) => it.targetId === targetId)) return;
    await delay(LOOK_EVERY_MS);
  }
}
