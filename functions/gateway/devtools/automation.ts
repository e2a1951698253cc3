import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { controlOf } from "#core/control.ts";
import type { Platform } from "#core/ports.ts";
import { getSandbox } from "#core/sandboxes.ts";
import type { Opened } from "./policy.ts";
import type { Gateway } from "#gateway/gateway.ts";
import { type Bounds, BOUNDS, Relay } from "./relay.ts";

const AUTOMATION = /^\/(ws\/automation|devtools\/(browser|page)\/[^/?]+)$/;
const LOOKS = 5;
const LOOK_MS = 100;

/** Codes that say what became of the sandbox, each the HTTP status of its Problem above 4000. */
const PAUSED = 4409;
const ENDED = 4410;
const RESTARTED = 1012;

/** Whether a path inside a sandbox speaks the DevTools protocol. */
export function isDevtools(path: string): boolean {
  return AUTOMATION.test(path.split("?", 1)[0] ?? "");
}

/** A client and its sandbox's browser, both of which speak WebSocket by now. */
export interface Joined {
  client: Duplex;
  head: Buffer;
  browser: Duplex;
  project: Pick<Project, "id">;
  sandboxId: string;
  opened: Opened;
}

/** Joins them until both are gone, and has what is done meanwhile written down; answers the code that the client was closed with. */
export async function automate({ platform, witnesses }: Gateway, joined: Joined, bounds: Bounds = BOUNDS): Promise<number | undefined> {
  const { client, head, browser, project, sandboxId, opened } = joined;
  const presence = witnesses.join(project.id, sandboxId);
  const around = {
    holder: async () => (await controlOf(platform, project, sandboxId))?.name,
    asked: presence.asked,
    ready: presence.ready,
    explain: () => explainEnd(platform, project, sandboxId),
    bounds,
    opened,
  };
  try {
    return await new Relay(client, browser, around).run(head);
  } finally {
    presence.leave();
  }
}

/** Why the browser's end went away without a word. A broken connection is seen before the ending behind it. */
async function explainEnd(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<{ code: number; reason: string }> {
  for (let looks = 0; looks < LOOKS; looks += 1) {
    try {
      const { state, endReason } = await getSandbox(platform, project, sandboxId, { withUsage: true });
      if (state === "paused") return { code: PAUSED, reason: "sandbox_not_ready: the sandbox is paused; connect again to wake it" };
      if (state === "ending" || state === "ended") return { code: ENDED, reason: `sandbox_ended: ${endReason ?? "lost"}` };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
    await delay(LOOK_MS);
  }
  return { code: RESTARTED, reason: "The browser ended; connect again, and it is started anew" };
}
