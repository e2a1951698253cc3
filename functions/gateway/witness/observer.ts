import { randomBytes } from "node:crypto";
import type { Actor } from "#contract/action.ts";
import { Asked } from "./asked.ts";
import { type Channel, isObject, OVERLONG, type Told } from "./channel.ts";
import type { Notebook } from "./notebook.ts";
import {
  address,
  consoleError,
  deed,
  dialogClosed,
  dialogOpened,
  downloaded,
  failedRequest,
  navigation,
  plain,
  Report,
  wordsOf,
} from "./story.ts";
import { type Script, Tab, targetOf } from "./tab.ts";

const REPORT_CHARS = 8000;
const TABS_MOST = 200;
/** How long a tab may take until it is watched, before input goes on without that. */
const BEGIN_MS = 1500;
/** What consoles were given the browser keeps for whoever would look into it: nobody does, and it is let go this often. */
const RELEASE_MS = 1000;
const SAID = '{"method":"Runtime.consoleAPICalled"';

/** What consoles, pages and the browser's own log say of errors, by its first characters. */
const ERRORS: readonly { said: RegExp; kind: "console_error" | "failed_request" }[] = [
  { said: /^\{"method":"Runtime\.consoleAPICalled","params":\{"type":"(error|assert)"/, kind: "console_error" },
  { said: /^\{"method":"Runtime\.exceptionThrown"/, kind: "console_error" },
  { said: /^\{"method":"Log\.entryAdded","params":\{"entry":\{"source":"network","level":"error"/, kind: "failed_request" },
  { said: /^\{"method":"Log\.entryAdded","params":\{"entry":\{"source":"[\w-]+","level":"error"/, kind: "console_error" },
];
const TOLD =
  /^\{"method":"(Target\.(attachedToTarget|detachedFromTarget)|Inspector\.targetCrashed|Runtime\.bindingCalled|Page\.(frameNavigated|navigatedWithinDocument|frameRequestedNavigation|loadEventFired|javascriptDialogOpening|javascriptDialogClosed|downloadWillBegin|downloadProgress|screencastFrame|screencastVisibilityChanged))"/;

export interface ObserverParts {
  channel: Channel;
  notebook: Notebook;
  /** The script that pages are watched by, as an expression of a function. */
  script: string;
  /** Whose hand input is: the agent's, unless a person has control. */
  hand(): Actor;
  /** Whether who drives the browser tells by themselves what they do in pages. */
  isTold(): boolean;
  now(): number;
}

/**
 * Watches a browser by a DevTools connection of its own and writes down what is done in it. It asks for nothing that
 * would change what a page or another client sees: it answers no dialog, holds no page up, sets no size.
 */
export class Observer {
  readonly #parts: ObserverParts;
  readonly #script: Script;
  readonly #tabs = new Map<string, Tab>();
  /** The tab of each session, also of those of frames in other processes. */
  readonly #sessions = new Map<string, Tab>();
  readonly #asked: Asked;
  #isBegun = false;
  #beginning = new Map<Tab, number>();
  #releasedMs = -Infinity;

  constructor(parts: ObserverParts) {
    this.#parts = parts;
    this.#asked = new Asked(parts.now);
    const id = randomBytes(8).toString("hex");
    const binding = `report_${id}`;
    // What calls the report is taken before any page could have touched it.
    const source = `(${parts.script})(globalThis[${JSON.stringify(binding)}])`;
    this.#script = { binding, world: `witness_${id}`, source };
  }

  /** Goes on until the browser has gone, or its channel is closed. */
  async run(): Promise<void> {
    const { channel } = this.#parts;
    const over = channel.listen(
      (start) => this.#isWanted(start),
      (told) => this.#hear(told),
    );
    const tabs = { autoAttach: true, waitForDebuggerOnStart: false, flatten: true, filter: [{ type: "page" }] };
    await channel.send("Target.setAutoAttach", tabs).catch(() => undefined);
    this.#isBegun = true;
    await over;
    for (const tab of this.#tabs.values()) tab.close();
  }

  /** Whether it has yet to come to tabs that were there before it, or that clients asked for; it is waited for a moment only. */
  get isBeginning(): boolean {
    if (!this.#isBegun) return true;
    const now = this.#parts.now();
    for (const [tab, untilMs] of this.#beginning) if (tab.caughtUp || untilMs < now) this.#beginning.delete(tab);
    return this.#beginning.size > 0;
  }

  /** A client has asked for something that a page could also do by itself. */
  asked(method: string): void {
    this.#asked.note(method);
  }

  /** Of what consoles say only errors are read, and of these no more than are written down. */
  #isWanted(start: string): boolean {
    if (TOLD.test(start)) return true;
    if (start.startsWith(SAID)) this.#release();
    const error = ERRORS.find(({ said }) => said.test(start));
    if (!error) return false;
    const { sampler } = this.#parts.notebook;
    if (!sampler.isSpent(error.kind, "page")) return true;
    sampler.miss(error.kind);
    return false;
  }

  #release(): void {
    const now = this.#parts.now();
    if (now - this.#releasedMs < RELEASE_MS) return;
    this.#releasedMs = now;
    for (const sessionId of this.#sessions.keys())
      void this.#parts.channel.send("Runtime.releaseObjectGroup", { objectGroup: "console" }, sessionId).catch(() => undefined);
  }

  #hear({ method, params, sessionId }: Told): void {
    if (method === "Target.attachedToTarget") this.#attached(params, sessionId);
    else if (method === "Target.detachedFromTarget") this.#detached(params);
    else if (method === OVERLONG) this.#parts.notebook.sampler.miss("console_error");
    else {
      const tab = this.#sessions.get(sessionId);
      if (tab) this.#tell(tab, method, params, sessionId);
    }
  }

  #attached(params: Record<string, unknown>, parent: string): void {
    const target = targetOf(params["targetInfo"]);
    const { sessionId } = params;
    if (!target || typeof sessionId !== "string" || this.#tabs.size >= TABS_MOST) return;
    const owner = this.#sessions.get(parent);
    if (owner) {
      this.#sessions.set(sessionId, owner);
      owner.beginFrame(sessionId);
      return;
    }
    if (target.type !== "page" || this.#tabs.has(target.targetId)) return;
    const opened = { targetId: target.targetId, sessionId, url: "", isNew: this.#isBegun };
    const tab = new Tab(opened, { ...this.#parts, script: this.#script });
    this.#tabs.set(target.targetId, tab);
    this.#sessions.set(sessionId, tab);
    void tab.begin().then((frame) => this.#navigated(tab, "Page.frameNavigated", { frame }));
    const asked = this.#isBegun && target.openerId === undefined && this.#asked.take("open");
    if (!this.#isBegun || asked) this.#beginning.set(tab, this.#parts.now() + BEGIN_MS);
    if (!this.#isBegun) {
      tab.url = address(target.url);
      return;
    }
    const by = asked ? this.#parts.hand() : (this.#tabs.get(target.openerId ?? "")?.meant() ?? "page");
    tab.request(by);
    tab.note({ kind: "tab", by, summary: "Opened a tab", details: { opened: true } });
  }

  #detached({ sessionId }: Record<string, unknown>): void {
    const tab = typeof sessionId === "string" ? this.#sessions.get(sessionId) : undefined;
    if (!tab) return;
    this.#sessions.delete(String(sessionId));
    if (tab.sessionId !== sessionId) return;
    for (const [id, of] of this.#sessions) if (of === tab) this.#sessions.delete(id);
    this.#tabs.delete(tab.targetId);
    const by = this.#asked.take("close") ? this.#parts.hand() : "page";
    tab.note({ kind: "tab", by, summary: `Closed a tab${tab.url === "" ? "" : `: ${tab.url}`}`, details: { opened: false } });
    tab.close();
  }

  #tell(tab: Tab, method: string, params: Record<string, unknown>, sessionId: string): void {
    switch (method) {
      case "Page.screencastFrame":
        tab.framed(params["data"]);
        return;
      case "Page.screencastVisibilityChanged":
        if (params["visible"] === false) tab.framed(undefined);
        return;
      case "Page.loadEventFired":
        if (sessionId === tab.sessionId) tab.loaded();
        return;
      case "Inspector.targetCrashed":
        if (sessionId === tab.sessionId) tab.note({ kind: "page_crash", by: "platform", summary: "The page crashed" });
        return;
      case "Runtime.bindingCalled":
        this.#reported(tab, params);
        return;
      case "Page.frameNavigated":
      case "Page.navigatedWithinDocument":
      case "Page.frameRequestedNavigation":
        if (sessionId === tab.sessionId) this.#navigated(tab, method, params);
        return;
      case "Page.javascriptDialogOpening":
      case "Page.javascriptDialogClosed":
        if (sessionId === tab.sessionId) this.#dialog(tab, method, params);
        return;
      case "Page.downloadWillBegin":
      case "Page.downloadProgress":
        this.#download(tab, params);
        return;
      default:
        if (tab.isCurrent) this.#failed(tab, method, params);
    }
  }

  #reported(tab: Tab, { name, payload }: Record<string, unknown>): void {
    if (name !== this.#script.binding || typeof payload !== "string" || payload.length > REPORT_CHARS) return;
    const report = Report.safeParse(jsonOf(payload));
    if (!report.success) return;
    const { trusted, exposed, more, kind } = report.data;
    const by = this.#parts.hand();
    if (trusted) tab.touch(by, exposed);
    if (this.#parts.isTold()) return;
    if (more !== undefined) this.#parts.notebook.sampler.miss(kind, more);
    tab.note(deed(report.data, by), trusted ? "soon" : "none");
  }

  #navigated(tab: Tab, method: string, params: Record<string, unknown>): void {
    if (method === "Page.frameRequestedNavigation") {
      // Whoever opened a tab meant where it goes first.
      if (params["frameId"] === tab.targetId && (tab.hasNavigated || tab.requestedBy === undefined)) tab.request(tab.meant());
      return;
    }
    const within = method === "Page.navigatedWithinDocument";
    const frame = within ? params : params["frame"];
    if (!isObject(frame) || (within ? frame["frameId"] !== tab.targetId : frame["parentId"] !== undefined)) return;
    const { url, urlFragment, unreachableUrl } = frame;
    const whole = `${typeof url === "string" ? url : ""}${typeof urlFragment === "string" ? urlFragment : ""}`;
    // Every tab begins with this, and nobody went there.
    if (whole === "about:blank" || whole === "") return;
    const asked = !within && this.#asked.take("navigate", tab.requestedBy === undefined ? -Infinity : tab.requestedMs);
    const by = asked ? this.#parts.hand() : ((within ? undefined : tab.requestedBy) ?? tab.meant());
    if (within) tab.url = address(whole);
    else tab.navigated(address(whole));
    const failed = typeof unreachableUrl === "string" ? unreachableUrl : undefined;
    tab.note(navigation({ url: whole, unreachableUrl: failed, within }, by), within ? "soon" : "loading");
  }

  #dialog(tab: Tab, method: string, params: Record<string, unknown>): void {
    if (method === "Page.javascriptDialogOpening") {
      tab.dialogType = plain(params["type"], 20) || "dialog";
      tab.note(dialogOpened(params));
      return;
    }
    const type = tab.dialogType;
    tab.dialogType = "";
    tab.note(dialogClosed(params, type, this.#parts.hand()), "soon");
  }

  #download(tab: Tab, params: Record<string, unknown>): void {
    const { guid, url, suggestedFilename, state, receivedBytes } = params;
    if (typeof guid !== "string") return;
    if (state === undefined) {
      if (tab.downloads.size >= 100) tab.downloads.clear();
      const by = tab.requestedBy ?? tab.meant();
      tab.requestedBy = undefined;
      tab.downloads.set(guid, { name: plain(suggestedFilename), url: plain(url, 500), by });
      return;
    }
    const known = tab.downloads.get(guid);
    if (!known || state === "inProgress") return;
    tab.downloads.delete(guid);
    const bytes = typeof receivedBytes === "number" ? receivedBytes : 0;
    tab.note(downloaded({ ...known, bytes, state: plain(state, 20) }, known.by));
  }

  /** What went wrong in a page, as the page or the browser says it. */
  #failed(tab: Tab, method: string, params: Record<string, unknown>): void {
    if (method === "Log.entryAdded") {
      const { entry } = params;
      if (!isObject(entry)) return;
      const isRequest = entry["source"] === "network" && typeof entry["url"] === "string";
      tab.note(isRequest ? failedRequest(entry) : consoleError(String(entry["text"]), entry["url"], entry["lineNumber"]));
      return;
    }
    if (method === "Runtime.exceptionThrown") {
      const { exceptionDetails: details } = params;
      if (!isObject(details)) return;
      const { exception, text, url, lineNumber } = details;
      const said = isObject(exception) && typeof exception["description"] === "string" ? exception["description"] : text;
      tab.note(consoleError(`${String(said).split("\n", 1)[0]}`, url, lineNumber));
      return;
    }
    tab.note(consoleError(wordsOf(params["args"]), undefined, undefined));
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
