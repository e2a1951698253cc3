import { createQueue } from "#infra/local/stores/queue.ts";
import { memoryQueue } from "#support/memory-queue.ts";
import { folderPlace, memoryPlace } from "#support/place.ts";
import { queueSuite } from "./queue.suite.ts";

queueSuite("a queue in a SQLite file", () =>
  folderPlace((path) => (options: { maxAttempts: number; now: () => number }) => createQueue(path, options)),
);

queueSuite("a queue in memory", async () => memoryPlace(memoryQueue));
