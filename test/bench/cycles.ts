import { newTenant, openDoor, type Tenant } from "#support/door.ts";
import { countLeftovers } from "./leftovers.ts";
import { percentile, printTable, timeMs } from "./stats.ts";

/** `npm run cycles [count] [at once]`: whole lives of sandboxes, and what stands on the machine before and after. */
const count = Number(process.argv[2] ?? 1000);
const WARM_UP = 200;
const atOnce = Number(process.argv[3] ?? 8);

async function cycle(tenant: Tenant, round: number): Promise<void> {
  const { id } = await tenant.json<{ id: string }>("POST", "/api/sandboxes", {}, 201);
  const answer = await tenant.json<{ stdout: string }>("POST", `/sandboxes/${id}/contexts/execute`, {
    code: `print(${round})`,
    language: "python",
  });
  if (answer.stdout !== `${round}\n`) throw new Error(`cycle ${round} answered ${JSON.stringify(answer)}`);
  await tenant.json("DELETE", `/api/sandboxes/${id}`);
}

async function repeat(times: number, work: () => Promise<void>): Promise<void> {
  for (let i = 0; i < times; i += 1) await work();
}

await using door = await openDoor({ environment: {} });
const tenant = await newTenant(door, atOnce * 2);
// The engine's code is hot and its pools are full before the first count.
await Promise.all(Array.from({ length: atOnce }, async () => repeat(WARM_UP / atOnce, () => cycle(tenant, 0))));
const before = countLeftovers(door.dataDir, door.pid);
const failures: unknown[] = [];
const samplesMs: number[] = [];
let next = 0;
const startedAtMs = performance.now();
async function worker(): Promise<void> {
  for (let round = next++; round < count; round = next++) {
    await timeMs(() => cycle(tenant, round)).then(
      (ms) => samplesMs.push(ms),
      (error: unknown) => failures.push(error),
    );
    if (process.stdout.isTTY) process.stdout.write(`\r${round + 1} of ${count}, ${failures.length} failed`);
  }
}
await Promise.all(Array.from({ length: atOnce }, worker));
const tookMs = performance.now() - startedAtMs;
const after = countLeftovers(door.dataDir, door.pid);
console.log(
  `\n${count} cycles, ${atOnce} at a time: ${failures.length} failed, ${(count / (tookMs / 1000)).toFixed(1)} a second, p50 ${percentile(samplesMs, 0.5).toFixed(1)} ms, p95 ${percentile(samplesMs, 0.95).toFixed(1)} ms`,
);
printTable([
  { when: "before", ...before },
  { when: "after", ...after },
]);
for (const failure of failures.slice(0, 5)) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
