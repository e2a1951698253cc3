import { call, newClient } from "#client/client.ts";
import { Usage } from "#client/usage.ts";
import type { TaskCost } from "#contract/cost.ts";
import { readTrace, type Span, type Trace } from "#contract/span.ts";
import type { Command } from "./command.ts";
import { EXIT } from "./exit.ts";
import { inSeconds } from "./figures.ts";
import { harmless } from "./filter.ts";
import type { Style } from "./style.ts";

export const trace: Command = {
  name: "trace",
  usage: "TASK",
  summary:
    "Draw everything that a task did as a tree, with how long it took and what it cost. A sandbox that named no task is its own: give its id.",
  example: "cleanroom trace 01K5ZV9QJ4T5N2W0D7X3C8B6AE",
  words: { min: 1, max: 1 },
  options: {},
  async run(given, { screen, client, signal }) {
    const taskId = given.positionals[0] ?? "";
    // One after the other, so that whatever is drawn is on the bill.
    const found = await call(newClient(client), readTrace, { params: { taskId }, signal });
    const cost = await Usage.costOf(taskId, { ...client, signal });
    await screen.answer(given.json ? `${JSON.stringify({ ...found, cost }, undefined, 2)}\n` : drawTrace(found, cost, screen.style));
    return EXIT.ok;
  },
};

const COLUMNS = 80;
const BAR = 20;
const DURATION = 10;
const LABEL = COLUMNS - BAR - DURATION - 4;

/** A trace in lines of 80 columns: the tree, what each sandbox cost, how long each span took, and when in the task's time. */
export function drawTrace(found: Trace, cost: TaskCost, style: Style): string {
  const children = new Map<string, Span[]>();
  const ids = new Set(found.spans.map(({ spanId }) => spanId));
  const roots: Span[] = [];
  for (const span of found.spans) {
    const parent = span.parentSpanId;
    if (parent === undefined || !ids.has(parent) || span.kind === "task") roots.push(span);
    else children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const stretch = stretchOf(found.spans);
  const totals = new Map(cost.sandboxes.map(({ id, total }) => [id, `${total} ${cost.currency}`]));
  const lines: string[] = [];
  const draw = (span: Span, lead: string, tail: string) => {
    lines.push(lineOf(span, lead, stretch, priceOf(span, totals), style));
    const below = children.get(span.spanId) ?? [];
    for (const [at, child] of below.entries()) {
      const isLast = at === below.length - 1;
      draw(child, `${tail}${isLast ? "└─ " : "├─ "}`, `${tail}${isLast ? "   " : "│  "}`);
    }
  };
  for (const root of roots) draw(root, "", "");
  return [...lines, "", totalOf(cost, style), footOf(found, style), ""].join("\n");
}

/** What a sandbox comes to stands at the span of its life; nothing else has a price of its own. */
function priceOf({ source, sandboxId = "", attributes }: Span, totals: ReadonlyMap<string, string>): string {
  // Its state is told by the span of its life alone, and not by what was done to it.
  const isLife = source === "platform" && attributes["sandbox.state"] !== undefined;
  return (isLife && totals.get(sandboxId)) || "";
}

function totalOf({ currency, total, final }: TaskCost, style: Style): string {
  return style.strong(`${final ? "Total" : "Total so far"} ${total} ${currency}`);
}

function lineOf(span: Span, lead: string, stretch: Stretch, price: string, style: Style): string {
  const said = span.source === "sandbox" ? " (said inside)" : "";
  const about = span.status === "error" ? ` ${harmless(span.statusMessage ?? "failed")}` : "";
  const mark = span.status === "error" ? "✖ " : span.status === "ok" ? "✔ " : "· ";
  const priced = price === "" ? "" : `  ${price}`;
  const room = LABEL - lead.length - 2 - priced.length;
  const shown = fit(`${harmless(nameOf(span))}${said}${about}`, Math.max(8, room));
  const padding = " ".repeat(Math.max(0, room - widthOf(shown)));
  const tone = span.status === "error" ? style.bad : span.source === "sandbox" ? style.faint : span.kind === "task" ? style.strong : String;
  const signed = span.status === "error" ? style.bad(mark) : span.status === "ok" ? style.good(mark) : mark;
  return `${style.faint(lead)}${signed}${tone(shown)}${padding}${priced}  ${durationOf(span).padStart(DURATION)}  ${style.link(barOf(span, stretch))}`.trimEnd();
}

function nameOf({ name, attributes }: Span): string {
  const about = attributes["path"];
  return about === undefined ? name : `${name} ${about}`;
}

interface Stretch {
  fromMs: number;
  toMs: number;
}

function stretchOf(spans: readonly Span[]): Stretch {
  const starts = spans.map(({ startedAt }) => Date.parse(startedAt));
  const fromMs = starts.reduce((least, at) => Math.min(least, at), Infinity);
  const toMs = spans.reduce((most, span) => Math.max(most, Date.parse(span.startedAt) + (span.durationMs ?? 0)), fromMs);
  return { fromMs, toMs: Math.max(toMs, fromMs + 1) };
}

/** When in the task's time it was, on a line of so many places. */
function barOf({ startedAt, durationMs }: Span, { fromMs, toMs }: Stretch): string {
  const scale = BAR / (toMs - fromMs);
  const from = Math.min(BAR - 1, Math.floor((Date.parse(startedAt) - fromMs) * scale));
  const to = durationMs === undefined ? BAR : Math.min(BAR, Math.ceil((Date.parse(startedAt) + durationMs - fromMs) * scale));
  return " ".repeat(from) + (durationMs === undefined ? "┄" : "━").repeat(Math.max(1, to - from));
}

function durationOf({ durationMs }: Span): string {
  if (durationMs === undefined) return "goes on";
  if (durationMs < 1) return `${Math.round(durationMs * 1000)} µs`;
  return durationMs < 1000 ? `${durationMs.toFixed(durationMs < 100 ? 1 : 0)} ms` : inSeconds(durationMs);
}

function footOf({ task, spans, dropped, truncated }: Trace, style: Style): string {
  const parts = [`${spans.length} spans`, task.state, `trace ${task.traceId}`];
  if (dropped > 0) parts.push(style.bad(`${dropped} more were dropped in a flood`));
  if (truncated) parts.push(style.bad("there are more than can be shown"));
  return style.faint(parts.join(" · "));
}

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const WIDE = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|\p{Emoji_Presentation}|[\uFF01-\uFF60]/u;

function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

function fit(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let kept = "";
  let width = 0;
  for (const { segment } of segmenter.segment(text)) {
    width += WIDE.test(segment) ? 2 : 1;
    if (width > columns - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}
