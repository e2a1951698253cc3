import * as z from "zod";
import { Moment } from "./id.ts";
import { operation } from "./operation.ts";

/**
 * The sandbox's browser. One that crashed is started again in the same sandbox, and `restarts` and `lastCrash` say so;
 * `failed` is one that crashes again and again: the next use tries once more.
 */
export const Browser = z.object({
  state: z.enum(["stopped", "starting", "running", "failed"]),
  startedAt: Moment.optional(),
  restarts: z.int(),
  /** `said` is the end of what it wrote to its log, which is the sandbox's word. */
  lastCrash: z.object({ at: Moment, reason: z.string(), said: z.string() }).optional(),
});
export type Browser = z.output<typeof Browser>;

/** What DevTools say of themselves; `webSocketDebuggerUrl` leads through this door. */
export const DevtoolsVersion = z.looseObject({ Browser: z.string(), webSocketDebuggerUrl: z.string() });
export type DevtoolsVersion = z.output<typeof DevtoolsVersion>;

/** A page, a worker or whatever else DevTools can be attached to. */
export const DevtoolsTarget = z.looseObject({
  id: z.string(),
  type: z.string(),
  title: z.string(),
  url: z.string(),
  webSocketDebuggerUrl: z.string().optional(),
});
export type DevtoolsTarget = z.output<typeof DevtoolsTarget>;

export const getBrowser = operation({
  id: "getBrowser",
  method: "get",
  path: "/browser",
  summary: "Whether the sandbox's browser runs, and what befell it; asking starts nothing",
  status: 200,
  returns: Browser,
  errors: [],
});

export const startBrowser = operation({
  id: "startBrowser",
  method: "put",
  path: "/browser",
  summary: "Have the browser running; starting twice is one start",
  status: 200,
  returns: Browser,
  errors: ["not_supported", "browser_unavailable", "display_unavailable"],
});

export const stopBrowser = operation({
  id: "stopBrowser",
  method: "delete",
  path: "/browser",
  summary: "End the browser and all that is open in it; the next use starts another with the same profile",
  status: 204,
  errors: [],
});

export const readDevtoolsVersion = operation({
  id: "readDevtoolsVersion",
  method: "get",
  path: "/json/version",
  summary: "Where DevTools clients connect, as Playwright's connectOverCDP asks for it; the query goes along",
  status: 200,
  returns: DevtoolsVersion,
  errors: ["not_supported", "browser_unavailable", "display_unavailable"],
});

export const listDevtoolsTargets = operation({
  id: "listDevtoolsTargets",
  method: "get",
  path: "/json/list",
  summary: "The browser's pages and workers, and where a DevTools client connects with each",
  status: 200,
  returns: z.array(DevtoolsTarget),
  errors: ["not_supported", "browser_unavailable", "display_unavailable"],
});

export const listDevtools = operation({
  id: "listDevtools",
  method: "get",
  path: "/json",
  summary: "The same under its short name",
  status: 200,
  returns: z.array(DevtoolsTarget),
  errors: ["not_supported", "browser_unavailable", "display_unavailable"],
});

export const automateBrowser = operation({
  id: "automateBrowser",
  method: "get",
  path: "/ws/automation",
  summary: "The DevTools protocol of the whole browser, by WebSocket; any number of clients at once",
  status: 101,
  errors: ["invalid_request", "not_supported", "browser_unavailable", "display_unavailable", "target_not_found"],
});

export const automatePage = operation({
  id: "automatePage",
  method: "get",
  path: "/devtools/page/:targetId",
  summary: "The DevTools protocol of one page, by WebSocket",
  params: z.object({ targetId: z.string() }),
  status: 101,
  errors: ["invalid_request", "not_supported", "browser_unavailable", "display_unavailable", "target_not_found"],
});
