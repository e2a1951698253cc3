import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { controlOf, giveControl, holdControl, noticeLapse, type Taker, takeControl } from "./control.ts";
import type { Platform } from "./ports.ts";

const { controlGraceMs: GRACE_MS, controlQuietMs: QUIET_MS } = LIMITS;
/** How often an open view holds control for longer that its holder asked for. */
const HEARTBEAT_MS = GRACE_MS / 3;

/** One open view of a sandbox's display, and what may be done through it. */
export interface Viewing {
  /**
   * Whether input may pass now. Through a view that may have control the first key or click takes it, if nobody else has
   * it: the agent waits from then until nothing has come for a while. `begins` is false for input that means nothing by
   * itself, as a pointer that moves.
   */
  mayInput(begins: boolean): Promise<boolean>;
  close(): void;
}

/** What only looks never has input, whoever has control. */
export const WATCHING: Viewing = { mayInput: async () => false, close: () => {} };

/** Opens a view through which somebody may have control. */
export function openViewing(platform: Platform, project: Pick<Project, "id">, sandboxId: string, viewer: Taker): Viewing {
  let quiet: NodeJS.Timeout | undefined;
  let heldAtMs = 0;

  async function hold(asked: boolean): Promise<void> {
    const now = platform.clock.now();
    if (now - heldAtMs < QUIET_MS / 4) return;
    heldAtMs = now;
    await holdControl(platform, project, sandboxId, viewer.id, asked ? GRACE_MS : QUIET_MS);
  }

  /** Control that came with input ends when that rests. */
  function endWhenQuiet(): void {
    clearTimeout(quiet);
    quiet = setTimeout(() => void letGo(), QUIET_MS).unref();
  }

  async function letGo(): Promise<void> {
    const holder = await controlOf(platform, project, sandboxId);
    if (holder?.id === viewer.id && !holder.asked) await giveControl(platform, project, sandboxId, viewer.id);
  }

  async function take(): Promise<boolean> {
    try {
      await takeControl(platform, project, sandboxId, viewer, { holdMs: QUIET_MS, asked: false });
      return true;
    } catch (error) {
      if (error instanceof Problem && error.code === "control_held") return false;
      throw error;
    }
  }

  const heartbeat = setInterval(() => {
    void (async () => {
      const holder = await controlOf(platform, project, sandboxId);
      if (holder?.id === viewer.id && holder.asked) await holdControl(platform, project, sandboxId, viewer.id, GRACE_MS);
    })().catch(() => {});
  }, HEARTBEAT_MS).unref();

  return {
    async mayInput(begins) {
      const holder = await controlOf(platform, project, sandboxId);
      if (holder && holder.id !== viewer.id) return false;
      if (!holder && !(begins && (await take()))) return false;
      if (holder) await hold(holder.asked);
      if (!holder?.asked) endWhenQuiet();
      return true;
    },
    close() {
      clearInterval(heartbeat);
      clearTimeout(quiet);
      void letGo().catch(() => {});
      // Who is not back by then has lost it.
      setTimeout(() => void noticeLapse(platform, project, sandboxId).catch(() => {}), GRACE_MS + 1000).unref();
    },
  };
}
