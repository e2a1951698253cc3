import type { Meter } from "#contract/usage.ts";
import type { Log, Tables } from "#core/ports.ts";
import type { Quantities } from "./quantities.ts";

/** What meters belong to: a sandbox by its id, or a project itself for what has none. */
export interface Source {
  projectId: string;
  id: string;
}

/** The source of what belongs to no sandbox; no sandbox's id begins with it. */
const PROJECT_ITSELF = "_project";

export function projectItself(projectId: string): Source {
  return { projectId, id: PROJECT_ITSELF };
}

/** What is counted where it passes. `count` costs its caller nothing: counts are kept for a moment and added up together. */
export interface Counts {
  count(source: Source, quantities: Quantities): void;
  /** Answers once all that was counted so far is written. */
  flush(): Promise<void>;
}

const COUNTS = "usage-counts";
const FLUSH_MS = 1000;
const METERS_MOST = 100;

export function sourceKey({ projectId, id }: Source): string {
  return `${projectId}/${id}`;
}

/** Everything that was ever counted of a source. */
export async function readCounts(tables: Tables, source: Source): Promise<Quantities> {
  const prefix = `${sourceKey(source)}/`;
  const rows = await tables.range<number>(COUNTS, prefix, { limit: METERS_MOST });
  return Object.fromEntries(rows.map(({ key, value }) => [key.slice(prefix.length) as Meter, value]));
}

/**
 * Opens the counts of this process. `settled` is told of each source that was added to, after it was: one that has ended
 * meanwhile may have been settled without what was still on its way.
 */
export function openCounts(tables: Tables, log: Log, settled: (source: Source) => Promise<void>): Counts {
  let waiting = new Map<string, { source: Source; quantities: Quantities }>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const batch = waiting;
    if (batch.size > 0) {
      waiting = new Map();
      writing = writing.then(async () => void (await Promise.all([...batch.values()].map((one) => write(one)))));
    }
    return writing;
  }

  async function write({ source, quantities }: { source: Source; quantities: Quantities }): Promise<void> {
    const entries = Object.entries(quantities) as [Meter, number][];
    const written = await Promise.allSettled(entries.map(([meter, by]) => tables.add(COUNTS, `${sourceKey(source)}/${meter}`, by)));
    for (const [at, one] of written.entries()) {
      const [meter, by] = entries[at] ?? [];
      if (one.status === "rejected") log.event("usage.count_lost", { ...source, meter, by, error: String(one.reason) });
    }
    await settled(source).catch((error: unknown) => log.event("usage.not_settled", { ...source, error: String(error) }));
  }

  return {
    count(source, quantities) {
      const key = sourceKey(source);
      let mine = waiting.get(key);
      if (!mine) waiting.set(key, (mine = { source, quantities: {} }));
      for (const meter in quantities) {
        const by = quantities[meter as Meter] ?? 0;
        if (by > 0) mine.quantities[meter as Meter] = (mine.quantities[meter as Meter] ?? 0) + by;
      }
      timer ??= setTimeout(() => void flush(), FLUSH_MS).unref();
    },
    flush,
  };
}
