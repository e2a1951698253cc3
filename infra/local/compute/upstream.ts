import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Duplex } from "node:stream";
import { refusal } from "./refusals.ts";

/** Where an instance listens. */
export type Address = { socketPath: string } | { host: string; port: number };

/** One running instance as its callers see it: kept connections, what is under way, and an end that cuts both. */
export class Upstream {
  readonly id: string;
  readonly functionName: string;
  readonly concurrency: number;
  inFlight = 0;
  lastActiveAt: number;
  /** Why nothing more can be asked of it, once that is so. */
  closed: string | undefined;
  /** What counts the requests of many at once. */
  traffic: { inFlight: number } | undefined;
  readonly #address: Address;
  readonly #now: () => number;
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 16, scheduling: "lifo" });
  readonly #upgraded = new Set<Duplex>();
  #rested: () => void = () => {};

  constructor(spec: { id: string; functionName: string; concurrency: number; address: Address; now: () => number }) {
    this.id = spec.id;
    this.functionName = spec.functionName;
    this.concurrency = spec.concurrency;
    this.#address = spec.address;
    this.#now = spec.now;
    this.lastActiveAt = spec.now();
  }

  /** Called each time that the last thing under way has ended. */
  onRest(rested: () => void): void {
    this.#rested = rested;
  }

  /** Counts one more thing under way, or refuses it; the answer takes it off again, once. */
  enter(): () => void {
    if (this.closed !== undefined) throw refusal("BadResponse", `The instance has ended: ${this.closed}`);
    if (this.inFlight >= this.concurrency) throw refusal("ResourceExhausted", `The instance serves ${this.concurrency} requests at once`);
    this.inFlight++;
    const { traffic } = this;
    if (traffic) traffic.inFlight++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      if (traffic) traffic.inFlight--;
      this.lastActiveAt = this.#now();
      if (--this.inFlight === 0) this.#rested();
    };
  }

  request(options: { method: string; path: string; headers: readonly string[]; signal?: AbortSignal }): ClientRequest {
    return request({ ...this.#address, agent: this.#agent, setHost: false, ...options });
  }

  /** Takes charge of a socket that left the agent by an upgrade. */
  adopt(socket: Duplex): void {
    this.#upgraded.add(socket);
    socket.once("close", () => this.#upgraded.delete(socket));
  }

  /** The same instance once it can be asked again, after its connections were cut. */
  again(): Upstream {
    const { id, functionName, concurrency } = this;
    return new Upstream({ id, functionName, concurrency, address: this.#address, now: this.#now });
  }

  /** Cuts everything under way. Those who wait learn `reason`. */
  close(reason: string): void {
    this.closed ??= reason;
    this.#agent.destroy();
    for (const socket of this.#upgraded) socket.destroy();
  }
}

export interface Call {
  method: string;
  path: string;
  headers: readonly string[];
  body?: Uint8Array | undefined;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** Asks an instance one thing with a body at hand. The answer's body counts as under way until it ends. */
export function call(upstream: Upstream, { body, timeoutMs, signal, ...options }: Call): Promise<IncomingMessage> {
  const leave = upstream.enter();
  return new Promise((resolve, reject) => {
    const outgoing = upstream.request({ ...options, ...(signal ? { signal } : {}) });
    const expired = () => outgoing.destroy(refusal("InvocationTimeout", `The function ran for longer than ${timeoutMs / 1000} s`));
    const deadline = setTimeout(expired, timeoutMs);
    outgoing.once("close", () => {
      clearTimeout(deadline);
      leave();
    });
    outgoing.once("error", (error) => reject(lost(upstream, error)));
    outgoing.once("response", resolve);
    outgoing.end(body);
  });
}

/** What a broken connection to an instance means to those who asked. */
export function lost(upstream: Upstream, error: Error): Error {
  if (error.name === "Problem") return error;
  const why = (upstream.closed ?? "code" in error) ? String((error as { code?: unknown }).code) : error.message;
  return refusal("BadResponse", `The instance stopped answering: ${upstream.closed ?? why}`, error);
}

/** Reads an answer whole, refusing one of more than `limitBytes`. */
export function readAnswer(incoming: IncomingMessage, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    incoming.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limitBytes) chunks.push(chunk);
      else incoming.destroy(refusal("EntityTooLarge", `More than ${limitBytes} bytes`));
    });
    incoming.once("end", () => resolve(Buffer.concat(chunks)));
    incoming.once("error", reject);
  });
}
