import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

const { browsingTimeoutDefaultMs, browsingTimeoutMaxMs, pageUrlChars, selectorChars, viewportMin, viewportMax, markdownChars } = LIMITS;

export const PageUrl = z.string().min(1).max(pageUrlChars);
export const Selector = z.string().min(1).max(selectorChars);
/** When a page counts as there: its document is read, all that it names is loaded, or its network has been quiet for half a second. */
export const WaitUntil = z.enum(["domcontentloaded", "load", "networkidle"]);
export const BrowsingTimeoutMs = z.int().min(1).max(browsingTimeoutMaxMs).default(browsingTimeoutDefaultMs);

/**
 * Which page: that of an address, opened for this alone in the browser's own context and closed again, or one that is
 * open: the one of `targetId`, as `/json/list` has them, or else the one that was used last.
 */
const which = {
  url: PageUrl.optional(),
  targetId: z
    .string()
    .regex(/^[\w-]{1,64}$/, "is an id of /json/list")
    .optional(),
  waitUntil: WaitUntil.default("load"),
  /** An element, as a CSS selector, that has to be seen first. */
  waitFor: Selector.optional(),
  timeoutMs: BrowsingTimeoutMs,
};
export interface Which {
  url?: string | undefined;
  targetId?: string | undefined;
  waitUntil: z.output<typeof WaitUntil>;
  waitFor?: string | undefined;
  timeoutMs: number;
}

const isOne = (of: { url?: string | undefined; targetId?: string | undefined }) => of.url === undefined || of.targetId === undefined;
const ONE = { error: "and `url` exclude each other", path: ["targetId"] };

export const ImageFormat = z.enum(["png", "jpeg", "webp"]);
const Side = z.int().min(viewportMin).max(viewportMax);

export const TakeScreenshot = z
  .strictObject({
    ...which,
    /** One element alone, by its CSS selector. */
    selector: Selector.optional(),
    /** The whole page, beyond what a window shows. */
    fullPage: z.boolean().default(false),
    format: ImageFormat.default("png"),
    quality: z.int().min(1).max(100).optional(),
    /** The window's size, for an address that is opened. */
    width: Side.optional(),
    height: Side.optional(),
  })
  .refine(isOne, ONE)
  .refine((it) => it.quality === undefined || it.format !== "png", { error: "is for jpeg and webp", path: ["quality"] })
  .refine((it) => it.selector === undefined || !it.fullPage, { error: "and `selector` exclude each other", path: ["fullPage"] })
  .refine((it) => (it.width === undefined && it.height === undefined) || it.url !== undefined, {
    error: "is for an address that is opened, with `url`",
    path: ["width"],
  });
export type TakeScreenshot = z.output<typeof TakeScreenshot>;

export const PaperFormat = z.enum(["A3", "A4", "A5", "Letter", "Legal", "Tabloid"]);
const Millimetres = z.number().min(0).max(200);

export const PrintPage = z
  .strictObject({
    ...which,
    paper: PaperFormat.default("A4"),
    landscape: z.boolean().default(false),
    background: z.boolean().default(true),
    scale: z.number().min(0.1).max(2).default(1),
    marginMm: Millimetres.default(10),
    /** Which of its pages, such as `1-3, 5`; all unless said. */
    pages: z
      .string()
      .regex(/^[\d,\s-]{1,200}$/, "is written 1-3, 5")
      .optional(),
  })
  .refine(isOne, ONE);
export type PrintPage = z.output<typeof PrintPage>;

export const ReadContent = z.strictObject(which).refine(isOne, ONE);
export type ReadContent = z.output<typeof ReadContent>;

/** `main` leaves out what stands around the content: navigation, headers, footers, asides. */
export const PagePart = z.enum(["main", "all"]);
export const ReadMarkdown = z
  .strictObject({ ...which, part: PagePart.default("main"), maxChars: z.int().min(1).max(markdownChars).default(markdownChars) })
  .refine(isOne, ONE);
export type ReadMarkdown = z.output<typeof ReadMarkdown>;

/** Which page an answer is about. What it says of itself is hostile text. */
const about = { url: z.string(), title: z.string(), targetId: z.string() };
export const PageAbout = z.object(about);
export type PageAbout = z.output<typeof PageAbout>;

/** Bytes as base64, for who asks by `Accept: application/json`; others are answered the bytes themselves. */
export const PageBytes = z.object({ ...about, mediaType: z.string(), data: z.string() });
export type PageBytes = z.output<typeof PageBytes>;

export const PageHtml = z.object({ ...about, html: z.string() });
export type PageHtml = z.output<typeof PageHtml>;

/** `truncated` when the page holds more than was asked for, or more than can be read. */
export const PageMarkdown = z.object({ ...about, markdown: z.string(), truncated: z.boolean() });
export type PageMarkdown = z.output<typeof PageMarkdown>;

const params = z.object({ sandboxId: z.string() });
const errors = [
  "invalid_request",
  "not_supported",
  "browser_unavailable",
  "target_not_found",
  "element_not_found",
  "page_failed",
  "control_held",
  "body_too_large",
  "timeout",
] as const;

export const screenshotPage = operation({
  id: "screenshotPage",
  method: "post",
  path: "/sandboxes/:sandboxId/browser/screenshot",
  summary: "A picture of a page, of all of it or of one element: of an address, or of the page that is open",
  params,
  body: TakeScreenshot,
  status: 200,
  returns: PageBytes,
  streams: { response: "image/*" },
  errors,
});

export const printPage = operation({
  id: "printPage",
  method: "post",
  path: "/sandboxes/:sandboxId/browser/pdf",
  summary: "A page as a PDF",
  params,
  body: PrintPage,
  status: 200,
  returns: PageBytes,
  streams: { response: "application/pdf" },
  errors,
});

export const readPageContent = operation({
  id: "readPageContent",
  method: "post",
  path: "/sandboxes/:sandboxId/browser/content",
  summary: "A page's document as HTML, as its scripts have made it",
  params,
  body: ReadContent,
  status: 200,
  returns: PageHtml,
  streams: { response: "text/html" },
  errors,
});

export const readPageMarkdown = operation({
  id: "readPageMarkdown",
  method: "post",
  path: "/sandboxes/:sandboxId/browser/markdown",
  summary: "What a page says, as Markdown: its main content, with absolute links",
  params,
  body: ReadMarkdown,
  status: 200,
  returns: PageMarkdown,
  streams: { response: "text/markdown" },
  errors,
});
