import { EventEmitter } from "node:events";
import * as z from "zod";
import type { NewAction } from "#contract/action.ts";
import type { PageAbout, Which } from "#contract/browsing.ts";
import { LIMITS } from "#contract/limits.ts";
import { readJson } from "#contract/operation.ts";
import { asProblem, Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { BROWSER_TYPES } from "#contract/template.ts";
import { recordAction } from "#core/actions.ts";
import { refuseWhileHeld } from "#core/control.ts";
import { ownRow } from "#core/sandbox-rows.ts";
import { requestSandbox } from "#core/sandboxes.ts";
import type { Gateway } from "#gateway/gateway.ts";
import type { Presence } from "#gateway/witness/witnesses.ts";
import { type Devtools, openDevtools } from "./client.ts";
import { hidden } from "./elements.ts";
import { openPage, withNewPage } from "./own-page.ts";
import { type Manner, Page, refuseAddress } from "./page.ts";

const Listed = z.array(z.looseObject({ id: z.string(), type: z.string(), url: z.string() }));
const LISTED_BYTES = 4 * 1024 * 1024;
/** What is left for closing a page whose time is over. */
const GRACE_MS = 5_000;

/** Who browses where, on whose behalf. */
export interface Browsing {
  gateway: Gateway;
  project: Pick<Project, "id">;
  sandboxId: string;
  requestId: string;
  /** Ends when who asked has left. */
  signal: AbortSignal;
}

/** What is done, and what the log says of it. */
export interface Doing<T> {
  /** Whether it moves something, which waits for nobody while a person has control. */
  acts: boolean;
  acceptsDialogs?: boolean;
  /** Whether the page has to be drawn for it, which one behind others is not. */
  draws?: boolean;
  /** Whether a page is opened, and left open, where there is none. */
  opens?: boolean;
  /** A page of its own has this size. */
  size?: { width: number; height: number } | undefined;
  work(page: Page): Promise<T>;
  action?: (about: PageAbout, done: T) => NewAction;
}

/** Does something on a page, within its time, and answers what came of it and which page it was. */
export async function browse<T>(browsing: Browsing, which: Which, doing: Doing<T>): Promise<{ about: PageAbout; done: T; page: Page }> {
  const { gateway, project, sandboxId, requestId } = browsing;
  const { platform } = gateway;
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  refuseWithoutBrowser(sandbox.type);
  const opened = sandbox.browserPages ?? [];
  if (which.url !== undefined) refuseAddress(which.url, opened);
  if (doing.acts || which.url !== undefined) await refuseWhileHeld(platform, project, sandboxId);
  const passing = new EventEmitter();
  gateway.turnstile.enter(project.id, sandboxId, passing);
  let presence: Presence | undefined;
  let stage = "starting the browser";
  const time = AbortSignal.timeout(which.timeoutMs);
  const signal = AbortSignal.any([browsing.signal, time]);
  try {
    const bound = AbortSignal.timeout(which.timeoutMs + GRACE_MS);
    const asking = async (method: string) => {
      await presence?.ready();
      presence?.asked(method);
    };
    using devtools = await within(signal, openDevtools(platform, project, sandboxId, { requestId, signal: bound, asking }));
    // A browser that does not run yet is not started by being watched.
    presence = gateway.witnesses.join(project.id, sandboxId, { tells: true });
    const manner: Manner = { signal, stage: (doingNow) => (stage = doingNow), acceptsDialogs: doing.acceptsDialogs ?? false, opened };
    const answer = await onPage(browsing, devtools, which, manner, doing);
    const action = doing.action?.(answer.about, answer.done);
    // Where a page went is told by whoever watches, with a picture; all else that is done here is told here.
    if (action && !(presence.isWatched() && action.kind === "navigate"))
      await recordAction(platform, { projectId: project.id, sandboxId, taskId: sandbox.taskId }, action);
    return answer;
  } catch (error) {
    if (time.aborted && !(error instanceof Problem)) throw overdue(which, stage);
    throw error;
  } finally {
    presence?.leave();
    passing.emit("close");
  }
}

async function onPage<T>(
  browsing: Browsing,
  devtools: Devtools,
  which: Which,
  manner: Manner,
  { acts, draws, opens, size, work }: Doing<T>,
) {
  const onOne = async (page: Page) => {
    if (which.waitFor !== undefined) await page.waitFor(which.waitFor);
    manner.stage("looking at the page");
    const done = await work(page);
    return { about: await page.about(), done, page };
  };
  const { url, waitUntil } = which;
  if (url !== undefined) return withNewPage(devtools, { url, waitUntil }, manner, size, onOne);
  const targetId =
    which.targetId ?? (await findCurrentPage({ ...browsing, signal: manner.signal })) ?? (opens ? await openPage(devtools) : undefined);
  if (targetId === undefined)
    throw new Problem("target_not_found", { detail: "The browser has no page open", next: "Open one first, or name a `url`." });
  const page = await Page.attach(devtools, targetId, manner);
  // A page behind others draws nothing and takes no input, and who watches sees what is done.
  const isBehind = !acts && draws && (await page.run(z.boolean(), hidden, {}));
  if (isBehind) await refuseWhileHeld(browsing.gateway.platform, browsing.project, browsing.sandboxId);
  if (acts || isBehind) await page.show();
  return onOne(page);
}

/** What the browser draws its own window with; it lists that among the pages. */
const OWN_FURNITURE = /^chrome:\/\/[\w-]+\.top-chrome\//;

/** The page that was used last: the browser lists those first. */
async function findCurrentPage({ gateway, project, sandboxId, requestId, signal }: Browsing): Promise<string | undefined> {
  const passage = { method: "GET", url: "/json/list", headers: new Headers({ "x-request-id": requestId }), body: null };
  const response = await requestSandbox(gateway.platform, project, sandboxId, passage, signal);
  const said = Listed.safeParse(await readJson({ url: "", headers: response.headers, body: response.body }, LISTED_BYTES));
  if (!said.success) throw new Problem("browser_unavailable", { detail: "The browser says something else than what it has open" });
  return said.data.find(({ type, url }) => type === "page" && !OWN_FURNITURE.test(url))?.id;
}

function refuseWithoutBrowser(type: string): void {
  if (BROWSER_TYPES.has(type)) return;
  const next = "Make one from the template browser or all-in-one.";
  throw new Problem("not_supported", { detail: `A sandbox of type ${type} has no browser`, next });
}

function overdue({ timeoutMs }: Which, stage: string): Problem {
  const longer = timeoutMs < LIMITS.browsingTimeoutMaxMs ? "Allow more with `timeoutMs`, or wait" : "Wait";
  return new Problem("timeout", {
    detail: `It took longer than ${timeoutMs} ms: it was still ${stage}`,
    timeoutMs,
    stage,
    next: `${longer} for less: \`waitUntil\` "domcontentloaded", or a selector that the page has.`,
  });
}

/** Waits for a connection no longer than a signal lets it; one that comes later is closed. */
async function within<T extends Disposable>(signal: AbortSignal, opening: Promise<T>): Promise<T> {
  const { promise: left, reject } = Promise.withResolvers<never>();
  const abort = () => reject(asError(signal.reason));
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([opening, left]);
  } catch (error) {
    opening.then(
      (late) => late[Symbol.dispose](),
      () => {},
    );
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : asProblem(reason);
}
