import { isUtf8 } from "node:buffer";
import { posix } from "node:path";
import { outlineOf } from "./scan.ts";

/** Where downloads go, unless a client names a folder among the user's own. */
const DOWNLOADS = "/home/user/downloads";
const OWN = ["/home/user/", "/tmp/"];

/** What happens to a client's message. `input` marks what waits while a person has control. */
export type Verdict =
  | {
      do: "pass";
      method: string;
      data: Buffer;
      input: boolean;
      id: number | undefined;
      sessionId: string | undefined;
      opensContext: boolean;
    }
  | { do: "answer"; answer: object }
  | { do: "leave"; answer: object };

interface Command {
  id?: unknown;
  method?: unknown;
  sessionId?: unknown;
  params?: unknown;
  [name: string]: unknown;
}

/** Up to here a message is read whole and written anew, so that the browser reads what was judged. */
const WHOLE_BYTES = 1024 * 1024;
const NESTED = 2;
const SCHEMES = new Set(["http:", "https:", "data:", "blob:"]);
const VIEW_SOURCE = "view-source";

/** Which pages of the browser's own are open, by the names that templates have for them: none, unless somebody says so. */
export type Opened = readonly string[];
const NONE: Opened = [];

/** Methods that name an address. */
const ADDRESSED = new Set([
  "Page.navigate",
  "Target.createTarget",
  "Network.loadNetworkResource",
  "Fetch.continueRequest",
  "Network.continueInterceptedRequest",
]);
const DOWNLOADING = new Set(["Browser.setDownloadBehavior", "Page.setDownloadBehavior"]);

/** What no client of a shared browser may do, and why. */
const REFUSED = new Map([
  ["Browser.crash", "the browser is not one client's to crash; stop it by its own route"],
  ["Browser.crashGpuProcess", "the browser is not one client's to crash"],
  ["Browser.executeBrowserCommand", "commands of the browser's own window are not served"],
  ["Target.exposeDevToolsProtocol", "a page must not command the browser that shows it"],
  ["Target.setRemoteLocations", "there are no other browsers"],
  ["Target.openDevTools", "pages of the browser itself are not served"],
]);
const REFUSED_DOMAINS = new Map([
  ["Extensions", "extensions are not served"],
  ["PWA", "installing applications is not served"],
]);

const INPUT =
  /^(Input\.|Page\.(navigate|navigateToHistoryEntry|reload|handleJavaScriptDialog|close)$|Target\.(createTarget|closeTarget|activateTarget)$|DOM\.setFileInputFiles$)/;

/** Judges one message of a client. */
export function judge(data: Buffer, opened: Opened = NONE): Verdict {
  if (!isUtf8(data)) return refusal({}, -32_700, "The message is not UTF-8");
  return data.length > WHOLE_BYTES ? judgeOutline(data) : judgeWhole(data.toString("utf8"), opened);
}

/** A large message carries a script, a document or a text, and nothing that is judged by what it holds. */
function judgeOutline(data: Buffer): Verdict {
  const outline = outlineOf(data);
  if (!outline?.method) return refusal({}, -32_600, "A message above 1 MiB must be one plain command");
  const { id, method, sessionId } = outline;
  const why = whyRefused(method);
  if (why !== undefined) return refusal(outline, -32_000, `${method} is refused: ${why}`);
  if (ADDRESSED.has(method) || DOWNLOADING.has(method) || method === "Target.sendMessageToTarget" || method === "Browser.close")
    return refusal(outline, -32_000, `${method} is refused: it is larger than 1 MiB`);
  return { do: "pass", method, data, input: INPUT.test(method), id, sessionId, opensContext: false };
}

function judgeWhole(text: string, opened: Opened): Verdict {
  let command: Command;
  try {
    command = JSON.parse(text) as Command;
  } catch {
    return refusal({}, -32_700, "The message is not JSON");
  }
  if (typeof command !== "object" || command === null || Array.isArray(command)) return refusal({}, -32_600, "A message is a JSON object");
  const { method } = command;
  if (typeof method !== "string") return refusal(command, -32_600, "A message names its method");
  if (method === "Browser.close") return { do: "leave", answer: { ...nameOf(command), result: {} } };
  const why = mend(command, opened, 0);
  if (why !== undefined) return refusal(command, -32_000, why);
  return {
    do: "pass",
    method,
    data: Buffer.from(JSON.stringify(command)),
    input: INPUT.test(method),
    id: typeof command.id === "number" ? command.id : undefined,
    sessionId: typeof command.sessionId === "string" ? command.sessionId : undefined,
    opensContext: method === "Target.createBrowserContext",
  };
}

/** Makes a command what it may be, or says why it may not be at all. */
function mend(command: Command, opened: Opened, depth: number): string | undefined {
  const { method } = command;
  if (typeof method !== "string") return "A message names its method";
  const why = whyRefused(method);
  if (why !== undefined) return `${method} is refused: ${why}`;
  const params = typeof command.params === "object" && command.params !== null ? (command.params as Record<string, unknown>) : undefined;
  if (!params) return undefined;
  if (ADDRESSED.has(method) && params["url"] !== undefined) return whyNotAddress(method, params["url"], opened);
  if (DOWNLOADING.has(method) && params["downloadPath"] !== undefined) params["downloadPath"] = downloadsBelow(params["downloadPath"]);
  if (method === "Target.sendMessageToTarget" && params["message"] !== undefined) return mendNested(params, opened, depth);
  return undefined;
}

/** A command may travel inside of another; it is judged as if it came by itself. */
function mendNested(params: Record<string, unknown>, opened: Opened, depth: number): string | undefined {
  let inner: Command;
  try {
    inner = JSON.parse(String(params["message"])) as Command;
  } catch {
    return "Target.sendMessageToTarget is refused: its message is not JSON";
  }
  if (typeof inner !== "object" || inner === null || depth >= NESTED || inner.method === "Browser.close")
    return "Target.sendMessageToTarget is refused: use sessions with `flatten`";
  const why = mend(inner, opened, depth + 1);
  params["message"] = JSON.stringify(inner);
  return why;
}

function whyRefused(method: string): string | undefined {
  return REFUSED.get(method) ?? REFUSED_DOMAINS.get(method.split(".", 1)[0] ?? "");
}

/** Why a page may not be shown: its scheme is not the web's. */
export function whyNotAddress(method: string, url: unknown, opened: Opened = NONE): string | undefined {
  if (url === "" && method === "Target.createTarget") return undefined;
  if (typeof url !== "string" || !URL.canParse(url)) return `${method} is refused: its url is not one`;
  const { protocol, pathname } = new URL(url);
  if (SCHEMES.has(protocol)) return undefined;
  const name = protocol.slice(0, -1);
  if (opened.includes(name)) {
    if (name !== VIEW_SOURCE) return undefined;
    // The source of a page that is not shown is not shown either.
    const within = opened.filter((it) => it !== VIEW_SOURCE);
    return whyNotAddress(method, url.slice(url.indexOf(":") + 1), within);
  }
  // Other names under `about:` are pages of the browser itself.
  if (protocol === "about:" && /^(blank|srcdoc)$/i.test(pathname)) return undefined;
  return `${method} is refused: ${protocol} pages are not shown here, only ${[...SCHEMES, ...opened.map((it) => `${it}:`)].join(", ")} and about:blank`;
}

function downloadsBelow(path: unknown): string {
  const whole = typeof path === "string" ? posix.normalize(path) : "";
  return OWN.some((folder) => whole.startsWith(folder)) ? whole : DOWNLOADS;
}

function nameOf({ id, sessionId }: { id?: unknown; sessionId?: unknown }): object {
  return { ...(id === undefined ? {} : { id }), ...(sessionId === undefined ? {} : { sessionId }) };
}

function refusal(command: { id?: unknown; sessionId?: unknown }, code: number, message: string): Verdict {
  return { do: "answer", answer: errorAnswer(command, code, message) };
}

/** A command's answer that says why it was not carried out. */
export function errorAnswer(command: { id?: unknown; sessionId?: unknown }, code: number, message: string): object {
  return { ...nameOf(command), error: { code, message } };
}
