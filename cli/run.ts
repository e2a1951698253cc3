import type { Command } from "./command.ts";
import { EXIT } from "./exit.ts";
import { runJob, type Watcher } from "./job.ts";
import { findProgram } from "./program.ts";
import { renderReceipt, type Phase, type Receipt } from "./receipt.ts";
import type { Screen } from "./screen.ts";

const DEFAULT_TIMEOUT_MS = 600_000;

const DOING: Record<Phase, string> = {
  make: "making a sandbox",
  send: "sending the files",
  run: "running",
  keep: "keeping what was asked for",
  destroy: "destroying the sandbox",
};

export const run: Command = {
  name: "run",
  usage: "FILE [-- ARGUMENTS…]",
  summary: "Run a program (.py, .js, .sh or with a #! line) in a fresh sandbox, keep what you name, destroy the rest.",
  example: "cleanroom run analyse.py --input pipeline.csv --keep summary.md",
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {
    input: { type: "string", short: "i", multiple: true, value: "PATH", about: "a file or directory to send to /home/user" },
    keep: { type: "string", short: "k", multiple: true, value: "PATH", about: "a file to keep as an artifact, in the sandbox's terms" },
    save: { type: "string", value: "DIR", about: "also write what is kept into this local directory" },
    template: { type: "string", short: "t", value: "NAME", about: "what the sandbox is made from (code-interpreter)" },
    timeout: { type: "string", value: "SECONDS", about: "how long the program may take (600)" },
    env: { type: "string", short: "e", multiple: true, value: "NAME=VALUE", about: "a variable for the program; no place for secrets" },
  },
  async run(given, { screen, client, signal }) {
    const [file = "", ...args] = given.positionals;
    const job = {
      program: await findProgram(file),
      args,
      inputs: given.texts("input"),
      keep: given.texts("keep"),
      save: given.text("save"),
      template: given.text("template"),
      timeoutMs: given.seconds("timeout") ?? DEFAULT_TIMEOUT_MS,
      environment: given.pairs("env"),
    };
    const receipt = await runJob(client, job, watch(screen, given.json), signal);
    await screen.endOutput();
    if (given.json) await screen.answer(`${JSON.stringify(receipt, undefined, 2)}\n`);
    else screen.note(`\n${renderReceipt(receipt, screen.stderrStyle)}`);
    return exitCodeFor(receipt);
  },
};

/** Shows a job on a screen. With `json` the program's output goes beside the answer, never into it. */
export function watch(screen: Screen, json: boolean): Watcher {
  return {
    phase: (phase) => void screen.waiting(DOING[phase]),
    output: (stream, text) => screen.output(json ? "stderr" : stream, text),
  };
}

/** The program's own exit code; if that is 0 and something could not be kept or saved, that is the news. */
export function exitCodeFor({ outcome, kept, notKept }: Receipt): number {
  const missing = notKept.length > 0 || kept.some(({ notSaved }) => notSaved !== undefined);
  if (outcome.exitCode === 0 && missing) return EXIT.notKept;
  return outcome.exitCode;
}
