import type { DroppedActions, NewAction } from "#contract/action.ts";
import { CUT_OFF, recordAction, recordActions, WATCHES, type Whose } from "./actions.ts";
import type { Platform } from "./ports.ts";
import { rowKey, SANDBOXES, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";

interface WatchRow {
  watcher: string;
  sinceMs: number;
}

/** Somebody's watch over one sandbox's browser, of which what was done is written down. */
export interface Watch {
  /** Writes down what was seen; false when somebody else watches by now, and nothing was written. */
  write(actions: readonly NewAction[], missed: DroppedActions): Promise<boolean>;
  end(): Promise<void>;
}

/**
 * Begins to watch. Whoever comes last has the watch, so that two gateways never write the same thing twice; a watch that
 * is taken over, or was left by a crash, leaves a gap in the log. Undefined for a sandbox that is not there.
 */
export async function beginWatch(platform: Platform, projectId: string, sandboxId: string, watcher: string): Promise<Watch | undefined> {
  const key = rowKey(projectId, sandboxId);
  const sandbox = await platform.recent.get<SandboxRow>(SANDBOXES, key);
  if (!sandbox) return undefined;
  const whose: Whose = { projectId, sandboxId, taskId: sandbox.value.taskId };
  const before = await platform.tables.get<WatchRow>(WATCHES, key);
  await platform.tables.put<WatchRow>(WATCHES, key, { watcher, sinceMs: platform.clock.now() });
  if (before) await recordAction(platform, whose, CUT_OFF);
  return {
    async write(actions, missed) {
      const now = await platform.recent.get<WatchRow>(WATCHES, key);
      if (now?.value.watcher !== watcher) return false;
      await recordActions(platform, whose, actions, missed);
      return true;
    },
    async end() {
      const now = await platform.tables.get<WatchRow>(WATCHES, key);
      if (now?.value.watcher === watcher) await unlessConflict(platform.tables.remove(WATCHES, key, { ifVersion: now.version }));
    },
  };
}
