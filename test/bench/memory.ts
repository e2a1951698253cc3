import { createHash } from "node:crypto";
import { globSync, readFileSync, readdirSync } from "node:fs";
import { basename } from "node:path";

/** What the processes of a server's sandboxes share and have, in MiB a sandbox; `available` is what the whole machine lost. */
export interface Footprint {
  sandboxes: number;
  processes: number;
  pssMiB: number;
  cgroupMiB: number;
}

const MIB = 1024 * 1024;

/** Reads the proportional memory of every process in the control groups of one data folder's sandboxes. */
export function footprint(dataDir: string): Footprint {
  const mine = `cleanroom-${createHash("sha256").update(dataDir).digest("hex").slice(0, 10)}`;
  const groups = globSync(["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map((place) => `${place}/${mine}/*/cgroup.procs`));
  const names = new Set(groups.map((path) => basename(path.slice(0, -"/cgroup.procs".length))));
  let processes = 0;
  let pssKiB = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (!readText(`/proc/${pid}/cgroup`).includes(mine)) continue;
    processes += 1;
    pssKiB += Number(/^Pss:\s+(\d+)/m.exec(readText(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
  }
  const usages = globSync([`/sys/fs/cgroup/memory/${mine}/*/memory.usage_in_bytes`, `/sys/fs/cgroup/${mine}/*/memory.current`]);
  const cgroupBytes = usages.reduce((sum, path) => sum + Number(readText(path)), 0);
  const sandboxes = Math.max(1, names.size);
  return {
    sandboxes: names.size,
    processes,
    pssMiB: round(pssKiB / 1024 / sandboxes),
    cgroupMiB: round(cgroupBytes / MIB / sandboxes),
  };
}

/** What the machine could still give to programs, in MiB. */
export function availableMiB(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0) / 1024;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
