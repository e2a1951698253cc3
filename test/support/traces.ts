import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { DoorFacts } from "./door.ts";

/** What sandboxes of one server leave on its host, by name: instances, their groups, their mounts and their disks. */
export interface Traces {
  instances: string[];
  cgroups: string[];
  mounts: string[];
  disks: string[];
}

/** The instances that a server has now. */
export function instancesOf({ dataDir }: Pick<DoorFacts, "dataDir">): string[] {
  return readdirSync(join(dataDir, "run"));
}

/** What stands of these instances, wherever on the host it is. */
export function tracesOf({ dataDir }: Pick<DoorFacts, "dataDir">, instances: readonly string[]): Traces {
  const ours = new Set(instances);
  return {
    instances: instancesOf({ dataDir }).filter((id) => ours.has(id)),
    cgroups: globSync("/sys/fs/cgroup/{,*/}cleanroom-*/*/").filter((path) =>
      ours.has(path.split("/").findLast((part) => part !== "") ?? ""),
    ),
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(dataDir)),
    disks: readdirSync("/sys/block").filter((name) => readText(`/sys/block/${name}/loop/backing_file`).includes(dataDir)),
  };
}

export const NO_TRACES: Traces = { instances: [], cgroups: [], mounts: [], disks: [] };

/** How many sandboxes a project is counted to have, as the next reservation will find it. */
export function quotaUsed({ dataDir }: Pick<DoorFacts, "dataDir">, projectId: string): number {
  const db = new DatabaseSync(join(dataDir, "tables.db"), { readOnly: true });
  try {
    const row = db.prepare("SELECT value FROM rows WHERE tbl = 'quotas' AND key = ?").get(`${projectId}/sandboxes`);
    return Number(row?.["value"] ?? 0);
  } finally {
    db.close();
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
