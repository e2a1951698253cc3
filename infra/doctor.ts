import { existsSync } from "node:fs";
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { freemem, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { LocalConfig } from "./config.ts";
import { currentRoot } from "./image/root.ts";
import { openCgroups, findHierarchies } from "#infra/local/sealed/cgroups.ts";
import { holdDataDir } from "./local/lock.ts";
import { isFree, portsOf } from "./local/ports.ts";
import type { IsolationLayer } from "#infra/local/sealed/maker.ts";
import { createSealedMaker } from "#infra/local/sealed/sealed.ts";

/** One thing this machine must give: whether it does, what was found, and what would put it right. */
export interface Check {
  need: string;
  state: "ok" | "degraded" | "missing";
  found: string;
  fix?: string;
}

const GIB = 1024 ** 3;
const SETUP = "npm run setup";
const PROGRAMS: Record<string, { paths: string[]; package: string }> = {
  bubblewrap: { paths: ["/usr/bin/bwrap"], package: "bubblewrap" },
  python3: { paths: ["/usr/bin/python3"], package: "python3" },
  "mkfs.ext4": { paths: ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"], package: "e2fsprogs" },
  openssl: { paths: ["/usr/bin/openssl"], package: "openssl" },
};

/** Tries everything a sandbox needs on this machine, by making one where that is the only honest test. */
export async function doctor(config: LocalConfig): Promise<Check[]> {
  const programs = Object.entries(PROGRAMS).map(([name, program]) => checkProgram(name, program));
  const isReady = programs.every(({ state }) => state === "ok") && process.getuid?.() === 0;
  return [
    checkNode(),
    checkRights(),
    ...programs,
    checkRoot(config),
    await checkCgroups(),
    ...(isReady ? await checkIsolation(config) : [notTried()]),
    ...(await checkPorts(config)),
    await checkDisk(config.dataDir),
    checkMemory(),
  ];
}

function checkNode(): Check {
  const found = process.version;
  if (Number.parseInt(found.slice(1), 10) >= 24) return { need: "Node 24", state: "ok", found };
  return { need: "Node 24", state: "missing", found, fix: SETUP };
}

function checkRights(): Check {
  if (process.getuid?.() === 0) return { need: "root", state: "ok", found: "uid 0" };
  return { need: "root", state: "missing", found: `uid ${process.getuid?.()}`, fix: "run the engine as root: sudo npm start" };
}

function checkProgram(name: string, program: { paths: string[]; package: string }): Check {
  const found = program.paths.find((path) => existsSync(path));
  if (found) return { need: name, state: "ok", found };
  return { need: name, state: "missing", found: "not installed", fix: `sudo apt-get install -y ${program.package}` };
}

function checkRoot(config: LocalConfig): Check {
  const need = "sandbox root";
  try {
    const { source, root } = currentRoot(config);
    if (source !== "host") return { need, state: "ok", found: root };
    return { need, state: "degraded", found: "this host's /usr, read-only", fix: `${SETUP} (as root, with apt)` };
  } catch (error) {
    return { need, state: "missing", found: (error as Error).message, fix: SETUP };
  }
}

async function checkCgroups(): Promise<Check> {
  const need = "control groups";
  const hierarchies = findHierarchies();
  const flavour = hierarchies.v1.has("memory")
    ? hierarchies.unified
      ? "v1 with v2 beside it"
      : "v1"
    : hierarchies.unified
      ? "v2"
      : "none";
  if (process.getuid?.() !== 0) return { need, state: "degraded", found: `${flavour}, not tried without root`, fix: "run this as root" };
  const cgroups = openCgroups(`cleanroom-doctor-${process.pid}`, hierarchies);
  await cgroups.close();
  const lacking = Object.entries(cgroups.missing).map(([controller, why]) => `${controller}: ${why}`);
  if (lacking.length === 0) return { need, state: "ok", found: flavour };
  const fix = "mount control groups read-write; in a container: --privileged --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup";
  return { need, state: "missing", found: `${flavour}; ${lacking.join("; ")}`, fix };
}

/** Layers that are not part of the floor: two have a substitute that seals as well, and one lies under others. */
const DEGRADED: Record<string, string> = {
  "root owned by the sandbox": "keep the data folder on ext4, xfs or btrfs, with Linux 5.19 or newer",
  "disk on the host's disk": "give the engine loop devices; in a container: --privileged -v /dev:/dev",
  "file and signal rules (Landlock)": "Linux 5.13 or newer with landlock among its security modules (lsm= on the boot line)",
};
const FLOOR_FIX = "Linux 5.12 or newer with user namespaces and seccomp; in a container: --privileged";

async function checkIsolation(config: LocalConfig): Promise<Check[]> {
  const dataDir = await mkdtemp(join(tmpdir(), "cleanroom-doctor-"));
  try {
    await using maker = await createSealedMaker({ dataDir, root: currentRoot(config), allowWeak: true });
    return maker.isolation.layers.map(checkLayer);
  } catch (error) {
    return [{ need: "isolation", state: "missing", found: (error as Error).message, fix: FLOOR_FIX }];
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

function checkLayer({ name, on, why }: IsolationLayer): Check {
  if (on) return { need: name, state: "ok", found: "holds in a sandbox made to try it" };
  const substitute = DEGRADED[name];
  return { need: name, state: substitute ? "degraded" : "missing", found: why ?? "off", fix: substitute ?? FLOOR_FIX };
}

function notTried(): Check {
  return { need: "isolation", state: "missing", found: "not tried: the needs above come first", fix: SETUP };
}

async function checkPorts(config: LocalConfig): Promise<Check[]> {
  const runs = isRunning(config.dataDir);
  return await Promise.all(
    Object.entries(portsOf(config)).map(async ([variable, port]): Promise<Check> => {
      const need = `port ${port}`;
      if (await isFree(port)) return { need, state: "ok", found: "free" };
      if (runs) return { need, state: "ok", found: "taken while a Cleanroom runs on this data folder" };
      return { need, state: "missing", found: "taken by another program", fix: `set ${variable} to a free port` };
    }),
  );
}

function isRunning(dataDir: string): boolean {
  if (!existsSync(join(dataDir, "engine.lock"))) return false;
  try {
    holdDataDir(dataDir)[Symbol.dispose]();
    return false;
  } catch {
    return true;
  }
}

async function checkDisk(dataDir: string): Promise<Check> {
  let dir = dataDir;
  while (!existsSync(dir)) dir = dirname(dir);
  const { bavail, bsize } = await statfs(dir);
  return amount("disk space", bavail * bsize, { least: 2 * GIB, good: 10 * GIB }, `free space under ${dir}, or set CLEANROOM_DATA`);
}

function checkMemory(): Check {
  return amount("memory", freemem(), { least: GIB, good: 4 * GIB }, "free memory, or keep fewer sandboxes at once");
}

function amount(need: string, bytes: number, { least, good }: { least: number; good: number }, fix: string): Check {
  const found = `${(bytes / GIB).toFixed(1)} GiB free`;
  if (bytes >= good) return { need, state: "ok", found };
  return { need, state: bytes >= least ? "degraded" : "missing", found, fix };
}
