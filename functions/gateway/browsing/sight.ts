import * as z from "zod";
import type { PrintPage, ReadMarkdown, TakeScreenshot } from "#contract/browsing.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { placed } from "./elements.ts";
import { markdownWords } from "./markdown-words.ts";
import { toMarkdown } from "./markdown.ts";
import type { Page } from "./page.ts";

const Shot = z.looseObject({ data: z.base64() });
const Metrics = z.looseObject({ cssContentSize: z.looseObject({ width: z.number(), height: z.number() }) });
const Box = z.object({ x: z.number(), y: z.number(), width: z.number(), height: z.number() });
const Read = z.object({ markdown: z.string(), truncated: z.boolean() });

const PAPER_MM = {
  A3: [297, 420],
  A4: [210, 297],
  A5: [148, 210],
  Letter: [215.9, 279.4],
  Legal: [215.9, 355.6],
  Tabloid: [279.4, 431.8],
} as const;
const MM_PER_INCH = 25.4;
const READ_NODES = 200_000;
const READ_MS = 10_000;

/** Bytes of a page's picture or print. */
export interface Taken {
  mediaType: string;
  bytes: Buffer;
}

/** A picture of what a window shows of a page, of all of the page, or of one element. */
export async function takeScreenshot(
  page: Page,
  { selector, fullPage, format, quality }: Pick<TakeScreenshot, "selector" | "fullPage" | "format" | "quality">,
): Promise<Taken> {
  const area = selector !== undefined ? await areaOf(page, selector) : fullPage ? await wholeArea(page) : undefined;
  const clip = area && { clip: { ...area, scale: 1 }, captureBeyondViewport: true };
  const options = { format, ...(quality === undefined ? {} : { quality }), ...clip };
  const { data } = await page.send(Shot, "Page.captureScreenshot", options);
  return { mediaType: `image/${format}`, bytes: Buffer.from(data, "base64") };
}

async function areaOf(page: Page, selector: string) {
  const box = await page.run(Box.nullable(), placed, { selector });
  if (!box) throw new Problem("element_not_found", { detail: `No element is ${selector}`, selector });
  if (box.width < 1 || box.height < 1) throw new Problem("element_not_found", { detail: `${selector} is not to be seen`, selector });
  return bounded(box);
}

async function wholeArea(page: Page) {
  const { cssContentSize } = await page.send(Metrics, "Page.getLayoutMetrics");
  return bounded({ x: 0, y: 0, width: Math.max(1, cssContentSize.width), height: Math.max(1, cssContentSize.height) });
}

function bounded<Area extends { width: number; height: number }>(area: Area): Area {
  const { pictureSide } = LIMITS;
  if (area.width <= pictureSide && area.height <= pictureSide) return area;
  throw new Problem("body_too_large", {
    detail: `A picture of ${Math.round(area.width)} by ${Math.round(area.height)} is larger than ${pictureSide} on a side`,
    limit: pictureSide,
    next: "Take a picture of one element, or print the page as a PDF.",
  });
}

export async function printPage(
  page: Page,
  { paper, landscape, background, scale, marginMm, pages }: Omit<PrintPage, "waitUntil" | "timeoutMs">,
): Promise<Taken> {
  const [width, height] = PAPER_MM[paper];
  const margin = marginMm / MM_PER_INCH;
  const { data } = await page.send(Shot, "Page.printToPDF", {
    paperWidth: width / MM_PER_INCH,
    paperHeight: height / MM_PER_INCH,
    landscape,
    printBackground: background,
    scale,
    marginTop: margin,
    marginBottom: margin,
    marginLeft: margin,
    marginRight: margin,
    ...(pages === undefined ? {} : { pageRanges: pages }),
  });
  return { mediaType: "application/pdf", bytes: Buffer.from(data, "base64") };
}

/** A page's document as it is now. */
export async function readHtml(page: Page): Promise<{ html: string }> {
  const { pageHtmlChars: most } = LIMITS;
  const html = await page.run(z.string(), documentOf, { most });
  if (html.length <= most) return { html };
  const next = "Read it as Markdown, or take the part that you need by your own client.";
  throw new Problem("body_too_large", { detail: `The document has more than ${most} characters`, limitChars: most, next });
}

export function readMarkdown(page: Page, { part, maxChars }: Pick<ReadMarkdown, "part" | "maxChars">): Promise<z.output<typeof Read>> {
  return page.run(Read, toMarkdown, { part, maxChars, maxNodes: READ_NODES, maxMs: READ_MS }, markdownWords);
}

declare const document: { doctype: { name: string } | null };
declare const XMLSerializer: new () => { serializeToString(node: unknown): string };
declare const Document: { prototype: { querySelector(selector: string): { outerHTML: string } | null } };

/** Runs in the page, alone. */
function documentOf({ most }: { most: number }): string {
  const kind = document.doctype ? `${new XMLSerializer().serializeToString(document.doctype)}\n` : "";
  const root = Document.prototype.querySelector.call(document, ":root");
  return (kind + (root?.outerHTML ?? "")).slice(0, most + 1).toWellFormed();
}
