import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Controller, type Limits, oldSettings, unifiedSettings, weights } from "./group-settings.ts";
import { boundTogether, type Place, widenTables } from "./together.ts";
import { type Freezer, openFreezer } from "./freezer.ts";
import { turns } from "./turns.ts";

export interface GroupUsage {
  cpuMs: number;
  memoryBytes: number;
  memoryPeakBytes: number;
  oomKills: number;
  processes: number;
}

/** The groups of one instance, one in each hierarchy that is used. */
export interface Group extends Freezer {
  /** Whoever writes `0` into each of these is in the group, and so is all that it starts. */
  readonly entrances: string[];
  /** Where the kernel counts this group's memory kills; absent where memory is not limited. */
  memoryEvents(): string | undefined;
  usage(): GroupUsage;
  members(): number[];
  kill(): void;
  /** Waits for the last member to be gone, and ends one that stays since its monitor died beside its birth; removing twice is one removal. */
  remove(): Promise<void>;
}

export interface Cgroups {
  readonly flavour: "v1" | "v2" | "hybrid" | "none";
  /** Why a limit cannot be had; absent when it can. */
  readonly missing: Partial<Record<Controller, string>>;
  /** Why the kernel's own tables have little room; absent when they have much. */
  readonly narrow: string | undefined;
  /** Why not all sandboxes together are bounded; absent when they are. */
  readonly unbounded: string | undefined;
  create(id: string, limits: Limits): Group;
  open(id: string): Group;
  list(): string[];
  close(): Promise<void>;
}

/** The hierarchies of this host: where each controller is mounted, and the unified one beside or instead of them. */
interface Hierarchies {
  v1: Map<string, string>;
  unified: string | undefined;
}

export function findHierarchies(mounts = readFileSync("/proc/self/mounts", "utf8")): Hierarchies {
  const v1 = new Map<string, string>();
  let unified: string | undefined;
  for (const line of mounts.split("\n")) {
    const [, place = "", kind, options = ""] = line.split(" ");
    if (kind === "cgroup2") unified ??= place;
    if (kind !== "cgroup") continue;
    for (const option of options.split(",")) if (!v1.has(option)) v1.set(option, place);
  }
  return { v1, unified };
}

/** Opens the control groups of this host under one parent of our name, so that nothing else is ever touched. */
export function openCgroups(parent: string, hierarchies = findHierarchies()): Cgroups {
  const { v1, unified } = hierarchies;
  const owner = (controller: Controller) => v1.get(controller) ?? unified;
  const missing: Partial<Record<Controller, string>> = {};
  const roots = new Set<string>();
  if (unified) prepareUnified(unified, parent, missing, roots);
  for (const controller of ["memory", "pids", "cpu"] as const) {
    const place = owner(controller);
    if (!place) missing[controller] = "no control group hierarchy offers it";
    else if (v1.has(controller)) prepare(place, parent, controller, missing, roots);
    else if (!offers(join(place, parent), controller)) missing[controller] ??= "the unified hierarchy does not offer it";
  }
  // Where the unified hierarchy is there it counts cpu time for every group; elsewhere the old controller must.
  const cpuacct = v1.get("cpuacct");
  if (!unified && cpuacct) prepare(cpuacct, parent, "cpu", {}, roots);
  const freezer = unified ? undefined : v1.get("freezer");
  if (freezer) prepare(freezer, parent, "cpu", {}, roots);
  const place = (controller: Controller) => owner(controller) ?? "";
  const layout: Layout = { parent, roots: [...roots], place, unified, cpuacct, freezer, turn: turns(1) };
  return {
    flavour: v1.has("memory") ? (unified ? "hybrid" : "v1") : unified ? "v2" : "none",
    missing,
    // Wider tables come first: how many processes there may be is bounded by them.
    narrow: widenTables(),
    unbounded: boundTogether((controller) => (missing[controller] ? undefined : placeOf(layout, controller))),
    create: (id, limits) => createGroup(layout, missing, id, limits),
    open: (id) => openGroup(layout, id),
    list: () => [...new Set(layout.roots.flatMap((root) => folders(join(root, parent))))],
    close: async () => {
      for (const root of layout.roots) await removeFolder(join(root, parent));
    },
  };
}

interface Layout {
  parent: string;
  roots: string[];
  place: (controller: Controller) => string;
  unified: string | undefined;
  cpuacct: string | undefined;
  /** The old freezer, where there is no unified hierarchy. */
  freezer: string | undefined;
  /** One group at a time gives memory back: the kernel holds on to a thread for as long as that takes. */
  turn: <T>(work: () => Promise<T>) => Promise<T>;
}

function placeOf({ place, parent, unified }: Layout, controller: Controller): Place {
  return { folder: join(place(controller), parent), unified: place(controller) === unified };
}

function prepare(place: string, parent: string, controller: Controller, missing: Cgroups["missing"], roots: Set<string>) {
  try {
    mkdirSync(join(place, parent), { recursive: true });
    roots.add(place);
  } catch (error) {
    missing[controller] = `${place}: ${(error as Error).message}`;
  }
}

/** `favordynmods` makes entering a group a hundred times cheaper; a host that refuses it is only slower. */
function prepareUnified(place: string, parent: string, missing: Cgroups["missing"], roots: Set<string>) {
  try {
    enable(place);
    mkdirSync(join(place, parent), { recursive: true });
    enable(join(place, parent));
    roots.add(place);
  } catch (error) {
    for (const controller of ["memory", "pids", "cpu"] as const) {
      if (offers(place, controller)) missing[controller] = `${place}: ${(error as Error).message}`;
    }
  }
  try {
    execFileSync("mount", ["-o", "remount,favordynmods", place], { stdio: "ignore" });
  } catch {
    return;
  }
}

function enable(folder: string) {
  const wanted = (["memory", "pids", "cpu"] as const).filter((controller) => offers(folder, controller));
  const request = wanted.map((controller) => `+${controller}`).join(" ");
  if (!request) return;
  try {
    writeFileSync(join(folder, "cgroup.subtree_control"), request);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
    // A group with processes of its own cannot share out controllers: as the first in a container we step aside.
    const aside = join(folder, "cleanroom-host");
    mkdirSync(aside, { recursive: true });
    for (const pid of processesOf(folder)) attempt(() => writeFileSync(join(aside, "cgroup.procs"), String(pid)));
    writeFileSync(join(folder, "cgroup.subtree_control"), request);
  }
}

function offers(folder: string, controller: Controller): boolean {
  return (read(join(folder, "cgroup.controllers")) ?? "").trim().split(" ").includes(controller);
}

function createGroup(layout: Layout, missing: Cgroups["missing"], id: string, limits: Limits): Group {
  const group = openGroup(layout, id);
  for (const root of layout.roots) mkdirSync(join(root, layout.parent, id));
  for (const controller of ["memory", "pids", "cpu"] as const) {
    if (missing[controller]) continue;
    const place = layout.place(controller);
    const settings = (place === layout.unified ? unifiedSettings(limits) : oldSettings(limits))[controller];
    for (const [file, value, optional] of settings) {
      const path = join(place, layout.parent, id, file);
      if (!optional || existsSync(path)) writeFileSync(path, value);
    }
  }
  if (limits.wanted && !missing.cpu) giveWay(layout, id, limits.cpu, limits.wanted);
  return group;
}

/** Who has an instance goes before one that is made for somebody who may come. */
function giveWay(layout: Layout, id: string, cpu: number, wanted: Promise<void>): void {
  const place = layout.place("cpu");
  const { unwanted, wanted: full } = weights(cpu, place === layout.unified);
  const weigh = ([file, value]: typeof full) => writeFileSync(join(place, layout.parent, id, file), value);
  weigh(unwanted);
  // By then it may be gone.
  void wanted.then(() => attempt(() => weigh(full)));
}

function openGroup(layout: Layout, id: string): Group {
  const folder = (root: string) => join(root, layout.parent, id);
  const unified = layout.unified && layout.roots.includes(layout.unified) ? folder(layout.unified) : undefined;
  const members = () => [...new Set(layout.roots.flatMap((root) => processesOf(folder(root))))];
  const memory = folder(layout.place("memory"));
  const events = ["memory.oom_control", "memory.events"].map((name) => join(memory, name));
  const freezer = openFreezer({ unified, old: layout.freezer && folder(layout.freezer), memory, turn: layout.turn });
  const kill = () => {
    if (unified && attempt(() => writeFileSync(join(unified, "cgroup.kill"), "1"))) return;
    for (const pid of members()) attempt(() => process.kill(pid, "SIGKILL"));
    freezer.thaw();
  };
  return {
    ...freezer,
    entrances: layout.roots.map((root) => join(folder(root), "cgroup.procs")),
    memoryEvents: () => events.find((path) => existsSync(path)),
    members,
    usage: () => ({ ...memoryUsage(memory), ...counts(layout, folder, unified) }),
    kill,
    remove: async () => {
      await freezer.reclaimed();
      for (const root of layout.roots) await removeFolder(folder(root), kill);
    },
  };
}

function memoryUsage(folder: string) {
  const old = read(join(folder, "memory.usage_in_bytes"));
  const [now, peak, events] =
    old === undefined
      ? ["memory.current", "memory.peak", "memory.events"]
      : ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"];
  return {
    memoryBytes: number(read(join(folder, now))),
    memoryPeakBytes: number(read(join(folder, peak))),
    oomKills: number(/^oom_kill (\d+)$/m.exec(read(join(folder, events)) ?? "")?.[1]),
  };
}

function counts(layout: Layout, folder: (root: string) => string, unified: string | undefined) {
  const microseconds = unified && /^usage_usec (\d+)$/m.exec(read(join(unified, "cpu.stat")) ?? "")?.[1];
  const nanoseconds = layout.cpuacct ? read(join(folder(layout.cpuacct), "cpuacct.usage")) : undefined;
  return {
    cpuMs: microseconds ? number(microseconds) / 1000 : number(nanoseconds) / 1e6,
    processes: number(read(join(folder(layout.place("pids")), "pids.current"))),
  };
}

async function removeFolder(folder: string, evict?: () => void): Promise<void> {
  for (let tries = 0; ; tries++) {
    if (tries > 0 && tries % 20 === 0) evict?.();
    try {
      rmdirSync(folder);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return;
      if (code !== "EBUSY" || tries >= 400) throw error;
    }
    await pause(tries < 20 ? 1 : 10);
  }
}

function processesOf(folder: string): number[] {
  const text = read(join(folder, "cgroup.procs")) ?? "";
  return text.split("\n").filter(Boolean).map(Number);
}

function folders(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function number(text: string | undefined): number {
  const value = Number.parseInt(text ?? "", 10);
  return Number.isFinite(value) ? value : 0;
}

function attempt(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}
