import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Profile } from "./profile.ts";

/** What the helper is told to make: every path on the host is absolute. */
export interface Order {
  id: string;
  dir: string;
  socket: string;
  root: string;
  binds: [source: string, target: string][];
  /** The root of an image, which stands beside; null for none. */
  image: string | null;
  command: readonly string[];
  /** The program whose forks populate instances of this root; null where `command` is run instead. */
  zygote: readonly string[] | null;
  env: Readonly<Record<string, string>>;
  uidBase: number;
  cgroups: string[];
  /** The control group's file that counts memory kills, shown to the workspace. */
  memoryEvents: string | null;
  /** Without a template the disk is memory. */
  diskTemplate: string | null;
  diskMiB: number;
  shmMiB: number;
  /** Which of the filters it lives under, and whether it may make namespaces. */
  profile: Profile;
  idmap: boolean;
}

export interface Birth {
  /** The instance's init, as the host numbers it; killing it ends everything inside. */
  pid: number;
  monitor: number;
  /** The zygote's fork, from which all else in the instance descends; none where a command is run. */
  seed?: number;
}

export interface Death {
  /** 128 and more stand for a signal, null for an end that nobody saw. */
  exitCode: number | null;
  output: string;
}

export interface Making {
  /** Rejects when the instance ends before it began. */
  started: Promise<Birth>;
  ended: Promise<Death>;
}

/** The one privileged process that makes instances, so that the engine itself never forks or mounts. */
export interface Helper {
  readonly gone: Promise<void>;
  make(order: Order): Making;
  kill(id: string): void;
  close(): Promise<void>;
}

interface Waiting {
  started: PromiseWithResolvers<Birth>;
  ended: PromiseWithResolvers<Death>;
}

type Message =
  | { event: "ready" }
  | { event: "started"; id: string; pid: number; monitor: number; seed?: number }
  | { event: "ended"; id: string; exitCode: number; output: string };

const UNSEEN: Death = { exitCode: null, output: "the maker ended" };

/** Starts the helper. It must be called from the main thread: instances die with the thread that started it. */
export async function startHelper(python: string, filters: Readonly<Record<Profile, Uint8Array>>): Promise<Helper> {
  const script = fileURLToPath(new URL("maker/main.py", import.meta.url));
  const child = spawn(python, ["-I", "-S", "-B", script, String(process.pid)], {
    env: {},
    // A session of its own keeps the terminal's Ctrl-C for the engine, which then ends instances in order.
    detached: true,
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  const control = child.stdio[3] as Duplex;
  const waiting = new Map<string, Waiting>();
  const ready = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  let isGone = false;
  child.once("error", ready.reject);
  child.once("close", () => {
    isGone = true;
    ready.reject(new Error(`The instance maker did not start: is ${python} there?`));
    for (const [id, pending] of waiting) settle(waiting, id, pending, UNSEEN);
    gone.resolve();
  });
  const lines = createInterface({ input: control });
  lines.on("line", (line) => hear(JSON.parse(line) as Message, waiting, ready.resolve));
  // A reader of lines repeats what goes wrong with its source.
  for (const source of [control, lines]) source.on("error", () => child.kill("SIGKILL"));
  const tell = (message: object) => control.write(`${JSON.stringify(message)}\n`);
  const encoded = Object.entries(filters).map(([profile, filter]) => [profile, Buffer.from(filter).toString("base64")]);
  tell({ op: "configure", seccomp: Object.fromEntries(encoded) });
  await ready.promise;
  return {
    gone: gone.promise,
    make: (order) => {
      const pending: Waiting = { started: Promise.withResolvers(), ended: Promise.withResolvers() };
      waiting.set(order.id, pending);
      // It may have died while this one waited for its turn.
      if (isGone) settle(waiting, order.id, pending, UNSEEN);
      else tell({ op: "make", ...order });
      return { started: pending.started.promise, ended: pending.ended.promise };
    },
    kill: (id) => void tell({ op: "kill", id }),
    close: async () => {
      control.end();
      await gone.promise;
    },
  };
}

function hear(message: Message, waiting: Map<string, Waiting>, ready: () => void): void {
  if (message.event === "ready") return ready();
  const pending = waiting.get(message.id);
  if (!pending) return;
  if (message.event === "started") return pending.started.resolve(message);
  settle(waiting, message.id, pending, { exitCode: message.exitCode, output: message.output });
}

function settle(waiting: Map<string, Waiting>, id: string, pending: Waiting, death: Death): void {
  waiting.delete(id);
  pending.started.reject(new Error(`The instance did not start: ${death.output.trim() || `exit ${death.exitCode}`}`));
  pending.started.promise.catch(() => undefined);
  pending.ended.resolve(death);
}
