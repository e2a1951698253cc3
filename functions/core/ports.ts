import type { Duplex, Readable } from "node:stream";
import type { Isolation, Usage } from "#contract/sandbox.ts";
import type { Callers } from "./caller.ts";
import type { Audit } from "./audit.ts";
import type { Traces } from "./traces.ts";
import type { Sayings } from "./said.ts";
import type { Shared } from "./shared.ts";
import type { PreparedNow, Scaling, Template } from "#contract/template.ts";
import type { Models } from "./model-port.ts";
import type { Search } from "./search-port.ts";
import type { Counts } from "./usage/counts.ts";

export type { KeptDoc, Search, SearchDoc, SearchFilter, SearchHit, SearchMatch, SearchWord } from "./search-port.ts";

/** Names one sandbox to the engine: a session of a function. */
export interface EngineRef {
  functionName: string;
  sessionId: string;
}

/** What the engine needs to make a function that sandboxes are sessions of. */
export interface FunctionSpec {
  functionName: string;
  template: Pick<Template, "type" | "cpu" | "memoryMiB" | "diskMiB" | "scaling" | "container" | "browserPages">;
}

/** What the engine says of a session. `endReason` is the engine's word, present once it is gone. */
export interface SessionFacts {
  live: boolean;
  /** Present while it is paused, or on its way there. */
  paused?: true;
  endReason?: "idle" | "ttl" | "deleted" | "oom" | "crashed" | "engine_restarted";
  /** When it was over, where the engine says so. */
  endedAtMs?: number;
  usage?: Usage;
  isolation?: Isolation;
}

/** A session that has not ended, as a list tells of it. */
export interface ListedSession extends EngineRef {
  paused?: true;
}

/** The parts of a Request that travel into a sandbox; of `url` only path and query do. A Node stream spares a body two conversions. */
export interface Passage {
  method: string;
  url: string;
  headers: Headers;
  body: ReadableStream<Uint8Array> | Readable | null;
  /** That the core itself asks, for what no client may. */
  inner?: true;
  /** That a client asks, and of an image's program where there is one; what is asked for the client's sake only is not this. */
  client?: true;
}

/** A workspace's answer on its way to who asked: what is small is at hand, the rest flows. A stream that is not read is destroyed. */
export interface Passed {
  status: number;
  headers: Headers;
  body: Readable | Uint8Array | null;
  /** The port inside where a program answered, by the workspace's word. */
  served?: string;
}

/** A WebSocket's raw ends after the upgrade: the answer's head has been read, the rest is bytes both ways. */
export interface Upgraded {
  status: number;
  headers: Record<string, string>;
  stream: Duplex;
}

/** `lifetimeMs` counts from the session's start. */
export interface SessionLife {
  lifetimeMs: number;
  idleTimeoutMs: number;
}

/**
 * Function Compute, local or Alibaba's. `start` is idempotent by session id, `stop` by nature; `request` answers what
 * the workspace answers and throws `sandbox_lost` when the session is gone or stops in the middle, `sandbox_not_ready`
 * when it is paused and nothing was asked of it. `pause` cuts what is under way and keeps everything else; it and
 * `resume` answer once it is so, and doing either twice is doing it once.
 */
export interface Engine {
  define(spec: FunctionSpec): Promise<void>;
  undefine(functionName: string): Promise<void>;
  /** Has instances of a function made ahead of their sessions; each serves one and ends with it. */
  scale(functionName: string, scaling: Scaling): Promise<void>;
  prepared(functionName: string): Promise<PreparedNow>;
  start(ref: EngineRef, life: SessionLife, signal?: AbortSignal): Promise<void>;
  extend(ref: EngineRef, life: SessionLife): Promise<void>;
  request(ref: EngineRef, request: Passage, signal?: AbortSignal): Promise<Response>;
  /** The same for an answer that is not read here but passed on. */
  pass(ref: EngineRef, request: Passage, signal?: AbortSignal): Promise<Passed>;
  connect(ref: EngineRef, request: Passage, signal?: AbortSignal): Promise<Upgraded>;
  pause(ref: EngineRef): Promise<void>;
  resume(ref: EngineRef): Promise<void>;
  /** Answers what the engine says of the session at its end, where it says it in the same breath; otherwise `facts` does. */
  stop(ref: EngineRef): Promise<SessionFacts | undefined>;
  /** Undefined for a session that the engine never had or has forgotten. */
  facts(ref: EngineRef): Promise<SessionFacts | undefined>;
  /** Paused ones too. One that changes meanwhile may be left out. */
  list(functionName: string): Promise<ListedSession[]>;
  /** How its instances are isolated, as the engine found out before it made any; those in which a browser runs by its own sandbox are so by one layer less. */
  isolation(profile?: "browser"): Promise<Isolation>;
  ping(): Promise<boolean>;
}

/** A JSON value with the version by which the next writer must name it. Versions start at 1 and rise by one with each write. */
export interface Row<T = unknown> {
  key: string;
  version: number;
  value: T;
}

/** `absent`: the row must not exist; a number: the version it must have; left out: whatever is there. */
export type Condition = { ifVersion?: number | "absent" };

/**
 * Rows by key, ordered as the bytes of UTF-8. No transaction spans two rows. A refused condition is Problem `conflict`;
 * a refused ceiling is Problem `quota_exceeded`; a value above `LIMITS.tableValueBytes` is `body_too_large`.
 * A key that was removed and comes back starts again at version 1: who may meet that keeps the row and marks it ended.
 */
export interface Tables {
  get<T>(table: string, key: string): Promise<Row<T> | undefined>;
  put<T>(table: string, key: string, value: T, condition?: Condition): Promise<Row<T>>;
  /**
   * Adds an integer to the number that is the row's value (0 when absent) in one step and answers the sum. A sum above
   * the ceiling changes nothing; taking away is never refused. The row is read, listed and removed like any other.
   */
  add(table: string, key: string, by: number, bound?: { ceiling: number }): Promise<number>;
  /** Removing what is not there is done already, unless a version is asked for: then it is a `conflict`. */
  remove(table: string, key: string, condition?: { ifVersion?: number }): Promise<void>;
  /** Rows whose key starts with `prefix` and comes after `after`, in order; backwards when `descending`, and then `after` is the upper end. */
  range<T>(table: string, prefix: string, page: { after?: string; limit: number; descending?: boolean }): Promise<Row<T>[]>;
}

export interface ObjectInfo {
  key: string;
  sizeBytes: number;
  modifiedAtMs: number;
}

/** A request that its bearer may send to the store itself, with no other credential: this method, these headers, this address. */
export interface ObjectLink {
  method: "GET" | "PUT";
  url: string;
  headers: Record<string, string>;
}

/**
 * Bytes by key. `put` is whole or not at all, replaces what was there, and answers the size and hash of what it took;
 * more than `maxBytes` is Problem `body_too_large`, a full store `disk_full`, and an abort rejects with the signal's reason.
 * `mediaType` is for links that the store serves itself; nothing here reads it back.
 */
export interface Objects {
  put(
    key: string,
    body: ReadableStream<Uint8Array>,
    bound: { maxBytes: number; mediaType: string },
    signal?: AbortSignal,
  ): Promise<{ sizeBytes: number; sha256: string }>;
  /**
   * Undefined when there is none. `range` is inclusive, as HTTP says it, and may end beyond the object; one that starts
   * there is Problem `range_not_satisfiable`. `info.sizeBytes` is of the whole object. The body must be read or cancelled.
   */
  get(key: string, range?: { start: number; end?: number }): Promise<{ info: ObjectInfo; body: ReadableStream<Uint8Array> } | undefined>;
  head(key: string): Promise<ObjectInfo | undefined>;
  /** Objects whose key starts with `prefix` and comes after `after`, in the order of keys. */
  list(prefix: string, page: { after?: string; limit: number }): Promise<ObjectInfo[]>;
  /** Copies within the store, replacing what was there; the bytes pass nobody. False when there is no source. */
  copy(from: string, to: string): Promise<boolean>;
  /** Renames within the store, replacing what was there. False when there is no source. */
  move(from: string, to: string): Promise<boolean>;
  /** Removing what is not there is done already. */
  remove(key: string): Promise<void>;
  /** A link that reads one object until a moment, as a download of that name; undefined where the store has no door of its own. */
  downloadLink(key: string, about: { name: string; expiresAtMs: number }): ObjectLink | undefined;
  /** A link that puts one object of exactly that size until a moment; undefined where the store has no door of its own. */
  uploadLink(key: string, about: { sizeBytes: number; expiresAtMs: number }): ObjectLink | undefined;
}

/** A message as its consumer holds it until the visibility time-out. */
export interface Delivery {
  id: string;
  receipt: string;
  body: string;
  /** How often it has been handed out, this time included. */
  attempts: number;
}

/** A message that nobody gets any more until it is redriven. */
export type DeadLetter = Omit<Delivery, "receipt">;

/**
 * At least once, oldest first as far as retries allow. A message that was handed out `maxAttempts` times and never
 * acknowledged goes to the dead letters when it is released or its visibility time-out ends.
 */
export interface Queue {
  send(queue: string, body: string, options?: { delayMs?: number }): Promise<string>;
  receive(queue: string, options: { max: number; visibilityMs: number }): Promise<Delivery[]>;
  /** False for a receipt that expired or was used: somebody else may have the message now. */
  acknowledge(queue: string, receipt: string): Promise<boolean>;
  /** Gives the message back before its time-out, as a failed attempt. */
  release(queue: string, receipt: string, options?: { delayMs?: number }): Promise<boolean>;
  deadLetters(queue: string, limit: number): Promise<DeadLetter[]>;
  /** Makes a dead letter a fresh message with all its attempts before it. */
  redrive(queue: string, id: string): Promise<boolean>;
}

export interface Clock {
  now(): number;
}

/** The way to addresses that projects named. What is not outside is refused where it is connected to; no answer is followed elsewhere. */
export interface Outside {
  /** Posts one body and answers the status; throws when nobody answers. */
  post(url: string, headers: Record<string, string>, body: string): Promise<number>;
}

/** One event per operation, under the operation's name. */
export interface Log {
  event(name: string, facts: Record<string, unknown>): void;
}

/** Rows as they were at most a second ago; what this process wrote itself is seen at once. For reads that every request makes. */
export interface Recent {
  get<T>(table: string, key: string): Promise<Row<T> | undefined>;
}

/** What the platform's own secret can do, without showing it. */
export interface Vault {
  /** Encrypts text for a row; `about` must be said again to open it. */
  seal(text: string, about: string): string;
  open(sealed: string, about: string): string;
  mac(purpose: string, text: string): string;
  /** Signs with Ed25519 what others check by `publicKey`, which is PEM. */
  sign(text: string): string;
  publicKey(): string;
  /** HMAC-SHA256 in hex by a key of that purpose. */
  digest(purpose: string, bytes: Uint8Array | string): string;
  /** Compares in constant time. */
  checkMac(purpose: string, text: string, mac: string): boolean;
  /** A short-lived proof for one session, by which the workspace knows the gateway. */
  proof(sessionId: string): string;
}

/** The stores of one platform, opened and closed together. */
export interface Stores extends AsyncDisposable {
  tables: Tables;
  objects: Objects;
  queue: Queue;
  search: Search;
}

/** What an adapter brings; `composePlatform` makes a Platform of it. */
export interface PlatformParts {
  engine: Engine;
  tables: Tables;
  objects: Objects;
  queue: Queue;
  search: Search;
  models: Models;
  outside: Outside;
  clock: Clock;
  log: Log;
}

/** Everything the core stands on. */
export interface Platform extends PlatformParts {
  recent: Recent;
  callers: Callers;
  traces: Traces;
  said: Sayings;
  audit: Audit;
  counts: Counts;
  shared: Shared;
  vault: Vault;
}
