import { randomBytes, randomUUID } from "node:crypto";
import { Browser } from "#contract/browser.ts";
import { readJson } from "#contract/operation.ts";
import type { Actor } from "#contract/action.ts";
import { controlOf } from "#core/control.ts";
import type { Platform } from "#core/ports.ts";
import { connectSandbox, getSandbox, requestSandbox } from "#core/sandboxes.ts";
import { beginWatch, type Watch } from "#core/watches.ts";
import { Channel } from "./channel.ts";
import { Notebook } from "./notebook.ts";
import { Observer } from "./observer.ts";
import { plain } from "./story.ts";

/** Somebody who drives a sandbox's browser. */
export interface Presence {
  /** Tells that a command of theirs goes on to the browser. */
  asked(method: string): void;
  /** Waits until what they do would be seen, which is a moment at most; undefined when nothing is to be waited for. */
  ready(): Promise<void> | undefined;
  /** Whether what they do is seen, and written down. */
  isWatched(): boolean;
  leave(): void;
}

/** Who watches the browsers that are being driven through this door. Closing writes down what was seen so far. */
export interface Witnesses extends AsyncDisposable {
  /** Has a sandbox's browser watched for as long as somebody is there who drives it. Who `tells` writes down by themselves what they do in pages. */
  join(projectId: string, sandboxId: string, who?: { tells: boolean }): Presence;
}

const MESSAGE_BYTES = 512 * 1024;
/** How long what the last client did may still have its picture. */
const LINGER_MS = 1000;
const AGAIN_MS = 1000;
const ENOUGH_MS = 60_000;
const HAND_MS = 500;
/** How long the first of what a client does waits for whoever watches, and how often that is looked at. */
const READY_MS = 3000;
const LOOK_MS = 4;
const ANSWER_BYTES = 64 * 1024;

interface Watched {
  clients: number;
  /** Those of them who do not tell what they do, and until when what they did may still be heard of. */
  silent: number;
  silentUntilMs: number;
  /** Until when who drives waits for whoever watches to come. */
  waitUntilMs: number;
  observer: Observer | undefined;
  channel: Channel | undefined;
  /** Whether it was us who ended the watch that ends. */
  dismissed: boolean;
  /** Whether another door watches by now. */
  lost: boolean;
  over: Promise<void>;
}

/** `script` is what the frames of pages are watched by. */
export function openWitnesses(platform: Platform, script: string): Witnesses {
  const watcher = randomUUID();
  const watched = new Map<string, Watched>();

  async function watch(projectId: string, sandboxId: string, own: Watched): Promise<void> {
    for (let waitMs = AGAIN_MS; own.clients > 0; waitMs = Math.min(2 * waitMs, ENOUGH_MS)) {
      own.dismissed = own.lost = false;
      await observe(platform, { projectId, sandboxId, watcher, script }, own).catch((error: unknown) =>
        platform.log.event("witness.failed", { sandboxId, projectId, error: String(error) }),
      );
      // Who came while the watch before was on its way out waits for the next one.
      own.waitUntilMs = own.dismissed && own.clients > 0 ? performance.now() + READY_MS : 0;
      // A connection of ours alone that broke is made anew; a browser that ended takes its clients along.
      if (own.clients > 0 && !own.dismissed) await moment(own.lost ? ENOUGH_MS : waitMs);
    }
    watched.delete(`${projectId}/${sandboxId}`);
  }

  return {
    join(projectId, sandboxId, { tells } = { tells: false }) {
      const key = `${projectId}/${sandboxId}`;
      const known = watched.get(key);
      const own = known ?? newWatched();
      own.clients += 1;
      if (!tells) own.silent += 1;
      if (own.dismissed) own.waitUntilMs = performance.now() + READY_MS;
      if (!known) {
        watched.set(key, own);
        own.over = watch(projectId, sandboxId, own);
      }
      let isHere = true;
      return {
        asked: (method) => own.observer?.asked(method),
        ready: () => readyOf(own),
        isWatched: () => own.observer !== undefined && !own.observer.isBeginning,
        leave() {
          if (!isHere) return;
          isHere = false;
          own.clients -= 1;
          if (!tells) {
            own.silent -= 1;
            own.silentUntilMs = performance.now() + LINGER_MS;
          }
          dismissSoon(own);
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const own of watched.values()) {
        own.clients = 0;
        dismiss(own);
      }
      await Promise.all([...watched.values()].map(({ over }) => over));
    },
  };
}

function newWatched(): Watched {
  const waitUntilMs = performance.now() + READY_MS;
  const nobody = { clients: 0, silent: 0, silentUntilMs: 0 };
  return { ...nobody, waitUntilMs, observer: undefined, channel: undefined, dismissed: false, lost: false, over: Promise.resolve() };
}

function readyOf(own: Watched): Promise<void> | undefined {
  const isComing = !own.observer && performance.now() < own.waitUntilMs;
  if (!isComing && !own.observer?.isBeginning) return undefined;
  return moment(LOOK_MS).then(() => readyOf(own));
}

function moment(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}

/** Ends a watch over whom nobody drives any more, unless somebody comes meanwhile. */
function dismissSoon(own: Watched): void {
  if (own.clients > 0) return;
  setTimeout(() => {
    if (own.clients === 0) dismiss(own);
  }, LINGER_MS).unref();
}

function dismiss(own: Watched): void {
  own.dismissed = true;
  own.channel?.close();
}

interface What {
  projectId: string;
  sandboxId: string;
  watcher: string;
  script: string;
}

/** Watches one browser until it, or the last who drives it, has gone. */
async function observe(platform: Platform, what: What, own: Watched): Promise<void> {
  const { projectId, sandboxId, watcher, script } = what;
  const project = { id: projectId };
  const startedAtMs = platform.clock.now();
  const channel = await dial(platform, what);
  const watch = channel && (await beginWatch(platform, projectId, sandboxId, watcher));
  if (!watch) {
    channel?.close();
    return;
  }
  const notebook = notebookOf(platform, watch, own);
  let by: Actor = "agent";
  const look = async () => {
    by = (await controlOf(platform, project, sandboxId).catch(() => undefined)) ? "person" : "agent";
  };
  const looking = setInterval(() => void look(), HAND_MS).unref();
  const isTold = () => own.silent === 0 && performance.now() > own.silentUntilMs;
  const observer = new Observer({ channel, notebook, script, hand: () => by, isTold, now: () => platform.clock.now() });
  own.observer = observer;
  own.channel = channel;
  dismissSoon(own);
  try {
    await Promise.all([look(), observer.run()]);
  } finally {
    own.observer = undefined;
    own.channel = undefined;
    clearInterval(looking);
    const cut = !own.dismissed && (await noteEnd(platform, { projectId, sandboxId, startedAtMs }, notebook));
    await notebook.close();
    // A watch that was cut is left as it is: whoever comes next says so in the log.
    if (!cut) await watch.end();
  }
}

/** Neither a browser nor a sandbox at rest is woken by being watched. */
async function dial(platform: Platform, { projectId, sandboxId }: What): Promise<Channel | undefined> {
  const project = { id: projectId };
  if ((await getSandbox(platform, project, sandboxId)).state !== "ready") return undefined;
  if ((await browserNow(platform, project, sandboxId))?.state !== "running") return undefined;
  const headers = new Headers({
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": randomBytes(16).toString("base64"),
  });
  const { stream } = await connectSandbox(platform, project, sandboxId, { method: "GET", url: "/ws/automation", headers, body: null });
  return new Channel(stream, MESSAGE_BYTES);
}

/** Somebody else who watches by now has the rest. */
function notebookOf(platform: Platform, watch: Watch, own: Watched): Notebook {
  return new Notebook({
    async write(actions, missed) {
      if (await watch.write(actions, missed)) return;
      own.lost = true;
      own.channel?.close();
    },
    now: () => platform.clock.now(),
  });
}

/** Writes down that the browser crashed under the hands of who drove it. True when it goes on, and only we were cut off. */
async function noteEnd(
  platform: Platform,
  { projectId, sandboxId, startedAtMs }: { projectId: string; sandboxId: string; startedAtMs: number },
  notebook: Notebook,
): Promise<boolean> {
  try {
    const project = { id: projectId };
    if ((await getSandbox(platform, project, sandboxId, { withUsage: true })).state !== "ready") return false;
    const now = await browserNow(platform, project, sandboxId);
    if (!now) return true;
    const { lastCrash: crash, state, startedAt } = now;
    if (!crash || Date.parse(crash.at) < startedAtMs) return state === "running" && Date.parse(startedAt ?? "") < startedAtMs;
    const details = { reason: plain(crash.reason) };
    notebook.add({ kind: "browser_restart", by: "platform", summary: "The browser crashed and is started again", details })?.settle();
    return false;
  } catch {
    // A sandbox that has just ended tells nothing any more.
    return false;
  }
}

async function browserNow(platform: Platform, project: { id: string }, sandboxId: string): Promise<Browser | undefined> {
  const asked = { method: "GET", url: "/browser", headers: new Headers(), body: null };
  const said = Browser.safeParse(await readJson(await requestSandbox(platform, project, sandboxId, asked), ANSWER_BYTES));
  return said.success ? said.data : undefined;
}
