import { relative } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { readSettings, type Settings } from "./settings.ts";

const CASE_MS = 10_000;
const SHRINK_MS = 60_000;

/** A promise that is kept for every example of its kind. `try` runs some of them. */
export interface Property {
  sentence: string;
  try(settings: Settings): Promise<Tried>;
}

interface Tried {
  runs: number;
  /** What broke the promise, and where it is found again. */
  failure?: { seed: number; path: string; text: string };
}

type Verdict = void | Promise<void>;

/** `cost` is how many runs of a plain property one of this takes the time of; `caseMs` bounds one example. */
export function property<T>(
  sentence: string,
  examples: fc.Arbitrary<T>,
  check: (example: T) => Verdict,
  { cost = 1, caseMs = CASE_MS }: { cost?: number; caseMs?: number } = {},
): Property {
  return {
    sentence,
    async try({ seed, runs, path }) {
      const numRuns = Math.max(1, Math.ceil(runs / cost));
      const holds = fc.asyncProperty(examples, async (example) => check(example));
      const details = await fc.check(holds, {
        seed,
        numRuns,
        timeout: caseMs,
        interruptAfterTimeLimit: SHRINK_MS,
        ...(path === undefined ? {} : { path, endOnFailure: true }),
      });
      if (!details.failed) return { runs: details.numRuns };
      const error = details.errorInstance;
      const example = fc.stringify(details.counterexample?.[0]);
      const text = `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\nexample: ${example}`;
      return { runs: details.numRuns, failure: { seed, path: details.counterexamplePath ?? "", text } };
    },
  };
}

/**
 * Tries properties one after the other, each as a test: once over, or in rounds of other seeds until their time is up.
 * `cannot` is why this machine cannot try them.
 */
export async function hold(file: string, properties: readonly Property[], cannot?: string): Promise<void> {
  const settings = readSettings();
  const asked = properties.filter(({ sentence }) => settings.only === undefined || sentence === settings.only);
  const name = relative(process.cwd(), fileURLToPath(file));
  for (const one of asked)
    await test(one.sentence, { skip: cannot ?? false }, (t) => tryFor(one, name, settings, settings.budgetMs / asked.length, t));
}

async function tryFor(one: Property, file: string, settings: Settings, budgetMs: number, t: TestContext): Promise<void> {
  const until = performance.now() + budgetMs;
  let runs = 0;
  for (let { seed } = settings; ; seed += 1) {
    const tried = await one.try({ ...settings, seed });
    runs += tried.runs;
    if (tried.failure) throw new Error(sayFailure(one, file, tried.failure));
    if (performance.now() >= until) break;
  }
  t.diagnostic(`${runs} runs, seed ${settings.seed}`);
}

function sayFailure({ sentence }: Property, file: string, { seed, path, text }: NonNullable<Tried["failure"]>): string {
  return `${text}\nseed ${seed}, path ${path}; to see it again:\n  npm run fuzz -- replay ${file} ${seed} ${path} ${JSON.stringify(sentence)}\n`;
}
