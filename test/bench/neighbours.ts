import { makeBox } from "#support/box.ts";
import { newTenant, openDoor, type Tenant } from "#support/door.ts";
import { compare, executeTimes, NOISES, openNoise } from "#support/neighbours.ts";
import { type Figure, percentile, printTable } from "./stats.ts";

/** What an execute takes in a sandbox, alone and beside each kind of noisy neighbour in turns. */
const TURNS = { runs: 300, forMs: 4500 };
const SERVED = { runs: 300, forMs: 0 };

/** Measures both for each kind of neighbour: a figure of its name, held against the one of the same turns alone. */
export async function measureNeighbours(tenant: Tenant, origin: string): Promise<Figure[]> {
  await using victim = await makeBox(tenant);
  await executeTimes(victim, SERVED);
  const figures: Figure[] = [];
  for (const noise of NOISES) {
    const { aloneMs, besideMs } = await compare(victim, () => openNoise(tenant, origin, noise), TURNS);
    const against = `execute, without ${noise.name}`;
    figures.push({ name: against, samplesMs: aloneMs }, { name: `execute, beside ${noise.name}`, samplesMs: besideMs, against });
  }
  return figures;
}

/** Medians and 95th percentiles beside each neighbour and without it. */
export function neighbourRows(figures: readonly Figure[]) {
  return figures.flatMap(({ name, samplesMs, against }) => {
    const alone = figures.find((figure) => figure.name === against)?.samplesMs;
    if (!alone) return [];
    const [alone95, beside95] = [percentile(alone, 0.95), percentile(samplesMs, 0.95)];
    return {
      figure: name,
      runs: samplesMs.length,
      "alone p50Ms": percentile(alone, 0.5).toFixed(2),
      p50Ms: percentile(samplesMs, 0.5).toFixed(2),
      "alone p95Ms": alone95.toFixed(2),
      p95Ms: beside95.toFixed(2),
      ratio: (beside95 / alone95).toFixed(2),
    };
  });
}

if (import.meta.main) {
  await using door = await openDoor({ environment: {} });
  printTable(neighbourRows(await measureNeighbours(await newTenant(door), door.origin)));
}
