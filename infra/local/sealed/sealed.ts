import { createHash } from "node:crypto";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { rm, statfs } from "node:fs/promises";
import { arch } from "node:os";
import { join } from "node:path";
import { openCgroups, type Cgroups, type Group, type GroupUsage } from "./cgroups.ts";
import { openDisks, type Disks } from "./disks.ts";
import { startHelper, type Birth, type Death, type Helper, type Making, type Order } from "./helper.ts";
import { missingLayers, ownNamespaces } from "./inspection.ts";
import { probeIsolation, refuseWeak, type Features } from "./isolation.ts";
import type { Instance, InstanceEnd, InstanceSpec, InstanceUsage, Isolation, Maker } from "./maker.ts";
import { isolationOf, sharedMiB } from "./profile.ts";
import { seccompFilters } from "./seccomp.ts";
import { startedRecord, sweepLeftovers } from "./sweep.ts";
import { turns } from "./turns.ts";
import { uidRanges } from "./uids.ts";

export interface SealedMakerOptions {
  dataDir: string;
  /** A root to try the isolation with, before anything untrusted runs in it. */
  root: {
    root: string;
    binds: Readonly<Record<string, string>>;
    /** The program in it by which code gives up its rights. */
    lock: readonly string[];
  };
  /** Without it a host that cannot give the whole floor is refused. */
  allowWeak?: boolean;
  python?: string;
}

/** Folder that no sandbox can name, and short enough for a socket's address to hold it. */
const SOCKET_ADDRESS_BYTES = 107;
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const CONCURRENT_MAKES = 2;

interface Workshop {
  runDir: string;
  socketDir: string;
  cgroups: Cgroups;
  disks: Disks;
  features: Features;
  /** What the probe found; nothing is on before it. */
  isolation: Isolation;
  namespaces: ReadonlyMap<string, string>;
  helper: () => Promise<Helper>;
  closeHelper: () => Promise<void>;
  live: Map<string, Pick<Instance, "destroy">>;
  takeUids: () => { base: number; free: () => void };
  turn: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Makes instances from Linux namespaces, control groups and a system call filter, having proved each on this host. */
export async function createSealedMaker(options: SealedMakerOptions): Promise<Maker> {
  refuseUnprivileged();
  const workshop = openWorkshop(options);
  try {
    const report = await probeIsolation({
      cgroups: workshop.cgroups,
      features: workshop.features,
      root: options.root.root,
      lock: options.root.lock,
      run: (command, id) => runProbe(workshop, options, command, id),
    });
    if (report.strength === "weak" && !options.allowWeak) throw refuseWeak(report);
    workshop.isolation = report;
    return {
      isolation: report,
      make: (spec, signal) => make(workshop, spec, signal),
      sweep: () => sweepLeftovers({ ...workshop, isLive: (id) => workshop.live.has(id) }),
      [Symbol.asyncDispose]: () => close(workshop),
    };
  } catch (error) {
    await close(workshop);
    throw error;
  }
}

function refuseUnprivileged(): void {
  if (process.getuid?.() === 0) return;
  throw new Error(
    "Sandboxes need root to be sealed (uid ranges, mounts, control groups): run the engine as root, for example `sudo npm start`",
  );
}

function openWorkshop(options: SealedMakerOptions): Workshop {
  const runDir = join(options.dataDir, "run");
  const hash = createHash("sha256").update(options.dataDir).digest("hex").slice(0, 10);
  const longest = Buffer.byteLength(join(runDir, "i".repeat(64), "http.sock"));
  const socketDir = longest <= SOCKET_ADDRESS_BYTES ? runDir : join("/run", `cleanroom-${hash}`);
  for (const dir of [options.dataDir, runDir, socketDir]) mkdirSync(dir, { recursive: true, mode: 0o700 });
  let helper: Promise<Helper> | undefined;
  return {
    runDir,
    socketDir,
    cgroups: openCgroups(`cleanroom-${hash}`),
    disks: openDisks(join(options.dataDir, "disks")),
    features: { idmap: true, loop: true, why: {} },
    isolation: { strength: "weak", layers: [] },
    namespaces: ownNamespaces(),
    live: new Map(),
    takeUids: uidRanges(Number.parseInt(hash.slice(0, 6), 16)),
    turn: turns(CONCURRENT_MAKES),
    helper: () => {
      helper ??= startHelper(options.python ?? "/usr/bin/python3", seccompFilters(architecture())).then((started) => {
        // A helper that dies takes its instances along; the next instance gets a new one.
        void started.gone.then(() => (helper = undefined));
        return started;
      });
      return helper;
    },
    closeHelper: async () => (await helper?.catch(() => undefined))?.close(),
  };
}

function architecture() {
  const name = arch();
  if (name === "x64" || name === "arm64") return name;
  throw new Error(`No system call filter exists for ${name}: use an x64 or arm64 machine`);
}

async function close(workshop: Workshop): Promise<void> {
  await Promise.all([...workshop.live.values()].map((instance) => instance.destroy()));
  await workshop.closeHelper();
  await workshop.cgroups.close();
  if (workshop.socketDir !== workshop.runDir) await rm(workshop.socketDir, { recursive: true, force: true });
}

async function make(workshop: Workshop, spec: InstanceSpec, signal?: AbortSignal): Promise<Instance> {
  const { instance, birth } = await begin(workshop, spec, signal);
  const stop = () => void instance.destroy();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await birth;
    signal?.throwIfAborted();
    return instance;
  } catch (error) {
    await instance.destroy();
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** The intent (the folder) is on disk before anything else exists; each thing made is undone when the next one fails. */
async function begin(workshop: Workshop, spec: InstanceSpec, signal?: AbortSignal) {
  signal?.throwIfAborted();
  if (!ID.test(spec.id)) throw new RangeError(`An instance cannot be called ${JSON.stringify(spec.id)}`);
  if (workshop.live.has(spec.id)) throw new Error(`The instance ${spec.id} exists already`);
  const dir = join(workshop.runDir, spec.id);
  const socketDir = join(workshop.socketDir, spec.id);
  const undo: (() => unknown)[] = [];
  workshop.live.set(spec.id, { destroy: async () => undefined });
  undo.push(() => workshop.live.delete(spec.id));
  try {
    mkdirSync(dir, { mode: 0o700 });
    undo.push(() => rm(dir, { recursive: true, force: true }));
    writeFileSync(join(dir, "intent.json"), JSON.stringify({ id: spec.id, madeBy: process.pid, at: Date.now() }));
    mkdirSync(socketDir, { recursive: true, mode: 0o700 });
    undo.push(() => rm(socketDir, { recursive: true, force: true }));
    const uids = workshop.takeUids();
    undo.push(uids.free);
    const group = workshop.cgroups.create(spec.id, spec);
    undo.push(() => group.remove());
    const order = await orderFor(workshop, spec, { dir, socket: join(socketDir, "http.sock"), uidBase: uids.base, group });
    const helper = await workshop.helper();
    const born = Promise.withResolvers<Making>();
    const birth = workshop.turn(async () => {
      const making = helper.make(order);
      born.resolve(making);
      const started = await making.started;
      writeFileSync(join(dir, "started.json"), startedRecord([started.pid, started.monitor]));
      return started;
    });
    birth.catch(() => undefined);
    const instance = await watch({ workshop, order, group, helper, making: await born.promise, birth, undo });
    return { instance, birth };
  } catch (error) {
    await undoAll(undo);
    throw error;
  }
}

async function orderFor(
  workshop: Workshop,
  spec: InstanceSpec,
  own: { dir: string; socket: string; uidBase: number; group: Group },
): Promise<Order> {
  const { features } = workshop;
  return {
    id: spec.id,
    dir: own.dir,
    socket: own.socket,
    root: spec.root,
    binds: Object.entries(spec.binds),
    image: spec.image ?? null,
    command: spec.command ?? [],
    zygote: spec.zygote ?? null,
    env: spec.env,
    uidBase: own.uidBase,
    cgroups: own.group.entrances,
    memoryEvents: own.group.memoryEvents() ?? null,
    diskTemplate: features.loop ? await workshop.disks.template(spec.diskMiB) : null,
    // A disk in memory is paid from the memory limit, which must leave room to run.
    diskMiB: features.loop ? spec.diskMiB : Math.min(spec.diskMiB, Math.floor(spec.memoryMiB / 2)),
    shmMiB: sharedMiB(spec.memoryMiB, spec.profile),
    profile: spec.profile ?? "plain",
    idmap: features.idmap,
  };
}

interface Watched {
  workshop: Workshop;
  order: Order;
  group: Group;
  helper: Helper;
  making: Making;
  birth: Promise<Birth>;
  undo: (() => unknown)[];
}

/** The instance as its owner sees it. Its last figures are read after its last process is gone and before its group is. */
async function watch({ workshop, order, group, helper, making, birth, undo }: Watched): Promise<Instance & { output: Promise<string> }> {
  let destroyed = false;
  let last: InstanceUsage | undefined;
  let diskBytes = 0;
  const readDisk = async () => {
    const { pid } = await birth;
    const { blocks, bfree, bsize } = await statfs(`/proc/${pid}/root`);
    diskBytes = (blocks - bfree) * bsize;
  };
  const ended = making.ended.then((death) => {
    last = { ...group.usage(), diskBytes };
    return endOf(death, destroyed, last);
  });
  const cleaned = ended.then(() => undoAll(undo));
  cleaned.catch(() => undefined);
  const destroy = async () => {
    if (!destroyed && !last) {
      destroyed = true;
      await readDisk().catch(() => undefined);
      helper.kill(order.id);
      // Its monitor stands still as well, and has to bury it.
      group.thaw();
    }
    await cleaned;
  };
  workshop.live.set(order.id, { destroy });
  return {
    id: order.id,
    socketPath: order.socket,
    ended,
    output: making.ended.then((death) => death.output),
    usage: async () => {
      if (!last) await readDisk().catch(() => undefined);
      return last ?? { ...group.usage(), diskBytes };
    },
    inspect: async () => {
      // A command of its own is not under the workspace's lock, and only tests and the probe run one.
      if (order.zygote === null) return;
      const { seed: pid = Number.NaN } = await birth;
      const missing = missingLayers({ ...order, pid }, workshop.namespaces, isolationOf(workshop.isolation, order.profile));
      if (missing.length > 0) throw new Error(`The instance ${order.id} is not sealed; missing: ${missing.join(", ")}`);
    },
    pause: async () => {
      await group.freeze();
      group.reclaim();
    },
    resume: async () => group.thaw(),
    destroy,
  };
}

function endOf(death: Death, destroyed: boolean, usage: GroupUsage): InstanceEnd {
  const { exitCode } = death;
  if (destroyed) return { reason: "destroyed", exitCode };
  if (exitCode === null || exitCode < 0) return { reason: "killed", exitCode: null };
  if (exitCode === 137 && usage.oomKills > 0) return { reason: "oom", exitCode };
  return { reason: exitCode > 128 ? "killed" : "exited", exitCode };
}

async function runProbe(workshop: Workshop, options: SealedMakerOptions, command: string[], id: string) {
  if (existsSync(join(workshop.runDir, id))) await sweepLeftovers({ ...workshop, isLive: (other) => other !== id });
  const { root, binds } = options.root;
  const spec = { id, root, binds, command, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } };
  const { instance, birth } = await begin(workshop, { ...spec, cpu: 1, memoryMiB: 256, diskMiB: 64, processes: 32 });
  try {
    await birth;
    return { output: await instance.output, usage: await instance.usage() };
  } finally {
    await instance.destroy();
  }
}

async function undoAll(undo: (() => unknown)[]): Promise<void> {
  for (const step of undo.splice(0).toReversed()) await step();
}
