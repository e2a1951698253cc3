import type { SandboxRow } from "#core/sandbox-rows.ts";
import type { Quantities } from "./quantities.ts";

const FREE_DISK_MIB = 512;
const WITH_BROWSER: ReadonlySet<string> = new Set(["Browser", "AllInOne"]);

type Size = Pick<SandboxRow, "cpu" | "memoryMiB" | "diskMiB" | "type">;

/** What a sandbox of a size has in so much time awake and at rest, used or not. */
export function allotted(
  { cpu, memoryMiB, diskMiB, type }: Size,
  { awakeMs, restedMs }: { awakeMs: number; restedMs: number },
): Quantities {
  return {
    cpu_allocated: Math.round(cpu * 1000) * awakeMs,
    memory_allocated: memoryMiB * awakeMs,
    memory_paused: memoryMiB * restedMs,
    disk: Math.max(0, diskMiB - FREE_DISK_MIB) * (awakeMs + restedMs),
    ...(WITH_BROWSER.has(type) ? { browser: awakeMs } : {}),
  };
}

/** The most that it can use in one stretch awake. What is counted has no most. */
export function mostIn(size: Size, awakeMs: number): Quantities {
  return { ...allotted(size, { awakeMs, restedMs: 0 }), cpu_used: Math.round(size.cpu * awakeMs * 1000) };
}
