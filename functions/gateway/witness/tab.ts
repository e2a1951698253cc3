import type { Actor, NewAction } from "#contract/action.ts";
import { type Channel, isObject } from "./channel.ts";
import { Camera } from "./camera.ts";
import type { Notebook } from "./notebook.ts";

const SMALL = { format: "jpeg", quality: 40, maxWidth: 480, maxHeight: 320, everyNthFrame: 1 } as const;
/** A page that shows nothing by then is hidden, or busy: it is not waited for. */
const SHOT_MS = 1500;
const PICTURE_BYTES = 48 * 1024;
/** How long after a click what the page does is what the click meant. */
const MEANT_MS = 2000;

/** How a tab is watched: by which names its frames report, and what is asked of their script. */
export interface Script {
  binding: string;
  world: string;
  source: string;
}

export interface TabParts {
  channel: Channel;
  notebook: Notebook;
  script: Script;
  now(): number;
}

/** One tab of the browser, its frames in other processes included. */
export class Tab {
  readonly targetId: string;
  readonly sessionId: string;
  readonly #parts: TabParts;
  readonly #camera: Camera;
  url: string;
  /** Who meant the navigation that comes next, where its page asked for it or it was opened for it. */
  requestedBy: Actor | undefined;
  requestedMs = -Infinity;
  /** Whether it has told of any navigation. */
  hasNavigated = false;
  /** Whether it was there before it was watched, and what the browser remembers of that time is not to be told. */
  readonly #isNew: boolean;
  /** Whether it is watched by now. */
  caughtUp = false;
  readonly downloads = new Map<string, { name: string; url: string; by: Actor }>();
  dialogType = "";
  #touchedMs = -Infinity;
  #touchedBy: Actor = "agent";
  #exposed = false;
  #frame: ((data: string | undefined) => void) | undefined;

  constructor(target: { targetId: string; sessionId: string; url: string; isNew: boolean }, parts: TabParts) {
    this.targetId = target.targetId;
    this.sessionId = target.sessionId;
    this.url = target.url;
    this.#isNew = target.isNew;
    this.#parts = parts;
    this.#camera = new Camera(() => this.#shoot(), parts.now);
  }

  /**
   * Has the tab tell what happens in it; nothing in it stands still meanwhile. Answers the frame that it shows by then if
   * nothing told of how it came there.
   */
  async begin(): Promise<unknown> {
    const { channel } = this.#parts;
    const told = this.#frames(this.sessionId);
    const isolated = { autoAttach: true, waitForDebuggerOnStart: false, flatten: true, filter: [{ type: "iframe" }] };
    void channel.send("Target.setAutoAttach", isolated, this.sessionId).catch(() => undefined);
    void channel.send("Inspector.enable", {}, this.sessionId).catch(() => undefined);
    const tree = channel.send("Page.getFrameTree", {}, this.sessionId).catch(() => undefined);
    await told;
    this.caughtUp = true;
    const { frameTree } = (await tree) ?? {};
    return this.#isNew && !this.hasNavigated && isObject(frameTree) ? frameTree["frame"] : undefined;
  }

  /** The same for a frame of it that has a process of its own. */
  beginFrame(sessionId: string): void {
    void this.#frames(sessionId);
  }

  async #frames(sessionId: string): Promise<void> {
    const { channel, script } = this.#parts;
    const { binding, world, source } = script;
    await Promise.allSettled([
      channel.send("Page.enable", {}, sessionId),
      // A page that is there has its script begin at once, which takes what it reports with as it finds it.
      channel.send("Runtime.enable", {}, sessionId),
      channel.send("Runtime.addBinding", { name: binding, executionContextName: world }, sessionId),
      channel.send("Page.addScriptToEvaluateOnNewDocument", { source, worldName: world, runImmediately: true }, sessionId),
      channel.send("Log.enable", {}, sessionId),
    ]);
  }

  /** Somebody's hand was on it just now. */
  touch(by: Actor, exposed: boolean): void {
    this.#touchedMs = this.#parts.now();
    this.#touchedBy = by;
    this.#exposed = exposed;
  }

  /** What comes next was asked for by the page, or the tab was opened for it. */
  request(by: Actor): void {
    this.requestedBy = by;
    this.requestedMs = this.#parts.now();
  }

  /** Who meant what the page does now: whoever touched it a moment ago, or nobody but itself. */
  meant(): Actor {
    return this.#parts.now() - this.#touchedMs < MEANT_MS ? this.#touchedBy : "page";
  }

  note(action: NewAction, picture: "none" | "soon" | "loading" = "none"): void {
    const entry = this.#parts.notebook.add({ ...(this.url === "" ? {} : { url: this.url }), ...action });
    if (!entry) return;
    if (picture === "none") entry.settle();
    else this.#camera.want(entry, picture === "loading");
  }

  /** Whether errors that come now are of now. */
  get isCurrent(): boolean {
    return this.#isNew || this.caughtUp;
  }

  navigated(url: string): void {
    this.url = url;
    this.hasNavigated = true;
    this.requestedBy = undefined;
    // What the next page does by itself was not meant by what was done on the last.
    this.#touchedMs = -Infinity;
    this.#exposed = false;
  }

  loaded(): void {
    this.#camera.ready();
  }

  /** What a frame of the small screencast shows, or that there will be none. */
  framed(data: unknown): void {
    this.#frame?.(typeof data === "string" ? data : undefined);
  }

  close(): void {
    this.#camera.close();
  }

  /**
   * One small picture of what is seen. A screencast gives it as the browser draws it anyway; a screenshot would have the page
   * drawn anew, in another size, under its client's hands.
   */
  async #shoot(): Promise<NonNullable<NewAction["screenshot"]> | undefined> {
    if (this.#exposed || this.dialogType !== "") return undefined;
    const { channel } = this.#parts;
    const shown = new Promise<string | undefined>((resolve) => {
      this.#frame = resolve;
      setTimeout(() => resolve(undefined), SHOT_MS).unref();
    });
    void channel.send("Page.startScreencast", SMALL, this.sessionId).catch(() => this.framed(undefined));
    const data = await shown;
    this.#frame = undefined;
    void channel.send("Page.stopScreencast", {}, this.sessionId).catch(() => undefined);
    const bytes = data === undefined ? undefined : Buffer.from(data, "base64");
    // A secret may have come to be seen meanwhile.
    if (!bytes || this.#exposed || bytes.length > PICTURE_BYTES || !isJpeg(bytes)) return undefined;
    return { bytes, mediaType: "image/jpeg" };
  }
}

function isJpeg(bytes: Buffer): boolean {
  return bytes.length > 100 && bytes.readUInt16BE(0) === 0xffd8;
}

/** What a browser says of a target, as far as it is one. */
export function targetOf(info: unknown): { targetId: string; type: string; url: string; openerId: string | undefined } | undefined {
  if (!isObject(info)) return undefined;
  const { targetId, type, url, openerId } = info;
  if (typeof targetId !== "string" || typeof type !== "string") return undefined;
  return { targetId, type, url: typeof url === "string" ? url : "", openerId: typeof openerId === "string" ? openerId : undefined };
}
