import { mkdir } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createApi } from "./api.ts";
import { openDatabase } from "./database.ts";
import { Door } from "./door.ts";
import { Functions } from "./functions.ts";
import { Invocations } from "./invocations.ts";
import { Capacity } from "./capacity.ts";
import { type ImageResolver, startIsolated } from "./isolated.ts";
import type { Maker } from "#infra/local/sealed/maker.ts";
import { machineMemoryLeft, type PoolLimits, Pools } from "./pools.ts";
import { killLeftovers, type Output } from "./processes.ts";
import { Scalings } from "./scaling.ts";
import { type QueueSource, Schedules } from "./schedules.ts";
import { createEngineServer } from "./server.ts";
import { Servers } from "./servers.ts";
import { type SessionLimits, Sessions } from "./sessions.ts";
import { Tasks } from "./tasks.ts";
import { Triggers } from "./triggers.ts";

export interface EngineLimits extends SessionLimits, PoolLimits {
  /** How long a function that is replaced or stopped may go on with what it has begun. */
  drainMs: number;
  retryBackoffMs: number;
  queuePollMs: number;
}

const LIMITS: EngineLimits = {
  instances: 1000,
  burst: 1000,
  startsPerMinute: 60_000,
  prepared: 512,
  preparedForMs: 30 * 60_000,
  processesPerInstance: 1024,
  readyMs: 30_000,
  sessionTtlMaxS: 21_600,
  endedKeptMs: 24 * 3_600_000,
  drainMs: 5000,
  retryBackoffMs: 1000,
  queuePollMs: 250,
};

export interface Credential {
  accessKeyId: string;
  accessKeySecret: string;
}

export interface EngineOptions {
  dataDir: string;
  maker: Maker;
  image: ImageResolver;
  /** Who may call the API. Trusted functions call it with the first. */
  credentials: readonly [Credential, ...Credential[]];
  /** Functions whose own instance listens on a port of the host, by name. */
  doors?: Readonly<Record<string, number>>;
  limits?: Partial<EngineLimits>;
  queue?: QueueSource;
  region?: string;
  accountId?: string;
  output?: Output;
  log: { event(name: string, facts: Record<string, unknown>): void };
  now?: () => number;
  /** Bytes that prepared instances may still take; the machine's own word when left out. */
  memoryLeft?: () => number;
}

export interface Engine {
  /** Opens the API and the door on one loopback port; 0 takes a free one. */
  listen(port: number): Promise<{ port: number; origin: string }>;
  /** Resolves when a trusted function answers its health check. */
  ready(functionName: string): Promise<void>;
  /** From here on instances are prepared for those functions that want it. */
  prepare(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Function Compute on one machine. It begins by removing what an earlier engine left and by writing down why that ended. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { dataDir, maker, log, doors = {}, now = Date.now } = options;
  const limits = { ...LIMITS, ...options.limits };
  const place = { region: options.region ?? "cn-hangzhou", accountId: options.accountId ?? "1000000000000000" };
  await mkdir(join(dataDir, "code"), { recursive: true, mode: 0o700 });
  const db = openDatabase(join(dataDir, "engine.db"));
  const leftovers = { instances: await maker.sweep(), functions: killLeftovers(db) };
  if (leftovers.instances.length + leftovers.functions.length > 0) log.event("leftovers_removed", leftovers);

  const functions = new Functions(db, join(dataDir, "code"), now, options.image);
  const triggers = new Triggers(db, now);
  const scalings = new Scalings(db);
  const capacity = new Capacity(limits, now);
  const pools = new Pools({
    functions,
    scalings,
    capacity,
    limits,
    memoryLeft: options.memoryLeft ?? machineMemoryLeft,
    make: (record, id, signal, wanted) => startIsolated({ maker, image: options.image, record, id, limits, now, signal, wanted }),
    now,
    log,
  });
  const sessions = new Sessions({ db, pools, capacity, limits, now, log });
  const servers = new Servers({
    db,
    doors,
    now,
    log,
    readyMs: limits.readyMs,
    drainMs: limits.drainMs,
    output: options.output ?? "inherit",
    codeFolder: (record) => functions.codeFolder(record),
    platformEnv: platformEnv(options.credentials[0], place),
  });
  const invocations = new Invocations(functions, sessions, servers, place);
  const tasks = new Tasks({ db, functions, invocations, backoffMs: limits.retryBackoffMs, now, log });
  const timeoutMsOf = (name: string) => (functions.find(name)?.definition.timeout ?? 60) * 1000;
  const schedules = new Schedules({
    triggers,
    invocations,
    queue: options.queue,
    pollMs: limits.queuePollMs,
    timeoutMsOf,
    place,
    now,
    log,
  });

  const deployed = (name: string) => {
    pools.changed(name);
    const record = functions.get(name);
    const begun = servers.running(name) ? servers.swap(record) : doors[name] === undefined ? undefined : servers.upstream(record);
    begun?.catch((error: unknown) => log.event("function_not_started", { function: name, error: String(error) }));
  };
  let origin = "";
  const secrets = new Map(options.credentials.map(({ accessKeyId, accessKeySecret }) => [accessKeyId, accessKeySecret]));
  const server = createEngineServer({
    api: createApi({
      functions,
      triggers,
      sessions,
      scalings,
      pools,
      servers,
      invocations,
      tasks,
      isolation: maker.isolation,
      place,
      origin: () => origin,
      deployed,
    }),
    door: new Door(functions, triggers, invocations),
    secretOf: (id) => secrets.get(id),
    now,
  });

  return {
    async listen(port) {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, "127.0.0.1", resolve);
      });
      const bound = (server.address() as AddressInfo).port;
      origin = `http://127.0.0.1:${bound}`;
      for (const name of Object.keys(doors)) if (functions.find(name)) deployed(name);
      return { port: bound, origin };
    },
    async ready(functionName) {
      await servers.upstream(functions.get(functionName));
    },
    prepare: () => pools.open(),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      await schedules[Symbol.asyncDispose]();
      await tasks[Symbol.asyncDispose]();
      await Promise.all([servers, sessions, pools].map((part) => part[Symbol.asyncDispose]()));
      server.closeAllConnections();
      await closed;
      db.close();
    },
  };
}

/** What Function Compute sets for a function that has a role: here the engine's own key takes the role's place. */
function platformEnv(
  { accessKeyId, accessKeySecret }: Credential,
  { region, accountId }: { region: string; accountId: string },
): Record<string, string> {
  return {
    ALIBABA_CLOUD_ACCESS_KEY_ID: accessKeyId,
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: accessKeySecret,
    FC_REGION: region,
    FC_ACCOUNT_ID: accountId,
  };
}
