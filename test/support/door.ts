import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Key, Quota } from "#contract/project.ts";
import { localConfig } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { until } from "./until.ts";
import { isFree } from "#infra/local/ports.ts";

/** A running Cleanroom as a client meets it: addresses and the first key. */
export interface DoorFacts {
  origin: string;
  tlsOrigin: string;
  engineOrigin: string;
  caFile: string;
  dataDir: string;
  pid: number;
  rootKey: Key;
}

export interface Door extends DoorFacts, AsyncDisposable {
  /** Waits until the door answers, as it does again when its process was started anew. */
  open(): Promise<void>;
}

const READY_MS = 60_000;

/** A test's own project on a door, with a key that acts for it. */
export interface Tenant {
  projectId: string;
  key: Key;
  /** Sends a request as this tenant; a body that is no string or bytes goes as JSON. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  json<T = Record<string, unknown>>(method: string, path: string, body?: unknown, expectedStatus?: number): Promise<T>;
}

/** How the server that a run shares is set: idle times as short as a second, a sweep in each, and few instances that wait. */
export const SHARED = {
  CLEANROOM_IDLE_MIN_S: "1",
  CLEANROOM_SWEEP_EVERY: "@every 1s",
  CLEANROOM_MIN_PREPARED: "1",
  CLEANROOM_MAX_PREPARED: "4",
};
/** For a server of which everything that runs is counted. */
export const NOTHING_PREPARED = { ...SHARED, CLEANROOM_MIN_PREPARED: "0", CLEANROOM_MAX_PREPARED: "0" };

/** The server that the run shares, or one of the caller's own when it has to be configured or killed. */
export async function openDoor(options?: { environment: Record<string, string> }): Promise<Door> {
  const shared = process.env["CLEANROOM_TEST_DOOR"];
  if (shared === undefined || options) return startDoor(options?.environment ?? SHARED);
  const facts = JSON.parse(shared) as DoorFacts;
  return { ...facts, open: () => untilOpen(facts.origin), [Symbol.asyncDispose]: async () => {} };
}

/**
 * Starts the built server with a data folder of its own under the system's temporary one; the root image is the project's.
 * `host` is a command that becomes the one after it on a host that it changed.
 */
export async function startDoor(
  environment: Record<string, string> = SHARED,
  dataDir?: string,
  host: readonly string[] = [],
): Promise<Door> {
  const config = localConfig();
  const data = dataDir ?? (await mkdtemp(join(tmpdir(), "cleanroom-test-")));
  const portFor = async (name: string) => Number(environment[name] ?? (await freeDoorPort()));
  const [port, tlsPort, enginePort] = [
    await portFor("CLEANROOM_PORT"),
    await portFor("CLEANROOM_TLS_PORT"),
    await portFor("CLEANROOM_ENGINE_PORT"),
  ];
  const settings: Record<string, string> = {
    CLEANROOM_DATA: data,
    CLEANROOM_ROOT: currentRoot(config).root,
    CLEANROOM_PORT: String(port),
    CLEANROOM_TLS_PORT: String(tlsPort),
    CLEANROOM_ENGINE_PORT: String(enginePort),
    ...environment,
  };
  const logFile = join(data, "terminal.log");
  const output = openSync(logFile, "a", 0o600);
  const { size } = statSync(logFile);
  const [program, ...args] = [...host, process.execPath, join(config.projectDir, "dist/local/main.mjs")] as const;
  const child = spawn(program, args, {
    env: { ...process.env, ...settings },
    stdio: ["ignore", output, output],
  });
  closeSync(output);
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const close = async () => {
    child.kill("SIGTERM");
    await ended;
    if (dataDir === undefined) await rm(data, { recursive: true, force: true });
  };
  const isOpen = () => {
    const said = readFileSync(logFile).subarray(size).toString();
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`The server ended with ${child.exitCode ?? child.signalCode}:\n${said}`);
    return said.includes("Cleanroom is open");
  };
  await until("the server is open", isOpen, READY_MS).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const rootKey = JSON.parse(await readFile(join(data, "root-key.json"), "utf8")) as Key;
  return {
    origin: `http://127.0.0.1:${port}`,
    tlsOrigin: `https://localhost:${tlsPort}`,
    engineOrigin: `http://127.0.0.1:${enginePort}`,
    caFile: join(data, "tls/ca.pem"),
    dataDir: data,
    pid: child.pid ?? 0,
    rootKey,
    open: () => untilOpen(`http://127.0.0.1:${port}`),
    [Symbol.asyncDispose]: close,
  };
}

async function untilOpen(origin: string): Promise<void> {
  await until(
    "the door answers",
    async () => {
      const answer = await fetch(`${origin}/health`).catch(() => undefined);
      await answer?.body?.cancel();
      return answer?.ok ?? false;
    },
    READY_MS,
  );
}

/** Makes a project, with so many sandboxes or other quotas, for one test file, so that files that run at once do not see each other. */
export async function newTenant(door: DoorFacts, quota?: number | Partial<Quota>): Promise<Tenant> {
  const name = `t${crypto.randomUUID().replaceAll("-", "")}`;
  const root = tenantOf(door, door.rootKey, "root");
  const given = typeof quota === "number" ? { sandboxes: quota } : quota;
  const made = await root.json<{ project: { id: string }; key: Key }>(
    "POST",
    "/api/projects",
    { name, ...(given ? { quota: given } : {}) },
    201,
  );
  return tenantOf(door, made.key, made.project.id);
}

/** Requests by one key. */
export function tenantOf(door: DoorFacts, key: Key, projectId: string): Tenant {
  const send: Tenant["send"] = (method, path, body, headers = {}) => {
    const raw = typeof body === "string" || body instanceof Uint8Array;
    const sent = body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) };
    const type: Record<string, string> = body === undefined || raw ? {} : { "content-type": "application/json" };
    return fetch(`${door.origin}${path}`, { method, headers: { authorization: `Bearer ${key.apiKey}`, ...type, ...headers }, ...sent });
  };
  return {
    projectId,
    key,
    send,
    async json<T>(method: string, path: string, body?: unknown, expectedStatus = 200) {
      const response = await send(method, path, body);
      const text = await response.text();
      if (response.status !== expectedStatus)
        throw new Error(`${method} ${path} answered ${response.status}, not ${expectedStatus}: ${text}`);
      return (text === "" ? undefined : JSON.parse(text)) as T;
    },
  };
}

/** A port that nobody has, from below those that the kernel gives to outgoing connections: nobody gets it by chance meanwhile. */
async function freeDoorPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    if (await isFree(port)) return port;
  }
}
