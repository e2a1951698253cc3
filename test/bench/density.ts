import { writeFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { newTenant, openDoor } from "#support/door.ts";
import { callerOf, create, destroy, execute, type Caller } from "./caller.ts";
import { availableMiB, footprint } from "./memory.ts";
import { percentile, printTable, timeMs } from "./stats.ts";

/**
 * `npm run bench:density [count] [chart.svg]`: so many sandboxes live at once, each with an interpreter that has run.
 * Prints what they take, how long all need to answer together, and what gives first; a sandbox draws the chart.
 */
const count = Number(process.argv[2] ?? 1000);
const chart = process.argv[3];
const STEPS = 10;
const CREATORS = 4;
const ANSWERERS = 256;
/** What a sandbox holds when nothing has happened in it for a while. */
const REST_MS = 3000;

interface Step {
  live: number;
  seconds: number;
  availableMiBEach: number;
  pssMiBEach: number;
  cgroupMiBEach: number;
  allAnswerMs: number;
  answerP95Ms: number;
}

async function grow(caller: Caller, ids: string[], to: number): Promise<void> {
  let begun = ids.length;
  const one = async () => {
    while (begun < to) {
      begun += 1;
      const id = await create(caller);
      await execute(caller, id, "1 + 1; print(1)", "1\n");
      ids.push(id);
    }
  };
  await Promise.all(Array.from({ length: CREATORS }, one));
}

/** All are asked at once, as many at a time as connections are kept. */
async function askAll(caller: Caller, ids: readonly string[]): Promise<{ allMs: number; p95Ms: number }> {
  const samplesMs: number[] = [];
  let next = 0;
  const one = async () => {
    for (let id = ids[next++]; id !== undefined; id = ids[next++]) {
      const asked = id;
      samplesMs.push(await timeMs(() => execute(caller, asked, "print(2)", "2\n")));
    }
  };
  const allMs = await timeMs(() => Promise.all(Array.from({ length: ANSWERERS }, one)));
  return { allMs, p95Ms: percentile(samplesMs, 0.95) };
}

async function measure(caller: Caller, dataDir: string, ids: string[]): Promise<Step[]> {
  const steps: Step[] = [];
  const beforeMiB = availableMiB();
  let spentMs = 0;
  for (let step = 1; step <= STEPS; step += 1) {
    const live = Math.round((count * step) / STEPS);
    spentMs += await timeMs(() => grow(caller, ids, live));
    await pause(REST_MS);
    const { pssMiB, cgroupMiB, sandboxes } = footprint(dataDir);
    const availableMiBEach = (beforeMiB - availableMiB()) / Math.max(1, sandboxes);
    const { allMs, p95Ms } = await askAll(caller, ids);
    const rounded = [spentMs / 1000, availableMiBEach, allMs, p95Ms].map((value) => Math.round(value * 100) / 100);
    const [seconds = 0, each = 0, all = 0, p95 = 0] = rounded;
    const row = { live, seconds, availableMiBEach: each, pssMiBEach: pssMiB, cgroupMiBEach: cgroupMiB };
    steps.push({ ...row, allAnswerMs: all, answerP95Ms: p95 });
    if (process.stdout.isTTY) process.stdout.write(`\r${live} of ${count} live`);
  }
  return steps;
}

/** The chart is drawn where everything else is: in a sandbox, by its own interpreter. */
async function draw(caller: Caller, steps: readonly Step[], path: string): Promise<void> {
  const id = await create(caller);
  const code = `import json, matplotlib.pyplot as plt
rows = json.loads(${JSON.stringify(JSON.stringify(steps))})
live = [row["live"] for row in rows]
figure, axes = plt.subplots(1, 3, figsize=(13, 3.6))
for axis, title, columns in zip(axes, ("Seconds to make them", "Memory each (MiB)", "All asked at once: until the last answer (ms)"),
        (["seconds"], ["availableMiBEach", "pssMiBEach", "cgroupMiBEach"], ["allAnswerMs"])):
    for column in columns:
        axis.plot(live, [row[column] for row in rows], marker="o", label=column)
    axis.set(title=title, xlabel="sandboxes live", ylim=(0, None))
    if len(columns) > 1:
        axis.legend(["of the machine", "PSS", "control group"])
    axis.grid(alpha=0.3)
figure.tight_layout()
figure.savefig("/home/user/chart.svg", metadata={"Date": None})
print("drawn")`;
  await execute(caller, id, code, "drawn\n");
  const drawn = await caller.json<{ content: string }>("GET", `/sandboxes/${id}/files?path=/home/user/chart.svg`);
  await writeFile(path, drawn.content);
  await destroy(caller, id);
}

await using door = await openDoor({ environment: { CLEANROOM_QUOTA_SANDBOXES: String(count + 16) } });
using caller = callerOf(door.origin, await newTenant(door, count + 16));
const ids: string[] = [];
let steps: Step[] = [];
try {
  steps = await measure(caller, door.dataDir, ids);
  console.log("");
  printTable(steps.map((step) => ({ ...step })));
} catch (error) {
  console.error(`\nWhat gave first, with ${ids.length} live: ${String(error)}`);
  process.exitCode = 1;
}
const goneMs = await timeMs(() => Promise.all(ids.map((id) => destroy(caller, id))));
console.log(`${ids.length} destroyed in ${(goneMs / 1000).toFixed(1)} s; left: ${JSON.stringify(footprint(door.dataDir))}`);
// By now there is room for the one that draws.
if (chart !== undefined && steps.length > 0) await draw(caller, steps, chart);
