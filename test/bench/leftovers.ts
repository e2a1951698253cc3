import { createHash } from "node:crypto";
import { globSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** What a sandbox could leave on its host, counted from outside. */
export interface Leftovers {
  processes: number;
  mounts: number;
  cgroups: number;
  loopDevices: number;
  files: number;
  engineRssMiB: number;
  engineDescriptors: number;
}

/** Counts what stands now of one data folder's sandboxes; two counts around a load are equal when nothing leaked. */
export function countLeftovers(dataDir: string, enginePid: number): Leftovers {
  const mine = `cleanroom-${createHash("sha256").update(dataDir).digest("hex").slice(0, 10)}`;
  const status = readFileSync(`/proc/${enginePid}/status`, "utf8");
  return {
    processes: readdirSync("/proc").filter((name) => /^\d+$/.test(name) && readText(`/proc/${name}/cgroup`).includes(mine)).length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n").length,
    cgroups: globSync(`/sys/fs/cgroup/**/${mine}/*/`).length,
    loopDevices: readdirSync("/sys/block").filter((name) => readText(`/sys/block/${name}/loop/backing_file`).includes(dataDir)).length,
    files: globSync(join(dataDir, "run/*")).length,
    engineRssMiB: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024),
    engineDescriptors: readdirSync(`/proc/${enginePid}/fd`).length,
  };
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
