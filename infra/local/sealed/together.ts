import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import type { Controller } from "./group-settings.ts";

/** A group's folder in the hierarchy of one controller. */
export interface Place {
  folder: string;
  unified: boolean;
}

const MIB = 1024 * 1024;
const SYSTEM = "/proc/sys";
/**
 * Half of what stands beside it: one group in the unified hierarchy; in the old one, where a group's shares are spread
 * over the processors and the host's own threads have 1024 each, one thread on each processor.
 */
const WEIGHT = 50;
const SHARES_PER_PROCESSOR = 512;
const HOST_MEMORY = { share: 1 / 16, leastBytes: 512 * MIB };
const PROCESSES_SHARE = 0.75;

/**
 * The kernel has one of each of these for all sandboxes and the host. What is in them is paid for by its sandbox's
 * memory or process limit, so that the tables themselves need not be small.
 */
const TABLES = { "fs/file-max": "9223372036854775807", "kernel/pid_max": "4194304", "kernel/pty/max": "1048576" };

/**
 * Bounds all sandboxes together, so that the engine, the gateway and the rest of the host keep their share of processor
 * time, memory and process numbers whatever happens inside. Answers why a bound cannot be had; undefined when all hold.
 */
export function boundTogether(placeOf: (controller: Controller) => Place | undefined): string | undefined {
  const reasons: string[] = [];
  for (const controller of ["cpu", "memory", "pids"] as const) {
    const place = placeOf(controller);
    if (!place) continue;
    const [file, value] = settings(place.unified)[controller];
    attempt(reasons, join(place.folder, file), value);
  }
  return reasons.length === 0 ? undefined : reasons.join("; ");
}

/** Makes room in the kernel's tables where there is little. Answers why it cannot; undefined when there is enough. */
export function widenTables(system = SYSTEM): string | undefined {
  const reasons: string[] = [];
  for (const [name, value] of Object.entries(TABLES)) {
    const path = join(system, name);
    const present = numberIn(path);
    if (present !== undefined && present < Number(value)) attempt(reasons, path, value);
  }
  return reasons.length === 0 ? undefined : reasons.join("; ");
}

function settings(unified: boolean): Record<Controller, [file: string, value: string]> {
  return {
    cpu: unified ? ["cpu.weight", String(WEIGHT)] : ["cpu.shares", String(SHARES_PER_PROCESSOR * availableParallelism())],
    memory: [unified ? "memory.max" : "memory.limit_in_bytes", String(memoryTogether(totalmem()))],
    pids: ["pids.max", String(processesTogether())],
  };
}

function memoryTogether(totalBytes: number): number {
  return Math.trunc(totalBytes - Math.max(HOST_MEMORY.leastBytes, totalBytes * HOST_MEMORY.share));
}

function processesTogether(): number {
  const most = ["kernel/pid_max", "kernel/threads-max"].map((name) => numberIn(join(SYSTEM, name)) ?? Infinity);
  return Math.trunc(Math.min(...most, 4_194_304) * PROCESSES_SHARE);
}

function numberIn(path: string): number | undefined {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

function attempt(reasons: string[], path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    reasons.push((error as Error).message);
  }
}
