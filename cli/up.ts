import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { projectDir } from "#infra/config.ts";
import type { Command } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";

export const up: Command = {
  name: "up",
  usage: "",
  summary: "Serve on this machine until Ctrl-C, which ends every sandbox. Settings are environment variables: docs/operating.md.",
  example: "CLEANROOM_PORT=8080 cleanroom up",
  words: { min: 0, max: 0 },
  options: {},
  async run(given, { signal }) {
    if (given.json) throw refusal(EXIT.usage, "cleanroom up serves and has no JSON answer", "Ask its /health route instead.");
    const main = join(projectDir(), "dist/local/main.mjs");
    if (!existsSync(main)) throw refusal(EXIT.unavailable, "The server is not built yet", "Run `npm run setup` first.");
    const child = spawn(process.execPath, ["--disable-warning=DEP0169", main], { stdio: "inherit" });
    // A terminal's Ctrl-C reaches the server by itself and once; a signal sent to this process alone is passed on.
    signal.addEventListener("abort", () => process.stdin.isTTY || child.kill("SIGTERM"), { once: true });
    const [code, killedBy] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    return killedBy ? 128 + constants.signals[killedBy] : (code ?? EXIT.failed);
  },
};
