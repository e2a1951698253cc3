import type { Door } from "#support/door.ts";
import { startDoor } from "#support/door.ts";

/** A server of the soak's own, at one address for all of its engines. */
export interface Server extends AsyncDisposable {
  door(): Door;
  /** Starts an engine in the place of one that is dead. */
  restart(): Promise<void>;
}

const SETTINGS = {
  CLEANROOM_IDLE_MIN_S: "1",
  CLEANROOM_SWEEP_EVERY: "@every 1s",
  CLEANROOM_MIN_PREPARED: "1",
  CLEANROOM_MAX_PREPARED: "4",
  CLEANROOM_USAGE_INTERVAL_S: "1",
};

export async function openServer(dataDir: string): Promise<Server> {
  let door = await startDoor(SETTINGS, dataDir);
  const same = {
    ...SETTINGS,
    CLEANROOM_PORT: portOf(door.origin),
    CLEANROOM_TLS_PORT: portOf(door.tlsOrigin),
    CLEANROOM_ENGINE_PORT: portOf(door.engineOrigin),
  };
  return {
    door: () => door,
    async restart() {
      await door[Symbol.asyncDispose]();
      door = await startDoor(same, dataDir);
    },
    [Symbol.asyncDispose]: () => door[Symbol.asyncDispose](),
  };
}

function portOf(origin: string): string {
  return new URL(origin).port;
}
