import { localConfig } from "#infra/config.ts";
import type { Check } from "#infra/doctor.ts";
import type { Command } from "./command.ts";
import { EXIT } from "./exit.ts";
import { harmless } from "./filter.ts";
import type { Style } from "./style.ts";

export const doctorCommand: Command = {
  name: "doctor",
  usage: "",
  summary: "Say what this machine gives sandboxes, and how to fix what it does not. Ends with 70 when something is missing.",
  example: "cleanroom doctor --json",
  words: { min: 0, max: 0 },
  options: {},
  async run(given, { screen }) {
    // The engine's own parts come with it: no other command should wait for them to load.
    const { doctor } = await import("#infra/doctor.ts");
    const waiting = screen.waiting("trying everything, a sandbox among it");
    const checks = await doctor(localConfig());
    waiting[Symbol.dispose]();
    if (given.json) await screen.answer(`${JSON.stringify(checks, undefined, 2)}\n`);
    else await screen.answer(render(checks, screen.style));
    return checks.some((check) => check.state === "missing") ? EXIT.failed : EXIT.ok;
  },
};

function render(checks: Check[], style: Style): string {
  const width = Math.max(...checks.map((check) => check.need.length));
  const marks: Record<Check["state"], string> = { ok: style.good("✓"), degraded: style.bad("~"), missing: style.bad("✗") };
  const lines = checks.flatMap(({ need, state, found, fix }) => [
    ` ${marks[state]} ${need.padEnd(width)}  ${harmless(found)}`,
    ...(fix === undefined ? [] : [`   ${" ".repeat(width)}  ${style.strong("fix:")} ${fix}`]),
  ]);
  const count = (state: Check["state"]) => checks.filter((check) => check.state === state).length;
  const degraded = count("degraded");
  const missing = count("missing");
  const verdict = missing + degraded === 0 ? style.good("Everything is there.") : `${missing} missing, ${degraded} degraded.`;
  return [...lines, "", verdict, ""].join("\n");
}
