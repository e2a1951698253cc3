import { join } from "node:path";
import type { Stores } from "#core/ports.ts";
import { createObjects } from "./objects.ts";
import { createQueue } from "./queue.ts";
import { createSearch } from "./search.ts";
import { createTables } from "./tables.ts";

/** How often a message may fail before it goes to the dead letters. */
const QUEUE_ATTEMPTS = 5;

/** Opens the embedded stores in the data folder; the gateway, the worker and the engine share them. */
export async function openStores({ dataDir }: { dataDir: string }): Promise<Stores> {
  const tables = createTables(join(dataDir, "tables.db"));
  const objects = createObjects(join(dataDir, "objects"));
  const queue = createQueue(join(dataDir, "queue.db"), { maxAttempts: QUEUE_ATTEMPTS, now: Date.now });
  const search = createSearch(join(dataDir, "memory"));
  return {
    tables,
    objects,
    queue,
    search,
    async [Symbol.asyncDispose]() {
      await Promise.all([tables, objects, queue, search].map((store) => store[Symbol.asyncDispose]()));
    },
  };
}
