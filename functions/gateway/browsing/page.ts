import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import type { PageAbout } from "#contract/browsing.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { type Opened, whyNotAddress } from "#gateway/devtools/policy.ts";
import type { Devtools } from "./client.ts";
import { seen } from "./elements.ts";

const Nothing = z.looseObject({});
const Info = z.looseObject({ targetInfo: z.looseObject({ title: z.string(), url: z.string() }) });
const Attached = z.looseObject({ sessionId: z.string() });
const Tree = z.looseObject({ frameTree: z.looseObject({ frame: z.looseObject({ id: z.string() }) }) });
const Navigated = z.looseObject({ loaderId: z.string().optional(), errorText: z.string().optional() });
const World = z.looseObject({ executionContextId: z.int() });
const Evaluated = z.looseObject({
  result: z.looseObject({ value: z.unknown().optional() }),
  exceptionDetails: z.looseObject({ exception: z.looseObject({ description: z.string().optional() }).optional() }).optional(),
});
const Lifecycle = z.looseObject({ frameId: z.string(), loaderId: z.string(), name: z.string() });
const Dialog = z.looseObject({ type: z.string(), message: z.string() });
const Loading = z.looseObject({ frameId: z.string() });

const WORLD = "cleanroom";
const LOOK_EVERY_MS = 100;
const MOMENT_MS = 5;
const TEXT_CHARS = 1000;
/** How soon after an act a page shows that it goes somewhere. */
const STIR_MS = 250;
/** What the browser calls the moments that are waited for. */
const MOMENTS = { domcontentloaded: "DOMContentLoaded", load: "load", networkidle: "networkIdle" } as const;

/** A dialog that a page opened meanwhile, and what was answered. */
export interface DialogMet {
  type: string;
  message: string;
  accepted: boolean;
}

export interface Manner {
  /** Whether dialogs are accepted; a page that would keep somebody from leaving is always left. */
  acceptsDialogs?: boolean;
  /** What is waited for is told here, for the Problem that a time-out becomes. */
  stage(doing: string): void;
  signal: AbortSignal;
  /** Pages of the browser's own that the sandbox's template opened. */
  opened: Opened;
}

/** One page, by a DevTools session of its own. */
export class Page {
  readonly targetId: string;
  readonly dialogs: DialogMet[] = [];
  readonly #devtools: Devtools;
  readonly #sessionId: string;
  readonly #manner: Manner;
  #frameId = "";
  #moments = new Set<string>();
  #stirred = false;
  /** Whether it led to a download, to another place of the same page, or nowhere. */
  #rests = false;

  private constructor(devtools: Devtools, targetId: string, sessionId: string, manner: Manner) {
    this.#devtools = devtools;
    this.targetId = targetId;
    this.#sessionId = sessionId;
    this.#manner = manner;
  }

  /** Attaches to a page that is open. */
  static async attach(devtools: Devtools, targetId: string, manner: Manner): Promise<Page> {
    const { sessionId } = await devtools.send(Attached, "Target.attachToTarget", { targetId, flatten: true }).catch((error: unknown) => {
      if (!(error instanceof Problem) || error.code !== "page_failed") throw error;
      throw new Problem("target_not_found", { detail: `The browser has no page ${targetId}`, targetId });
    });
    const page = new Page(devtools, targetId, sessionId, manner);
    devtools.hear((happened) => {
      if (happened.sessionId === sessionId) page.#noticed(happened.method, happened.params);
    });
    await page.send(Nothing, "Page.enable");
    await page.send(Nothing, "Page.setLifecycleEventsEnabled", { enabled: true });
    const { frameTree } = await page.send(Tree, "Page.getFrameTree");
    page.#frameId = frameTree.frame.id;
    return page;
  }

  send<S extends z.ZodType>(schema: S, method: string, params: object = {}): Promise<z.output<S>> {
    return within(this.#manner.signal, this.#devtools.send(schema, method, params, this.#sessionId));
  }

  /** Does something of which nothing is to be known but that it was done. */
  async do(method: string, params: object = {}): Promise<void> {
    await this.send(Nothing, method, params);
  }

  async about(): Promise<PageAbout> {
    const { targetInfo } = await this.#devtools.send(Info, "Target.getTargetInfo", { targetId: this.targetId });
    const { url, title } = targetInfo;
    return { url: url.slice(0, LIMITS.pageUrlChars), title: title.slice(0, TEXT_CHARS), targetId: this.targetId };
  }

  /** Goes to an address and waits until it is there. */
  async navigate(url: string, until: keyof typeof MOMENTS): Promise<void> {
    refuseAddress(url, this.#manner.opened);
    this.stage("loading the page");
    const { loaderId, errorText } = await this.send(Navigated, "Page.navigate", { url });
    if (errorText !== undefined && errorText !== "")
      throw new Problem("page_failed", {
        detail: `The page ${url.slice(0, TEXT_CHARS)} does not load: ${errorText.slice(0, TEXT_CHARS)}`,
        url,
      });
    // Without one it went to another place of the same document.
    if (loaderId !== undefined) await this.#reached(loaderId, until);
  }

  /** Says what is waited for. */
  stage(doing: string): void {
    this.#manner.stage(doing.slice(0, TEXT_CHARS));
  }

  get signal(): AbortSignal {
    return this.#manner.signal;
  }

  /** Acts on the page, and waits for where that leads, if it leads anywhere. */
  async settle(act: () => Promise<void>): Promise<void> {
    this.#stirred = this.#rests = false;
    await act();
    await delay(STIR_MS, undefined, { signal: this.#manner.signal });
    if (!this.#stirred) return;
    this.stage("waiting for where this leads");
    while (!this.#rests && (this.#stirred || !this.#moments.has("now DOMContentLoaded"))) await this.#moment();
  }

  /** Waits until an element is to be seen. */
  async waitFor(selector: string): Promise<void> {
    this.stage(`waiting for ${selector}`);
    await this.waitUntil(() => this.run(z.boolean(), seen, { selector }));
  }

  /** Brings it before the others. */
  show(): Promise<void> {
    return this.do("Page.bringToFront");
  }

  rest(ms: number): Promise<void> {
    this.stage(`waiting for ${ms} ms`);
    return delay(ms, undefined, { signal: this.#manner.signal });
  }

  async waitUntil(holds: () => Promise<boolean>): Promise<void> {
    while (!(await holds())) await delay(LOOK_EVERY_MS, undefined, { signal: this.#manner.signal });
  }

  /**
   * Runs a function of ours in the page, in a world of its own that no script of the page's can change. It must stand on
   * its own: nothing around it travels along. What it answers is the page's word.
   */
  async run<A, S extends z.ZodType, H = undefined>(
    schema: S,
    fn: (args: A, helpers: H) => unknown,
    args: A,
    helpers?: () => H,
  ): Promise<z.output<S>> {
    const expression = `(${fn.toString()})(${JSON.stringify(args)}, (${helpers?.toString() ?? "() => undefined"})())`;
    for (let tries = 0; ; tries += 1) {
      try {
        return await this.#once(schema, expression);
      } catch (error) {
        // A page that is just going elsewhere has no world for a moment.
        if (tries >= RETRIES || !(error instanceof Problem) || !isMoving(error)) throw error;
        await this.#moment();
      }
    }
  }

  async #once<S extends z.ZodType>(schema: S, expression: string): Promise<z.output<S>> {
    const { executionContextId: contextId } = await this.send(World, "Page.createIsolatedWorld", {
      frameId: this.#frameId,
      worldName: WORLD,
    });
    const { result, exceptionDetails } = await this.send(Evaluated, "Runtime.evaluate", {
      expression,
      contextId,
      returnByValue: true,
      timeout: SCRIPT_MS,
    });
    if (exceptionDetails) {
      const said = exceptionDetails.exception?.description?.slice(0, TEXT_CHARS) ?? "no reason";
      if (/SyntaxError.*selector/s.test(said)) throw invalidSelector(said);
      throw new Problem("page_failed", { detail: `The page cannot be read: ${said}` });
    }
    const answer = schema.safeParse(result.value);
    if (!answer.success) throw new Problem("page_failed", { detail: "The page answers something else than was asked" });
    return answer.data;
  }

  async #reached(loaderId: string, until: keyof typeof MOMENTS): Promise<void> {
    while (!this.#moments.has(`${loaderId} ${MOMENTS[until]}`)) await this.#moment();
  }

  async #moment(): Promise<void> {
    await delay(MOMENT_MS, undefined, { signal: this.#manner.signal });
  }

  #noticed(method: string, params: unknown): void {
    if (method === "Page.lifecycleEvent") this.#met(params);
    else if (method === "Page.frameRequestedNavigation" || method === "Page.frameStartedNavigating") this.#stir(params);
    else if (RESTING.has(method)) this.#rests = true;
    else if (method === "Page.javascriptDialogOpening") this.#answer(params);
  }

  #stir(params: unknown): void {
    const said = Loading.safeParse(params);
    if (said.success && said.data.frameId === this.#frameId) this.#stirred = true;
  }

  #met(params: unknown): void {
    const said = Lifecycle.safeParse(params);
    if (!said.success || said.data.frameId !== this.#frameId) return;
    const { loaderId, name } = said.data;
    if (name === "init") {
      this.#moments.clear();
      this.#stirred = false;
    }
    this.#moments.add(`${loaderId} ${name}`);
    this.#moments.add(`now ${name}`);
  }

  #answer(params: unknown): void {
    const said = Dialog.safeParse(params);
    const type = said.success ? said.data.type : "unknown";
    const accept = type === "beforeunload" || this.#manner.acceptsDialogs === true;
    if (said.success && this.dialogs.length < DIALOGS)
      this.dialogs.push({ type: type.slice(0, TEXT_CHARS), message: said.data.message.slice(0, TEXT_CHARS), accepted: accept });
    // Another client may have answered it already.
    this.do("Page.handleJavaScriptDialog", { accept }).catch(() => {});
  }
}

const RESTING = new Set(["Page.downloadWillBegin", "Page.navigatedWithinDocument", "Page.frameStoppedLoading"]);
const DIALOGS = 10;
/** How long one function of ours may hold up a page: longer than it reads, because what it asks first may lay out the page. */
const SCRIPT_MS = 30_000;
const RETRIES = 50;

function isMoving({ message }: Problem): boolean {
  return /context was destroyed|Cannot find (context|default execution)|No frame for given id|Inspected target navigated/i.test(message);
}

function invalidSelector(said: string): Problem {
  return new Problem("invalid_request", { detail: `The selector is not CSS: ${said.split("\n", 1)[0]}` });
}

/** Waits for something no longer than a signal lets it. */
async function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  const { promise: left, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([promise, left]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Refuses an address that is not the web's, as a client of DevTools is refused it. */
export function refuseAddress(url: string, opened: Opened): void {
  const why = whyNotAddress("The page", url, opened);
  if (why !== undefined)
    throw new Problem("invalid_request", { detail: why, issues: [{ field: "body.url", problem: why }], url: url.slice(0, TEXT_CHARS) });
}
