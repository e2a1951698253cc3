import { spawn } from "node:child_process";
import { linkSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Instance, InstanceEnd, InstanceSpec, InstanceUsage, Maker } from "#infra/local/sealed/maker.ts";

const NO_USAGE: InstanceUsage = { cpuMs: 0, memoryBytes: 0, memoryPeakBytes: 0, oomKills: 0, processes: 1, diskBytes: 0 };

/** Instances without isolation, for tests of everything around them: a plain child process with the listening socket as fd 3. */
export function plainMaker(dir: string): Maker & { made: string[]; live: Set<string>; fall(id: string): Promise<void> } {
  const instances = new Map<string, PlainInstance>();
  const made: string[] = [];
  mkdirSync(dir, { recursive: true });
  return {
    made,
    get live() {
      return new Set(instances.keys());
    },
    /** An instance ends as if by itself. */
    async fall(id) {
      const instance = instances.get(id);
      instance?.fall();
      await instance?.ended;
    },
    isolation: { strength: "weak", layers: [{ name: "none", on: false, why: "a test's stand-in" }] },
    async make(spec, signal) {
      signal?.throwIfAborted();
      made.push(spec.id);
      const instance = await start(dir, spec);
      instances.set(spec.id, instance);
      void instance.ended.then(() => instances.delete(spec.id));
      return instance;
    },
    sweep: async () => [],
    async [Symbol.asyncDispose]() {
      await Promise.all([...instances.values()].map((instance) => instance.destroy()));
    },
  };
}

type PlainInstance = Instance & { fall(): void };

async function start(dir: string, spec: InstanceSpec): Promise<PlainInstance> {
  const socketPath = join(dir, `${spec.id}.s`);
  const listener = await listen(socketPath);
  const [file = "", ...args] = (spec.command ?? []).map((part) => (part === "node" ? process.execPath : part));
  const fd = (listener as unknown as { _handle: { fd: number } })._handle.fd;
  const child = spawn(file, args, { cwd: spec.root, env: spec.env, stdio: ["ignore", "inherit", "inherit", fd] });
  closeButKeepPath(listener, socketPath);
  let destroyed = false;
  const ended = new Promise<InstanceEnd>((resolve) => {
    child.once("error", () => resolve({ reason: "exited", exitCode: null }));
    child.once("exit", (exitCode) => resolve({ reason: destroyed ? "destroyed" : exitCode === 137 ? "oom" : "exited", exitCode }));
  });
  return {
    id: spec.id,
    socketPath,
    ended,
    usage: async () => ({ ...NO_USAGE, memoryBytes: memoryOf(child.pid) }),
    inspect: async () => {},
    fall: () => void child.kill("SIGKILL"),
    pause: async () => void child.kill("SIGSTOP"),
    resume: async () => void child.kill("SIGCONT"),
    async destroy() {
      destroyed = true;
      child.kill("SIGKILL");
      await ended;
      rmSync(socketPath, { force: true });
    },
  };
}

function listen(path: string): Promise<Server> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(`${path}.l`, () => resolve(server));
  });
}

/** Closing a server removes its path; a second name for the same socket stays. */
function closeButKeepPath(server: Server, path: string): void {
  linkSync(`${path}.l`, path);
  server.close();
}

function memoryOf(pid: number | undefined): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * 4096;
  } catch {
    return 0;
  }
}
