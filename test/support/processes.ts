import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { DoorFacts } from "./door.ts";

/** A process as it can be told from a later one of the same number. */
export interface Known {
  pid: number;
  startedAt: string;
}

/** The process of a trusted function, as its engine wrote it down. */
export function functionPid(door: Pick<DoorFacts, "dataDir">, functionName: string): number {
  const db = new DatabaseSync(join(door.dataDir, "engine.db"), { readOnly: true });
  try {
    const row = db.prepare("SELECT pid FROM processes WHERE function = ? ORDER BY rowid DESC").get(functionName);
    return Number(row?.["pid"] ?? 0);
  } finally {
    db.close();
  }
}

/** Everything that a process started and what that started, itself included. */
export function familyOf(ancestor: number): Known[] {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const children = Map.groupBy(all, (pid) => Number(statOf(pid)[1]));
  const family: Known[] = [];
  const queue = [String(ancestor)];
  for (let pid = queue.pop(); pid !== undefined; pid = queue.pop()) {
    family.push({ pid: Number(pid), startedAt: statOf(pid)[19] ?? "" });
    queue.push(...(children.get(Number(pid)) ?? []));
  }
  return family;
}

/** Which of these still run. A number that another process got since is none of them, nor is a dead one that the host's init has yet to bury. */
export function stillRunning(processes: readonly Known[]): number[] {
  return processes.filter(({ pid, startedAt }) => runs(statOf(String(pid)), startedAt)).map(({ pid }) => pid);
}

function runs(stat: readonly string[], startedAt: string): boolean {
  return startedAt !== "" && stat[19] === startedAt && !["Z", "X"].includes(stat[0] ?? "");
}

/** The most memory that a process ever had. */
export function peakMiB(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

// The fields after the name, which may hold spaces and brackets: state, parent, … and the start as the twentieth.
function statOf(pid: string): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}
