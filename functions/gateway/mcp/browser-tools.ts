import * as z from "zod";
import type { ActionKind } from "#contract/action.ts";
import { ImageFormat, PageAbout, PagePart, PageUrl, Selector, WaitUntil, type Which } from "#contract/browsing.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Doing } from "#gateway/browsing/browse.ts";
import { actionable, says } from "#gateway/browsing/elements.ts";
import { click, type Key, KEYS, press, type } from "#gateway/browsing/hands.ts";
import type { Page } from "#gateway/browsing/page.ts";
import { readMarkdown, takeScreenshot } from "#gateway/browsing/sight.ts";
import { imageOf } from "./images.ts";
import { CHANGES, type Content, DESTROYS, type Outcome, READS, text, tool, type Work } from "./tool.ts";

const ELEMENTS = 200;
const NAME_CHARS = 120;
const WAIT_MAX_MS = 60_000;

const common = {
  targetId: z.string().max(64).optional().describe("A page of browser_pages; left out, the one that was used last"),
  timeout: z
    .number()
    .positive()
    .max(LIMITS.browsingTimeoutMaxMs / 1000)
    .default(LIMITS.browsingTimeoutDefaultMs / 1000)
    .describe("Seconds that it may take"),
};
const acceptDialogs = z
  .boolean()
  .default(false)
  .describe("Whether alerts and questions of the page are accepted; otherwise they are dismissed");

const Dialogs = z.array(z.object({ type: z.string(), message: z.string(), accepted: z.boolean() }));
const Acted = PageAbout.extend({ dialogs: Dialogs });
const Met = z.object({ tag: z.string(), kind: z.string(), name: z.string() });
const Clicked = Acted.extend({ element: Met });
const Actionable = z.object({ tag: z.string(), kind: z.string(), name: z.string(), value: z.string(), selector: z.string() });
const Listed = z.array(z.looseObject({ id: z.string(), type: z.string(), title: z.string(), url: z.string() }));

export const BROWSER_TOOLS = [
  tool({
    name: "browser_navigate",
    title: "Open an address",
    description:
      "Goes to an address on the page that was used last, or on a new one if there is none. What is served in the sandbox is at http://127.0.0.1:<port>.",
    input: z.strictObject({ url: PageUrl, waitUntil: WaitUntil.default("load"), acceptDialogs, ...common }),
    output: Acted,
    hints: { ...CHANGES, idempotentHint: false },
    run: ({ url, waitUntil, ...input }, work) =>
      acted(work, input, { opens: true, work: (page) => page.navigate(url, waitUntil), action: said("navigate", `Opened ${url}`) }),
  }),
  tool({
    name: "browser_read",
    title: "Read the page",
    description:
      "What the page says, as Markdown, in pieces if it is long. With `elements` also what can be clicked and typed into, each with a selector for the other tools.",
    input: z.strictObject({
      part: PagePart.default("main").describe("main leaves out navigation, headers and footers"),
      offset: z.int().min(0).default(0).describe("The character to start at"),
      elements: z.boolean().default(false),
      ...common,
    }),
    output: PageAbout.extend({
      markdown: z.string(),
      next: z.int().optional().describe("Where to go on reading; absent at the end"),
      truncated: z.boolean().describe("Whether the page holds more than can be read"),
      elements: z.array(Actionable).optional(),
    }),
    hints: READS,
    run: read,
  }),
  tool({
    name: "browser_click",
    title: "Click",
    description:
      "Waits until an element can be clicked, clicks it, and waits for where that leads. Name it by a CSS selector, or by the words on it.",
    input: z.strictObject({
      selector: Selector.optional(),
      text: z.string().min(1).max(NAME_CHARS).optional(),
      button: z.enum(["left", "middle", "right"]).default("left"),
      double: z.boolean().default(false),
      acceptDialogs,
      ...common,
    }),
    output: Clicked,
    hints: { ...DESTROYS, idempotentHint: false },
    run: async ({ selector, text: words, button, double, ...input }, work) => {
      if ((selector === undefined) === (words === undefined))
        throw new Problem("invalid_request", { detail: "Name the element by `selector` or by `text`, one of them" });
      const clicked = (page: Page) => click(page, { selector, text: words }, { button, count: double ? 2 : 1 });
      return met(work, input, "click", (element) => `Clicked ${named(element)}`, clicked);
    },
  }),
  tool({
    name: "browser_type",
    title: "Type",
    description:
      "Types into a field, in place of what it holds, or chooses an option of a list by its value or its words. With `submit` it presses Enter.",
    input: z.strictObject({
      selector: Selector,
      text: z.string().max(LIMITS.desktopTextChars),
      clear: z.boolean().default(true),
      submit: z.boolean().default(false),
      acceptDialogs,
      ...common,
    }),
    output: Clicked,
    hints: { ...DESTROYS, idempotentHint: false },
    // What is typed may be a secret, and nothing tells which text is one: the log says how much it was.
    run: ({ selector, text: words, clear, submit, ...input }, work) =>
      met(
        work,
        input,
        "input",
        (element) => `Typed ${words.length} characters into ${named(element)}`,
        (page) => type(page, selector, { text: words, clear, submit }),
      ),
  }),
  tool({
    name: "browser_press",
    title: "Press a key",
    description: "Presses one key where the page's focus is.",
    input: z.strictObject({ key: z.enum(Object.keys(KEYS) as [Key, ...Key[]]), acceptDialogs, ...common }),
    output: Acted,
    hints: { ...DESTROYS, idempotentHint: false },
    run: ({ key, ...input }, work) =>
      acted(work, input, { work: (page) => page.settle(() => press(page, key)), action: said("key", `Pressed ${key}`) }),
  }),
  tool({
    name: "browser_screenshot",
    title: "Take a picture of the page",
    description: "A picture of what is in sight of the page, of all of it, or of one element.",
    input: z.strictObject({
      selector: Selector.optional(),
      fullPage: z.boolean().default(false),
      format: ImageFormat.default("png"),
      ...common,
    }),
    output: PageAbout.extend({ mediaType: z.string(), bytes: z.int() }),
    hints: READS,
    run: picture,
  }),
  tool({
    name: "browser_wait",
    title: "Wait",
    description: "Waits until an element is to be seen or words are to be read, or for so many milliseconds.",
    input: z.strictObject({
      selector: Selector.optional(),
      text: z.string().min(1).max(NAME_CHARS).optional(),
      ms: z.int().min(0).max(WAIT_MAX_MS).optional(),
      ...common,
    }),
    output: PageAbout,
    hints: READS,
    run: wait,
  }),
  tool({
    name: "browser_pages",
    title: "List the pages",
    description: "The pages that are open, the one that was used last first.",
    input: z.strictObject({}),
    output: z.object({ pages: z.array(PageAbout) }),
    hints: READS,
    run: async (_input, work) => {
      const listed = await work.json(Listed, "GET", "/json/list");
      const pages = listed
        .filter(({ type: kind }) => kind === "page")
        .map(({ id, title, url }) => ({ url: url.slice(0, LIMITS.selectorChars), title, targetId: id }));
      return {
        value: { pages },
        content: [text(pages.map((page) => `${page.targetId} ${titled(page)}`).join("\n") || "(no page is open)")],
      };
    },
  }),
];

interface Common {
  targetId?: string | undefined;
  timeout: number;
  acceptDialogs?: boolean;
}

function whichOf({ targetId, timeout }: Common): Which {
  return { targetId, waitUntil: "load", timeoutMs: Math.ceil(timeout * 1000) };
}

async function acted(work: Work, input: Common, doing: Omit<Doing<void>, "acts">): Promise<Outcome> {
  const { about, page } = await work.browse(whichOf(input), { ...doing, acts: true, acceptsDialogs: input.acceptDialogs ?? false });
  return { value: { ...about, dialogs: page.dialogs }, content: [text([titled(about), ...dialogWords(page)].join("\n"))] };
}

type Element = z.output<typeof Met>;

async function met(
  work: Work,
  input: Common,
  kind: ActionKind,
  summary: (element: Element) => string,
  doing: (page: Page) => Promise<Element>,
): Promise<Outcome> {
  const { about, done, page } = await work.browse(whichOf(input), {
    acts: true,
    acceptsDialogs: input.acceptDialogs ?? false,
    work: doing,
    action: ({ url }, element) => ({ kind, by: "agent", summary: summary(element), url }),
  });
  const content = [text([`${summary(done)}. ${titled(about)}`, ...dialogWords(page)].join("\n"))];
  return { value: { ...about, dialogs: page.dialogs, element: done }, content };
}

async function read(
  { part, offset, elements, ...input }: Common & { part: z.output<typeof PagePart>; offset: number; elements: boolean },
  work: Work,
): Promise<Outcome> {
  const { about, done } = await work.browse(whichOf(input), {
    acts: false,
    work: async (page) => ({
      ...(await readMarkdown(page, { part, maxChars: LIMITS.markdownChars })),
      elements: elements ? await page.run(z.array(Actionable), actionable, { most: ELEMENTS }) : undefined,
    }),
  });
  const end = offset + LIMITS.mcpTextChars;
  const markdown = done.markdown.slice(offset, end).toWellFormed();
  const next = end < done.markdown.length ? end : undefined;
  const more = next === undefined ? "" : `\n[… ${done.markdown.length - end} characters more: read on at offset ${next} …]`;
  const value = {
    ...about,
    markdown,
    truncated: done.truncated,
    ...(next === undefined ? {} : { next }),
    ...(done.elements ? { elements: done.elements } : {}),
  };
  const list = done.elements?.map(
    ({ tag, kind, name, value: has, selector }) =>
      `- ${tag}${kind === "" ? "" : `:${kind}`} "${name}"${has === "" ? "" : ` = "${has}"`} ${selector}`,
  );
  const content = [text(`${titled(about)}\n\n${markdown}${more}`), ...(list ? [text(list.join("\n") || "(nothing to act on)")] : [])];
  return { value, content };
}

async function picture(
  {
    selector,
    fullPage,
    format,
    ...input
  }: Common & { selector?: string | undefined; fullPage: boolean; format: z.output<typeof ImageFormat> },
  work: Work,
): Promise<Outcome> {
  const { about, done } = await work.browse(whichOf(input), {
    acts: false,
    draws: true,
    work: (page) => takeScreenshot(page, { selector, fullPage, format, quality: undefined }),
    action: ({ url }) => ({ kind: "screenshot", by: "agent", summary: "Took a picture of a page", url }),
  });
  if (done.bytes.length > LIMITS.mcpBinaryBytes)
    throw new Problem("body_too_large", {
      detail: `The picture has ${done.bytes.length} bytes, more than one answer holds`,
      limitBytes: LIMITS.mcpBinaryBytes,
      next: "Take it as jpeg, of one element, or without `fullPage`.",
    });
  const image: Content[] = [imageOf(done.bytes)].filter((one) => one !== undefined);
  return { value: { ...about, mediaType: done.mediaType, bytes: done.bytes.length }, content: [text(titled(about)), ...image] };
}

async function wait(
  { selector, text: wanted, ms, ...input }: Common & { selector?: string | undefined; text?: string | undefined; ms?: number | undefined },
  work: Work,
): Promise<Outcome> {
  const timeout = Math.max(input.timeout, (ms ?? 0) / 1000 + 1);
  const { about } = await work.browse(whichOf({ ...input, timeout }), {
    acts: false,
    work: async (page) => {
      if (ms !== undefined) await page.rest(ms);
      if (selector !== undefined) await page.waitFor(selector);
      if (wanted === undefined) return;
      page.stage(`waiting for "${wanted}"`);
      await page.waitUntil(() => page.run(z.boolean(), says, { text: wanted }));
    },
  });
  return { value: { ...about }, content: [text(titled(about))] };
}

function said(kind: ActionKind, summary: string): NonNullable<Doing<void>["action"]> {
  return ({ url }) => ({ kind, by: "agent", summary, url });
}

function named({ tag, name }: Element): string {
  return name === "" ? `<${tag}>` : `"${name}"`;
}

function titled({ url, title }: Pick<PageAbout, "url" | "title">): string {
  return title === "" ? url : `${title} (${url})`;
}

function dialogWords({ dialogs }: Page): string[] {
  return dialogs.map(
    ({ type: kind, message, accepted }) => `[The page asked by ${kind}: "${message}", which was ${accepted ? "accepted" : "dismissed"}]`,
  );
}
