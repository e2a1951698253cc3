import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import * as z from "zod";
import type { Cgroups } from "./cgroups.ts";

/** What is written about an instance beside its intent, so that a later engine knows its processes from strangers. */
const Started = z.object({ processes: z.array(z.object({ pid: z.int(), startTime: z.string() })) });

export function startedRecord(pids: readonly number[]): string {
  return JSON.stringify({ processes: pids.map((pid) => ({ pid, startTime: startTime(pid) ?? "" })) });
}

/** Ends and removes what instances of an earlier engine left; `isLive` names those of this one. Answers the ids found. */
export async function sweepLeftovers(from: {
  runDir: string;
  socketDir: string;
  cgroups: Cgroups;
  isLive: (id: string) => boolean;
}): Promise<string[]> {
  const { runDir, socketDir, cgroups, isLive } = from;
  const known = [...folders(runDir), ...cgroups.list(), ...folders(socketDir)];
  const ids = [...new Set(known)].filter((id) => !isLive(id));
  for (const id of ids) {
    for (const pid of recordedProcesses(join(runDir, id))) kill(pid);
    cgroups.open(id).kill();
  }
  for (const id of ids) await cgroups.open(id).remove();
  await freeDisks(ids.map((id) => join(runDir, id)));
  for (const id of ids) {
    await rm(join(socketDir, id), { recursive: true, force: true });
    await rm(join(runDir, id), { recursive: true, force: true });
  }
  return ids;
}

/** Only a process that still has the start time we wrote is ours: pids are used again. */
function recordedProcesses(folder: string): number[] {
  try {
    const started = Started.parse(JSON.parse(readFileSync(join(folder, "started.json"), "utf8")));
    return started.processes.filter(({ pid, startTime: at }) => startTime(pid) === at).map(({ pid }) => pid);
  } catch {
    return [];
  }
}

/** Loop devices free themselves when the last mount goes, which happens as the processes die; a stuck one is told to. */
async function freeDisks(dirs: string[]): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const held = loopDevices(dirs);
    if (held.length === 0) return;
    if (tries === 50) for (const device of held) execFileSync("losetup", ["-d", device], { stdio: "ignore" });
    await pause(tries < 20 ? 5 : 50);
  }
}

/** The loop devices whose image lies, or lay, in one of these folders. */
export function loopDevices(dirs: readonly string[]): string[] {
  return readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .filter((name) => {
      const file = `/sys/block/${name}/loop/backing_file`;
      const image = existsSync(file) ? read(file) : "";
      return dirs.some((dir) => image.startsWith(`${dir}/`));
    })
    .map((name) => `/dev/${name}`);
}

function startTime(pid: number): string | undefined {
  const stat = read(`/proc/${pid}/stat`);
  // The name may hold spaces and brackets; the fields after its last bracket are plain.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    return;
  }
}

function folders(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
