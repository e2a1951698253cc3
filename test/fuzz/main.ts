import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { run } from "node:test";
import { openDoor } from "#support/door.ts";
import { SETTINGS_VARIABLE, type Settings } from "./settings.ts";

/**
 * `npm run fuzz [minutes] [seed]` tries every property for as long as that, with a seed of its own unless one is given.
 * `npm run fuzz -- replay <file> <seed> <path> <sentence>` is what a failure prints: that one example again.
 */
const MINUTES = 10;
const SEEDS = 2 ** 31 - 1;
const AT_ONCE = Math.max(1, Math.min(4, availableParallelism()));
const SLACK_MS = 15 * 60_000;

async function fuzz(minutes: number, seed: number): Promise<boolean> {
  const files = globSync("test/fuzz/*.fuzz.ts").toSorted();
  const budgetMs = (minutes * 60_000 * Math.min(AT_ONCE, files.length)) / files.length;
  console.log(`seed ${seed}: ${files.length} files, ${AT_ONCE} at once, ${Math.round(budgetMs / 1000)} s each`);
  say({ seed, budgetMs });
  await using door = await openDoor();
  const { open: _open, [Symbol.asyncDispose]: _dispose, ...facts } = door;
  process.env["CLEANROOM_TEST_DOOR"] = JSON.stringify(facts);
  const stream = run({ files, concurrency: AT_ONCE, timeout: budgetMs + SLACK_MS });
  const { runs, held, skipped, broken } = await told(stream);
  console.log(`seed ${seed}: ${runs} runs, ${held} properties held, ${broken} broken, ${skipped} skipped`);
  return broken === 0 && held > 0;
}

/** Says of each property how it went as soon as that is known, and adds up. */
async function told(stream: ReturnType<typeof run>) {
  const total = { runs: 0, held: 0, skipped: 0, broken: 0 };
  const startedAtMs = performance.now();
  const line = (mark: string, file: string | undefined, text: string) => {
    const seconds = String(Math.round((performance.now() - startedAtMs) / 1000)).padStart(5);
    console.log(`${seconds} s  ${mark} ${basename(file ?? "", ".fuzz.ts").padEnd(12)} ${text}`);
  };
  for await (const { type, data } of stream as AsyncIterable<Told>) {
    const { name = "", entryFile: file, message = "", skip, details } = data;
    if (type === "test:diagnostic" && /^\d+ runs, /.test(message)) {
      total.runs += Number.parseInt(message, 10);
      line(" ", file, `  ${message}`);
    }
    if (name.endsWith(".fuzz.ts")) continue;
    if (type === "test:pass") {
      total[skip === undefined ? "held" : "skipped"] += 1;
      line("✔", file, skip === undefined ? name : `${name} (skipped: ${skip})`);
    }
    if (type === "test:fail") {
      total.broken += 1;
      line("✖", file, `${name}\n${details?.error?.cause?.message ?? details?.error?.message ?? ""}`);
    }
  }
  return total;
}

/** As much of the test runner's events as is told. */
interface Told {
  type: string;
  data: { name?: string; entryFile?: string; message?: string; skip?: string | boolean; details?: { error?: Error & { cause?: Error } } };
}

async function replay([file = "", seed = "", path = "", only = ""]: string[]): Promise<boolean> {
  say({ seed: Number(seed), path, only });
  const child = spawn(process.execPath, ["--test", file], { stdio: "inherit" });
  const [code] = await new Promise<[number | null]>((resolve) => child.once("exit", (exit) => resolve([exit])));
  return code === 0;
}

function say(settings: Partial<Settings>): void {
  process.env[SETTINGS_VARIABLE] = JSON.stringify(settings);
}

const [first = String(MINUTES), ...rest] = process.argv.slice(2);
const held = first === "replay" ? await replay(rest) : await fuzz(Number(first), Number(rest[0] ?? Math.floor(Math.random() * SEEDS)));
process.exit(held ? 0 : 1);
