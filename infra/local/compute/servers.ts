import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { DatabaseSync } from "node:sqlite";
import type { FunctionRecord } from "./functions.ts";
import { untilReady } from "./isolated.ts";
import { type Output, type Running, startProcess } from "./processes.ts";
import { Upstream } from "./upstream.ts";
import { freePort } from "#infra/local/ports.ts";

export interface ServerDeps {
  db: DatabaseSync;
  codeFolder: (record: FunctionRecord) => string;
  /** The port on which a function's own instance listens for the public: one hop less. */
  doors: Readonly<Record<string, number>>;
  /** What the platform tells every trusted function. */
  platformEnv: Readonly<Record<string, string>>;
  readyMs: number;
  drainMs: number;
  output: Output;
  now: () => number;
  log: { event(name: string, facts: Record<string, unknown>): void };
}

interface Server {
  process: Running;
  upstream: Upstream;
}

interface Slot {
  record: FunctionRecord;
  server: Promise<Server>;
  ready?: Upstream;
  crashes: number;
  stop: AbortController;
}

const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 10_000;
/** A process that lived this long was no failed start. */
const STEADY_MS = 30_000;

/** One process for each trusted function, started on first need and started again when it falls. */
export class Servers {
  readonly #deps: ServerDeps;
  readonly #slots = new Map<string, Slot>();
  readonly #retiring = new Set<Promise<void>>();

  constructor(deps: ServerDeps) {
    this.#deps = deps;
  }

  /** The instance of a function, once it answers its health check. */
  async upstream(record: FunctionRecord): Promise<Upstream> {
    return (await this.#slot(record).server).upstream;
  }

  /** The instance that runs now, if one does. */
  current(functionName: string): Upstream | undefined {
    return this.#slots.get(functionName)?.ready;
  }

  running(functionName: string): boolean {
    return this.#slots.has(functionName);
  }

  /** Puts a changed function in the place of the running one, which ends what it has begun. */
  async swap(record: FunctionRecord): Promise<void> {
    const old = this.#slots.get(record.name);
    if (!old) return;
    const exclusive = this.#deps.doors[record.name] !== undefined;
    if (exclusive) await this.#retire(old);
    const next = this.#open(record, exclusive ? 0 : old.crashes);
    await next.server.catch(() => {});
    if (!exclusive) await this.#retire(old);
  }

  async stop(functionName: string): Promise<void> {
    const slot = this.#slots.get(functionName);
    if (!slot) return;
    this.#slots.delete(functionName);
    await this.#retire(slot);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#slots.keys()].map((name) => this.stop(name)));
    await Promise.all(this.#retiring);
  }

  #slot(record: FunctionRecord): Slot {
    return this.#slots.get(record.name) ?? this.#open(record, 0);
  }

  #open(record: FunctionRecord, crashes: number): Slot {
    const slot: Slot = { record, server: Promise.reject(new Error("not started")), crashes, stop: new AbortController() };
    slot.server.catch(() => {});
    slot.server = this.#start(slot);
    slot.server.catch(() => {});
    this.#slots.set(record.name, slot);
    return slot;
  }

  async #start(slot: Slot): Promise<Server> {
    const { signal } = slot.stop;
    if (slot.crashes > 0) await delay(Math.min(BACKOFF_MS * 2 ** slot.crashes, BACKOFF_MAX_MS), undefined, { signal });
    const { definition, name } = slot.record;
    const { now, readyMs } = this.#deps;
    const port = this.#deps.doors[name] ?? (await freePort());
    const process = this.#spawn(slot.record, port);
    const upstream = new Upstream({
      id: `t-${randomBytes(6).toString("hex")}`,
      functionName: name,
      concurrency: definition.instanceConcurrency,
      address: { host: "127.0.0.1", port },
      now,
    });
    const startedAt = now();
    void process.ended.then((reason) => this.#fell(slot, upstream, { reason, livedMs: now() - startedAt }));
    try {
      await untilReady(upstream, definition.customRuntimeConfig?.healthCheckConfig?.httpGetUrl ?? "/health", readyMs, signal);
      slot.ready = upstream;
      return { process, upstream };
    } catch (error) {
      upstream.close("it did not become ready");
      await process.stop(0);
      throw error;
    }
  }

  #spawn(record: FunctionRecord, port: number): Running {
    const { db, platformEnv, output, codeFolder } = this.#deps;
    const runtime = record.definition.customRuntimeConfig;
    const listen = { FC_SERVER_PORT: String(port), FC_CUSTOM_LISTEN_PORT: String(port), FC_SERVER_HOST: "127.0.0.1" };
    const cwd = codeFolder(record);
    const env = {
      ...record.definition.environmentVariables,
      ...platformEnv,
      ...listen,
      FC_FUNCTION_NAME: record.name,
      FC_FUNC_CODE_PATH: cwd,
    };
    return startProcess({
      db,
      functionName: record.name,
      command: [...(runtime?.command ?? []), ...(runtime?.args ?? [])],
      cwd,
      env,
      output,
    });
  }

  /** A fallen process is started again, later each time that it falls soon after its start. */
  #fell(slot: Slot, upstream: Upstream, { reason, livedMs }: { reason: string; livedMs: number }): void {
    upstream.close(reason);
    if (slot.stop.signal.aborted || this.#slots.get(slot.record.name) !== slot) return;
    this.#deps.log.event("function_fell", { function: slot.record.name, reason, crashes: slot.crashes });
    this.#open(slot.record, livedMs > STEADY_MS ? 1 : slot.crashes + 1);
  }

  #retire(slot: Slot): Promise<void> {
    slot.stop.abort();
    const retired = this.#drain(slot).finally(() => this.#retiring.delete(retired));
    this.#retiring.add(retired);
    return retired;
  }

  async #drain(slot: Slot): Promise<void> {
    const server = await slot.server.catch(() => undefined);
    if (!server) return;
    const drained = server.upstream.inFlight === 0 ? Promise.resolve() : new Promise<void>((resolve) => server.upstream.onRest(resolve));
    const patience = new Promise<void>((resolve) => setTimeout(resolve, this.#deps.drainMs).unref());
    await Promise.race([drained, patience]);
    await server.process.stop(this.#deps.drainMs);
    server.upstream.close("it was replaced");
  }
}
