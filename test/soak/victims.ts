import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { DoorFacts } from "#support/door.ts";
import { functionPid } from "#support/processes.ts";

/** What can be killed. All but the first five are parts of one sandbox, or of an instance that waits for one. */
export type Victim = "engine" | "gateway" | "worker" | "maker" | "zygote" | "monitor" | "init" | "seed" | "server" | "interpreter";

export interface Target {
  pid: number;
  startedAt: string;
  instance?: string;
}

interface Process extends Target {
  parent: number;
  name: string;
}

/** Everything of one kind below an engine, itself included; nothing else on the host is ever among it. */
export function targetsOf(door: Pick<DoorFacts, "dataDir" | "pid">, victim: Victim): Target[] {
  const kin = kinOf(door);
  const ofParent = (parents: readonly Process[]) => kin.filter(({ parent }) => parents.some(({ pid }) => pid === parent));
  const engine = kin.filter(({ pid }) => pid === door.pid);
  if (victim === "engine") return engine;
  if (victim === "gateway" || victim === "worker") return kin.filter(({ pid }) => pid === functionPid(door, `cleanroom-${victim}`));
  const makers = ofParent(engine).filter(({ pid }) => commandOf(pid).includes("maker/main.py"));
  if (victim === "maker") return makers;
  const zygotes = ofParent(makers).filter(({ pid }) => commandOf(pid).includes("zygote.py"));
  if (victim === "zygote") return zygotes;
  const monitors = ofParent(makers).filter(({ instance }) => instance !== undefined);
  if (victim === "monitor") return monitors;
  if (victim === "init") return ofParent(monitors);
  const seeds = ofParent(zygotes).filter(({ instance }) => instance !== undefined);
  if (victim === "seed") return seeds;
  const name = victim === "server" ? "workspace" : "python3";
  return ofParent(seeds).filter((child) => child.name === name);
}

/** Kills it if it is still the process that was found. */
export function killNow({ pid, startedAt }: Target): boolean {
  if (readProcess(pid, "")?.startedAt !== startedAt) return false;
  try {
    return process.kill(pid, "SIGKILL");
  } catch {
    return false;
  }
}

function kinOf({ dataDir, pid: ancestor }: Pick<DoorFacts, "dataDir" | "pid">): Process[] {
  const groups = `/cleanroom-${createHash("sha256").update(dataDir).digest("hex").slice(0, 10)}/`;
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name), groups) ?? []);
  const children = Map.groupBy(all, ({ parent }) => parent);
  const kin = all.filter(({ pid }) => pid === ancestor);
  for (const { pid } of kin) kin.push(...(children.get(pid) ?? []));
  return kin;
}

function readProcess(pid: number, groups: string): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z" || state === "X") return undefined;
    const group = groups === "" ? "" : readFileSync(`/proc/${pid}/cgroup`, "utf8");
    const at = group.indexOf(groups);
    const instance = groups === "" || at < 0 ? undefined : /^[^/\n]+/.exec(group.slice(at + groups.length))?.[0];
    return {
      pid,
      parent: Number(parent),
      // The start is the twentieth field after the name, of which two are taken off.
      startedAt: rest[17] ?? "",
      name: stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")")),
      ...(instance === undefined ? {} : { instance }),
    };
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch {
    return "";
  }
}
