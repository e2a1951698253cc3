import { existsSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { Cgroups } from "./cgroups.ts";
import type { Controller } from "./group-settings.ts";
import type { Isolation, IsolationLayer, InstanceUsage } from "./maker.ts";
import { NO_NAMESPACES } from "./profile.ts";

/** What this kernel may lack without a sandbox being open: each has a substitute, and `why` says what was missing. */
export interface Features {
  idmap: boolean;
  loop: boolean;
  why: { idmap?: string; loop?: string };
}

/** The namespaces of an instance, by the kernel's name and by ours. */
export const NAMESPACES = {
  user: "user",
  pid: "process",
  mnt: "mount",
  net: "network",
  ipc: "ipc",
  uts: "host name",
  cgroup: "control group",
};
const LIMITS: Record<Controller, string> = { memory: "memory limit", pids: "process limit", cpu: "cpu limit" };
/** Everything but these is the floor below which no untrusted code runs. */
const BEYOND = {
  idmap: "root owned by the sandbox",
  loop: "disk on the host's disk",
  landlock: "file and signal rules (Landlock)",
  together: "bounds on all sandboxes together",
  tables: "room in the kernel's tables",
};
/** A set of capabilities without any, as the kernel writes it. */
export const POWERLESS = "0000000000000000";

const PROBE = `
for n in ${Object.keys(NAMESPACES).join(" ")}; do echo "ns-$n $(readlink /proc/self/ns/$n)"; done
while read -r key value; do case $key in CapPrm:|CapEff:|CapBnd:|NoNewPrivs:|Seccomp:) echo "$key $value";; esac; done </proc/self/status
read -r inside outside count </proc/self/uid_map; echo "uids $inside-$outside-$count"
(: >/proc/sys/kernel/core_pattern) 2>/dev/null && echo "core_pattern open"
[ -s /proc/kallsyms ] && echo "kallsyms open"
unshare --user true 2>/dev/null && echo "unshare open"
echo "userns $(cat /proc/sys/user/max_user_namespaces)"
(: >/usr/cleanroom-probe) 2>/dev/null
echo "disk $(stat -f -c %b-%S /)"
echo "devices $(tail -n +3 /proc/net/dev | grep -cv lo:)"
echo "env $(tr -d '\\0' </proc/1/environ | wc -c)"
echo "done yes"
`;

interface Probed {
  cgroups: Cgroups;
  features: Features;
  root: string;
  /** A program inside that gives up all rights as the workspace does, and then becomes the program that follows. */
  lock: readonly string[];
  run: (command: string[], id: string) => Promise<{ output: string; usage: InstanceUsage }>;
}

/** Makes a throw-away instance and asks it what it can see and do: a layer is on when it was seen to hold. */
export async function probeIsolation(probed: Probed): Promise<Isolation> {
  const { cgroups, features } = probed;
  const { output, usage } = await runAdapting(probed);
  const facts = new Map(output.split("\n").map((line) => line.replace(":", "").split(/\s+/, 2) as [string, string]));
  if (!facts.has("done")) throw new Error(`The probe of the isolation did not finish: ${output.trim()}`);
  const layers: IsolationLayer[] = [
    ...Object.entries(NAMESPACES).map(([kind, name]) => layer(`${name} namespace`, isOwn(kind, facts), "it is shared with the host")),
    layer("uids of its own", /^0-[1-9]\d*-65536$/.test(facts.get("uids") ?? ""), "its uids are the host's"),
    layer("no capabilities", facts.get("CapPrm") === POWERLESS && facts.get("CapEff") === POWERLESS, "code keeps capabilities"),
    layer("no capabilities to gain", facts.get("CapBnd") === POWERLESS, "the bounding set holds some"),
    layer("no new privileges", facts.get("NoNewPrivs") === "1", "programs may gain privileges"),
    layer("system call filter", facts.get("Seccomp") === "2" && !facts.has("unshare"), "the kernel did not take it"),
    layer(NO_NAMESPACES, facts.get("userns") === "0", "code can make some"),
    layer("shared root read-only", !existsSync(join(probed.root, "usr/cleanroom-probe")), "a write reached it"),
    layer("disk quota", isSmall(facts.get("disk")), "the disk is the host's"),
    ...Object.entries(LIMITS).map(([kind, name]) => limit(name, cgroups.missing[kind as Controller])),
    layer("counted by its control group", usage.memoryPeakBytes > 0, "the group saw no memory used"),
    layer("masked proc", !facts.has("kallsyms") && !facts.has("core_pattern"), "the host's kernel can be read or set"),
    layer("no network", facts.get("devices") === "0", "it has a network device"),
    layer("empty environment", facts.get("env") === "0", "the host's environment can be read"),
    layer(BEYOND.idmap, features.idmap, `${features.why.idmap}; system files belong to nobody inside`),
    layer(BEYOND.loop, features.loop, `${features.why.loop}; disks are in memory`),
    layer(BEYOND.together, cgroups.unbounded === undefined, cgroups.unbounded ?? ""),
    layer(BEYOND.tables, cgroups.narrow === undefined, cgroups.narrow ?? ""),
    layer(BEYOND.landlock, Number(facts.get("landlock") ?? 0) > 0, "this kernel has none"),
  ];
  const beyond = new Set<string>(Object.values(BEYOND));
  return { strength: layers.every(({ on, name }) => on || beyond.has(name)) ? "sealed" : "weak", layers };
}

/** Tries with everything, and again without the one feature that the failure names. */
async function runAdapting({ features, lock, run }: Probed) {
  for (;;) {
    try {
      return await run([...lock, "/bin/sh", "-c", PROBE], "probe");
    } catch (error) {
      const { message } = error as Error;
      const feature = /idmap/.test(message) ? "idmap" : /loop|ext4/.test(message) ? "loop" : undefined;
      if (!feature || !features[feature]) throw error;
      features[feature] = false;
      features.why[feature] = message;
    }
  }
}

function layer(name: string, on: boolean, why: string): IsolationLayer {
  return on ? { name, on } : { name, on, why };
}

function limit(name: string, missing: string | undefined): IsolationLayer {
  return missing ? { name, on: false, why: missing } : { name, on: true };
}

function isOwn(kind: string, facts: Map<string, string>): boolean {
  const inside = facts.get(`ns-${kind}`);
  return inside !== undefined && inside !== readlinkSync(`/proc/self/ns/${kind}`);
}

/** The probe's disk has 64 MiB; a limit that holds shows as a file system no larger. */
function isSmall(disk: string | undefined): boolean {
  const [blocks = Number.NaN, size = Number.NaN] = (disk ?? "").split("-").map(Number);
  return blocks * size > 0 && blocks * size <= 128 * 1024 * 1024;
}

/** The refusal, with what would lift it. */
export function refuseWeak({ layers }: Isolation): Error {
  const off = layers.filter(({ on }) => !on);
  const lines = off.map(({ name, why }) => `  ${name}: ${why}`);
  return new Error(
    `This host cannot seal a sandbox; missing:\n${lines.join("\n")}\n` +
      "Run on a Linux kernel 5.12 or newer as root with control groups mounted read-write (in a container: --privileged --cgroupns=host), " +
      "or accept weaker isolation for code you trust with CLEANROOM_ALLOW_WEAK_ISOLATION=1",
  );
}
