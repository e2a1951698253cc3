import { Problem, asProblem } from "#contract/problem.ts";
import { clientConfig } from "#infra/config.ts";
import { actions } from "./actions.ts";
import { artifact } from "./artifact.ts";
import { browser } from "./browser.ts";
import { helpFor, understand, type Command } from "./command.ts";
import { audit } from "./audit.ts";
import { cost } from "./cost.ts";
import { doctorCommand } from "./doctor.ts";
import { exec } from "./exec.ts";
import { EXIT, exitCodeOf, refusal } from "./exit.ts";
import { harmless } from "./filter.ts";
import { image } from "./image.ts";
import { mcp } from "./mcp.ts";
import { memory } from "./memory.ts";
import { run } from "./run.ts";
import { sandbox } from "./sandbox.ts";
import { newScreen, type Screen } from "./screen.ts";
import { shell } from "./shell.ts";
import { snapshot } from "./snapshot.ts";
import { template } from "./template.ts";
import { trace } from "./trace.ts";
import { up } from "./up.ts";

const COMMANDS: readonly Command[] = [
  up,
  doctorCommand,
  run,
  exec,
  shell,
  browser,
  sandbox,
  snapshot,
  template,
  image,
  artifact,
  trace,
  cost,
  actions,
  audit,
  mcp,
  memory,
];

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Reads the command line, runs its command, and answers with the exit code. */
async function main(args: string[], screen: Screen, signal: AbortSignal): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    await screen.answer(overview());
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  const command = COMMANDS.find((one) => one.name === name);
  if (!command) throw refusal(EXIT.usage, `cleanroom has no command ${name}`, "`cleanroom --help` lists them.");
  const given = understand(command, rest);
  if (given) return await command.run(given, { screen, client: {}, signal });
  await screen.answer(helpFor(command));
  return EXIT.ok;
}

function overview(): string {
  const width = Math.max(...COMMANDS.map((command) => `${command.name} ${command.usage}`.length)) + 4;
  return [
    "cleanroom: disposable, sealed sandboxes",
    "",
    ...COMMANDS.map(
      (command) => `  ${`${command.name} ${command.usage}`.padEnd(width)}${command.summary.split(". ")[0]?.replace(/\.$/, "")}`,
    ),
    "",
    "Each takes --help and --json. CLEANROOM_URL and CLEANROOM_API_KEY say which Cleanroom is meant; without",
    "them it is the one on this machine.",
    "",
    "Exit codes: `run` and `exec` end as their program did. Besides: 64 the command line was not understood,",
    "66 a file here cannot be read, 69 no Cleanroom answers, 70 anything else failed, 73 something could not be",
    "kept, 124 the time was up, 130 interrupted.",
    "",
  ].join("\n");
}

async function say(screen: Screen, problem: Problem, json: boolean): Promise<void> {
  const { code, message, next } = problem;
  const { detail: _detail, next: _next, exitCode: _exitCode, ...details } = problem.facts;
  if (json) await screen.answer(`${JSON.stringify({ error: { code, message, next, details } }, undefined, 2)}\n`);
  const style = screen.stderrStyle;
  screen.note(`${style.bad("cleanroom:")} ${harmless(message)}\n${harmless(next)}\n`);
}

/** A setting that cannot be is said in its own words: there is no screen to say it on before the settings are read. */
function openScreen(): Screen {
  try {
    return newScreen(process.stdout, process.stderr, clientConfig().noColor);
  } catch (error) {
    console.error(`cleanroom: ${error instanceof Error ? error.message : String(error)}`);
    return process.exit(EXIT.usage);
  }
}

const stop = new AbortController();
for (const signal of SIGNALS) process.on(signal, () => stop.abort(new Error(signal)));
// A reader that has gone, such as `head`, is no failure of ours.
process.stdout.on("error", () => stop.abort(new Error("SIGPIPE")));

const screen = openScreen();
try {
  process.exitCode = await main(process.argv.slice(2), screen, stop.signal);
} catch (error) {
  if (stop.signal.aborted) {
    process.exitCode = EXIT.interrupted;
  } else {
    const problem = asProblem(error);
    const shown =
      error instanceof Problem
        ? problem
        : new Problem("internal", { detail: String(error), next: "Report this as a bug, with the command." });
    await say(screen, shown, process.argv.includes("--json"));
    process.exitCode = exitCodeOf(problem);
  }
}
