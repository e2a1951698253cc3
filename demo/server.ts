import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { call, newClient, type ClientOptions } from "#client/client.ts";
import { Problem } from "#contract/problem.ts";
import { getHealth } from "#contract/project.ts";
import { EXIT, refusal } from "#cli/exit.ts";
import type { Screen } from "#cli/screen.ts";
import { projectDir } from "#infra/config.ts";

const START_TIMEOUT_MS = 60_000;

/** The server that runs, or one of the demo's own, which ends with the block that asked for it. */
export async function aServer(screen: Screen, signal: AbortSignal): Promise<{ client: ClientOptions } & AsyncDisposable> {
  const nothing = { client: {}, [Symbol.asyncDispose]: async () => {} };
  if (await answers(signal)) return nothing;
  const main = join(projectDir(), "dist/local/main.mjs");
  if (!existsSync(main)) throw refusal(EXIT.unavailable, "The server is not built yet", "Run `npm run setup` first.");
  screen.note(screen.stderrStyle.faint("No Cleanroom answers: starting one for the time of the demo.\n"));
  // A process group of its own: a Ctrl-C reaches the demo, which destroys its sandbox first and then ends the server.
  const child = spawn(process.execPath, [main], { stdio: ["ignore", "ignore", "pipe"], detached: true });
  const exited = once(child, "exit");
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const end = async () => {
    child.kill("SIGTERM");
    await exited;
  };
  try {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT_MS)]);
    while (!(await answers(deadline))) {
      if (child.exitCode !== null)
        throw refusal(
          EXIT.unavailable,
          `The server ended with ${child.exitCode}: ${said.trim()}`,
          "`npx cleanroom doctor` says what this machine lacks.",
        );
      await wait(100, undefined, { signal: deadline });
    }
    return { client: {}, [Symbol.asyncDispose]: end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function answers(signal: AbortSignal): Promise<boolean> {
  try {
    return (await call(newClient(), getHealth, { signal })).engine === "ok";
  } catch (error) {
    if (error instanceof Problem) return false;
    throw error;
  }
}
