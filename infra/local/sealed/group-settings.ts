/** What one instance may take. */
export interface Limits {
  cpu: number;
  memoryMiB: number;
  processes: number;
  /** Until it resolves nobody waits for the instance, and who has one goes first; without, somebody does. */
  wanted?: Promise<void> | undefined;
}

export type Controller = "memory" | "pids" | "cpu";

/** A file of a group and what is written into it; an optional one is passed over where the kernel has none. */
type Setting = [file: string, value: string, optional?: boolean];
const PERIOD_US = 100_000;
/** The part of its weight that an instance has while nobody waits for it. */
const UNWANTED = 1 / 20;

/** What bounds one instance in hierarchies of the first version. */
export function oldSettings(limits: Limits): Record<Controller, Setting[]> {
  const bytes = String(limits.memoryMiB * 1024 * 1024);
  return {
    memory: [
      ["memory.limit_in_bytes", bytes],
      ["memory.memsw.limit_in_bytes", bytes, true],
    ],
    pids: [["pids.max", String(limits.processes)]],
    cpu: [
      ["cpu.cfs_period_us", String(PERIOD_US)],
      ["cpu.cfs_quota_us", String(Math.round(limits.cpu * PERIOD_US))],
      oldWeight(limits.cpu),
    ],
  };
}

/** The same in the unified hierarchy. */
export function unifiedSettings(limits: Limits): Record<Controller, Setting[]> {
  return {
    memory: [
      ["memory.max", String(limits.memoryMiB * 1024 * 1024)],
      ["memory.swap.max", "0", true],
    ],
    pids: [["pids.max", String(limits.processes)]],
    cpu: [["cpu.max", `${Math.round(limits.cpu * PERIOD_US)} ${PERIOD_US}`], unifiedWeight(limits.cpu)],
  };
}

/** What has an instance go after those that somebody waits for, and as one of them again, in a hierarchy of either version. */
export function weights(cpu: number, isUnified: boolean): { unwanted: Setting; wanted: Setting } {
  const of = isUnified ? unifiedWeight : oldWeight;
  return { unwanted: of(cpu * UNWANTED), wanted: of(cpu) };
}

function oldWeight(cpu: number): Setting {
  return ["cpu.shares", String(Math.max(2, Math.round(cpu * 1024)))];
}

function unifiedWeight(cpu: number): Setting {
  return ["cpu.weight", String(Math.min(10_000, Math.max(1, Math.round(cpu * 100))))];
}
