import { printTable } from "#bench/stats.ts";
import { soak, type SoakReport } from "./soak.ts";

/** `npm run soak [minutes] [seed]`: everything is killed at random under load; ends with 1 when a promise was broken. */
const minutes = Number(process.argv[2] ?? 10);
const seed = Number(process.argv[3] ?? Date.now() % 1_000_000);
const CLIENTS = 8;

function count(names: readonly string[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));
}

function print({ ledger, records, books, left, faults }: SoakReport): void {
  const { lives, kills, retries, steps } = ledger;
  const answered = lives.filter(({ id }) => id !== undefined).length;
  const total = { lives: lives.length, answered, kills: kills.length, retries: retries.values().reduce((sum, times) => sum + times, 0) };
  printTable([{ ...total, rows: records.sandboxes.length, "broken promises": faults.length }]);
  for (const [what, counts] of [
    ["killed", count(kills.map(({ victim }) => victim))],
    ["asked again because of", Object.fromEntries(retries)],
    ["done", Object.fromEntries(steps)],
    ["ended as", count(records.sandboxes.map(({ endReason = "not at all" }) => endReason))],
  ] as const) {
    console.log(`\n${what}`);
    printTable([counts]);
  }
  const { faults: _, ...sums } = books;
  console.log("\nbooks");
  printTable([sums]);
  console.log("\nleft");
  printTable([
    { when: "at rest", ...left.atRest },
    { when: "stopped", ...left.stopped },
  ]);
  for (const fault of faults) console.log(`BROKEN  ${fault}`);
}

console.log(`seed ${seed}, ${minutes} minutes: npm run soak ${minutes} ${seed}`);
const report = await soak({ seed, forMs: minutes * 60_000, clients: CLIENTS, say: (progress) => console.log(progress) });
print(report);
process.exitCode = report.faults.length === 0 ? 0 : 1;
