/** One measured figure: milliseconds per run, in the order they were taken. */
export interface Figure {
  name: string;
  samplesMs: number[];
  /** The floor or peer of the same run that this figure is held against. */
  against?: string;
  targetMs?: number;
  targetP95Ms?: number;
  /** For figures that are held to a multiple of what they are against. */
  targetRatio?: number;
}

/** The value below which a share of the samples lies, by nearest rank. */
export function percentile(samplesMs: readonly number[], share: number): number {
  const sorted = samplesMs.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Times one run of something. */
export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}

/** Takes `runs` samples after `warmup` uncounted ones. */
export async function sample(name: string, runs: number, work: () => Promise<unknown>, warmup = 3): Promise<Figure> {
  for (let i = 0; i < warmup; i += 1) await work();
  const samplesMs: number[] = [];
  for (let i = 0; i < runs; i += 1) samplesMs.push(await timeMs(work));
  return { name, samplesMs };
}

/** The figures as rows: median, p95, ratio to the floor, and whether the target was met. */
export function summary(figures: readonly Figure[]) {
  const medians = new Map(figures.map((figure) => [figure.name, percentile(figure.samplesMs, 0.5)]));
  return figures.map((figure) => {
    const p50Ms = percentile(figure.samplesMs, 0.5);
    const p95Ms = percentile(figure.samplesMs, 0.95);
    const floorMs = figure.against === undefined ? undefined : medians.get(figure.against);
    const target = wordsOf(figure);
    return {
      figure: figure.name,
      runs: figure.samplesMs.length,
      p50Ms: round(p50Ms),
      p95Ms: round(p95Ms),
      ...(floorMs === undefined ? {} : { against: figure.against, ratio: round(p50Ms / floorMs) }),
      ...(target === "" ? {} : { target, met: meets(figure, p50Ms, p95Ms, floorMs) }),
    };
  });
}

function wordsOf({ targetMs, targetP95Ms, targetRatio }: Figure): string {
  const parts = [
    targetMs === undefined ? "" : `p50 ≤ ${targetMs}`,
    targetP95Ms === undefined ? "" : `p95 ≤ ${targetP95Ms}`,
    targetRatio === undefined ? "" : `ratio ≤ ${targetRatio}`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function meets(figure: Figure, p50Ms: number, p95Ms: number, floorMs = Number.NaN): boolean {
  const { targetMs = Infinity, targetP95Ms = Infinity, targetRatio } = figure;
  return p50Ms <= targetMs && p95Ms <= targetP95Ms && (targetRatio === undefined || p50Ms / floorMs <= targetRatio);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

type Cell = string | number | boolean | undefined;

/** Prints rows as a table that a terminal and a document can both hold. */
export function printTable(rows: readonly Record<string, Cell>[]): void {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => String(row[column] ?? "").length)));
  const line = (cells: string[]) => `| ${cells.map((text, i) => text.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  console.log(line(columns));
  console.log(line(widths.map((width) => "-".repeat(width))));
  for (const row of rows) console.log(line(columns.map((column) => String(row[column] ?? ""))));
}
