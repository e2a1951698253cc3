/** What one instance may take. */
export interface Limits {
  cpu: number;
  memoryMiB: number;
  processes: number;
}

export type Controller = "memory" | "pids" | "cpu";

/** A file of a group and what is written into it; an optional one is passed over where the kernel has none. */
type Setting = [file: string, value: string, optional?: boolean];
const PERIOD_US = 100_000;

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
      ["cpu.shares", String(Math.max(2, Math.round(limits.cpu * 1024)))],
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
    cpu: [
      ["cpu.max", `${Math.round(limits.cpu * PERIOD_US)} ${PERIOD_US}`],
      ["cpu.weight", String(Math.min(10_000, Math.max(1, Math.round(limits.cpu * 100))))],
    ],
  };
}
