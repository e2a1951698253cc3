import * as z from "zod";
import type { Actor, NewAction } from "#contract/action.ts";
import { isObject } from "./channel.ts";

/** Characters of one text of a page in a sentence. */
const TEXT_CHARS = 200;
const URL_CHARS = 500;
/** What would move the reader's cursor, or turn the reading direction of what stands after it. */
// oxlint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/g;

/** What the script in a page's frames reports. The process that runs it also runs the page: it is read as hostile. */
export const Report = z.object({
  kind: z.enum(["click", "input", "key", "upload"]),
  role: z.string().max(40),
  name: z.string().max(200),
  selector: z.string().max(200),
  value: z.string().max(1000).optional(),
  secret: z.boolean().optional(),
  trusted: z.boolean(),
  exposed: z.boolean(),
  more: z.int().min(0).max(1e9).optional(),
});
export type Report = z.output<typeof Report>;

/** A page's text as it may stand in a sentence: one line, bounded. */
export function plain(text: unknown, most = TEXT_CHARS): string {
  if (typeof text !== "string") return "";
  const shown = text
    .slice(0, 2 * most)
    .replace(UNSEEN, " ")
    .replaceAll(/\s+/g, " ")
    .trim();
  return shown.length > most || text.length > 2 * most ? `${shown.slice(0, most)}…` : shown;
}

export function address(url: unknown): string {
  const text = plain(url, URL_CHARS);
  // A document in its address says nothing by it.
  return text.startsWith("data:") ? `${text.slice(0, 60)}…` : text;
}

/** What a hand did to an element, or a script. */
export function deed(report: Report, by: Actor): NewAction {
  const { kind, role, selector, value, secret, trusted } = report;
  const name = plain(report.name, 80);
  const which = `the ${plain(role, 30)}${name === "" ? "" : ` "${name}"`}`;
  const details = {
    role: plain(role, 30),
    selector: plain(selector, 80),
    ...(name === "" ? {} : { name }),
    ...(secret ? { masked: true } : {}),
    ...(trusted ? {} : { script: true }),
  };
  return {
    kind,
    by: trusted ? by : "page",
    summary: trusted ? sentence(report, which) : `A script: ${sentence(report, which)}`,
    details: valued(),
  };

  function valued(): NonNullable<NewAction["details"]> {
    return value === undefined || secret || kind === "click" ? details : { ...details, value: plain(value) };
  }
}

function sentence({ kind, value, secret, role }: Report, which: string): string {
  if (kind === "click") return value === undefined ? `Clicked ${which}` : `Clicked ${which} with the ${plain(value, 10)} button`;
  if (kind === "key") return `Pressed ${plain(value, 40)} in ${which}`;
  const shown = `"${plain(value)}"`;
  if (kind === "upload") return `Chose ${shown} in ${which}`;
  if (secret) return `Typed a secret into ${which}`;
  if (role === "choice") return `Chose ${shown} in ${which}`;
  return value === "checked" || value === "unchecked" ? `Made ${which} ${value}` : `Typed ${shown} into ${which}`;
}

interface Navigated {
  url: string;
  unreachableUrl: string | undefined;
  within: boolean;
}

export function navigation({ url, unreachableUrl, within }: Navigated, by: Actor): NewAction {
  if (unreachableUrl !== undefined && unreachableUrl !== "")
    return {
      kind: "navigate",
      by,
      summary: `Could not open ${address(unreachableUrl)}`,
      url: address(unreachableUrl),
      details: { failed: true },
    };
  const shown = address(url);
  return within
    ? { kind: "navigate", by, summary: `Went to ${shown} within the page`, url: shown, details: { within: true } }
    : { kind: "navigate", by, summary: `Opened ${shown}`, url: shown };
}

const DIALOGS: Readonly<Record<string, string>> = {
  alert: "said",
  confirm: "asked",
  prompt: "asked for a text",
  beforeunload: "asked whether to leave",
};

export function dialogOpened(params: Record<string, unknown>): NewAction {
  const type = plain(params["type"], 20);
  const message = plain(params["message"]);
  return {
    kind: "dialog",
    by: "page",
    summary: `The page ${DIALOGS[type] ?? "asked"}${message === "" ? "" : `: "${message}"`}`,
    details: { type, message },
  };
}

/** How a dialog was answered; of a text that was given, only how much. */
export function dialogClosed(params: Record<string, unknown>, type: string, by: Actor): NewAction {
  const accepted = params["result"] === true;
  const { userInput } = params;
  const typed = typeof userInput === "string" && userInput !== "" ? { characters: userInput.length } : {};
  return {
    kind: "dialog",
    by,
    summary: `${accepted ? "Accepted" : "Dismissed"} the ${type === "" ? "dialog" : type}`,
    details: { accepted, ...typed },
  };
}

export function consoleError(said: string, url: unknown, line: unknown): NewAction {
  const text = plain(said);
  const at = { ...(typeof url === "string" && url !== "" ? { at: address(url) } : {}), ...(typeof line === "number" ? { line } : {}) };
  return { kind: "console_error", by: "page", summary: text === "" ? "An error without a word" : text, details: at };
}

/** What `console.error` was given, as words. */
export function wordsOf(args: unknown): string {
  if (!Array.isArray(args)) return "";
  return args.slice(0, 10).map(wordOf).join(" ");
}

function wordOf(arg: unknown): string {
  if (!isObject(arg)) return "";
  const { value, description, type } = arg;
  const said = [value, description].find((one) => typeof one === "string");
  if (said !== undefined) return said.slice(0, TEXT_CHARS);
  return typeof value === "number" || typeof value === "boolean" ? String(value) : plain(type, 20);
}

/** What a request came to, as the browser's own log has it. */
export function failedRequest(entry: Record<string, unknown>): NewAction {
  const text = typeof entry["text"] === "string" ? entry["text"] : "";
  const status = /status of (\d{3})\b/.exec(text)?.[1];
  const error = /net::(ERR_\w{1,60})/.exec(text)?.[1];
  const url = address(entry["url"]);
  const what = status ?? error ?? plain(text, 80);
  return {
    kind: "failed_request",
    by: "page",
    summary: `${url === "" ? "A request" : url} failed: ${what}`,
    url,
    details: { ...(status === undefined ? {} : { status: Number(status) }), ...(error === undefined ? {} : { error }) },
  };
}

export function downloaded(download: { name: string; url: string; bytes: number; state: string }, by: Actor): NewAction {
  const name = plain(download.name, 120);
  const ways: Readonly<Record<string, string>> = {
    completed: `Downloaded "${name}", ${download.bytes} bytes`,
    canceled: `The download of "${name}" was given up`,
  };
  return {
    kind: "download",
    by,
    summary: ways[download.state] ?? `Began to download "${name}"`,
    url: address(download.url),
    details: { name, state: download.state, bytes: download.bytes },
  };
}
