import type { DatabaseSync } from "node:sqlite";
import { Alarm } from "./alarm.ts";
import type { FunctionRecord, Functions } from "./functions.ts";
import type { Invocation, Invocations } from "./invocations.ts";
import { refusal } from "./refusals.ts";
import { readAnswer } from "./upstream.ts";

export type TaskStatus = "Enqueued" | "Running" | "Retrying" | "Succeeded" | "Failed" | "Stopped" | "Expired";

export interface TaskRow {
  function: string;
  id: string;
  requestId: string;
  status: TaskStatus;
  payload: Uint8Array;
  headers: string;
  retries: number;
  dueAt: number;
  createdAt: number;
  startedAt: number | null;
  endedAt: number | null;
  error: string | null;
  events: string;
}

export const PAYLOAD_BYTES = 128 * 1024;
const ANSWER_BYTES = 1024 * 1024;
const AT_ONCE = 16;
const KEPT_MS = 24 * 3_600_000;
const BACKOFF_MAX_MS = 300_000;

interface TasksSpec {
  db: DatabaseSync;
  functions: Functions;
  invocations: Invocations;
  backoffMs: number;
  now: () => number;
  log: { event(name: string, facts: Record<string, unknown>): void };
}

/** Asynchronous invocations: written down before they are promised, tried until they succeed, run out of tries or grow too old. */
export class Tasks {
  readonly #db: DatabaseSync;
  readonly #functions: Functions;
  readonly #invocations: Invocations;
  readonly #backoffMs: number;
  readonly #now: () => number;
  readonly #log: TasksSpec["log"];
  readonly #alarm: Alarm;
  readonly #running = new Map<string, { stop: AbortController; done: Promise<void> }>();

  /** Tasks that ran when an earlier engine ended are tried again: a task runs at least once. */
  constructor(spec: TasksSpec) {
    this.#db = spec.db;
    this.#functions = spec.functions;
    this.#invocations = spec.invocations;
    this.#backoffMs = spec.backoffMs;
    this.#now = spec.now;
    this.#log = spec.log;
    this.#alarm = new Alarm(spec.now, () => this.#runDue());
    this.#db.prepare("UPDATE tasks SET status = 'Retrying', dueAt = ? WHERE status = 'Running'").run(spec.now());
    this.#alarm.by(spec.now());
  }

  enqueue(record: FunctionRecord, id: string, invocation: Invocation): TaskRow {
    if (record.affinity) throw refusal("InvalidArgument", "Asynchronous invocations cannot name a session");
    if (invocation.body.byteLength > PAYLOAD_BYTES) throw refusal("EntityTooLarge", "An asynchronous invocation carries at most 128 KB");
    if (this.#find(record.name, id)) throw refusal("AsyncTaskAlreadyExists", `The task ${id} exists`);
    const at = this.#now();
    const type = invocation.headers["content-type"];
    const task: TaskRow = {
      function: record.name,
      id,
      requestId: invocation.requestId,
      status: "Enqueued",
      payload: invocation.body,
      headers: JSON.stringify(typeof type === "string" ? { "content-type": type } : {}),
      retries: 0,
      dueAt: at,
      createdAt: at,
      startedAt: null,
      endedAt: null,
      error: null,
      events: "[]",
    };
    this.#turn(task, "Enqueued");
    this.#alarm.by(at);
    return task;
  }

  get(functionName: string, id: string): TaskRow {
    const task = this.#find(functionName, id);
    if (!task) throw refusal("AsyncTaskNotFound", `The function ${functionName} has no task ${id}`);
    return task;
  }

  list(functionName: string, page: { after: string; limit: number; prefix: string; status?: string | undefined }): TaskRow[] {
    return this.#db
      .prepare(
        "SELECT * FROM tasks WHERE function = ? AND id > ? AND substr(id, 1, length(?)) = ? AND (? IS NULL OR status = ?) ORDER BY id LIMIT ?",
      )
      .all(
        functionName,
        page.after,
        page.prefix,
        page.prefix,
        page.status ?? null,
        page.status ?? null,
        page.limit,
      ) as unknown as TaskRow[];
  }

  /** Stopping a task that has ended is refused, as its outcome stands. */
  async stop(functionName: string, id: string): Promise<void> {
    const task = this.get(functionName, id);
    if (task.endedAt !== null) throw refusal("AsyncInvocationStopped", `The task ${id} has ended: ${task.status}`);
    this.#turn({ ...task, endedAt: this.#now() }, "Stopped");
    const run = this.#running.get(keyOf(task));
    run?.stop.abort();
    await run?.done;
  }

  forget(functionName: string): void {
    this.#db.prepare("DELETE FROM tasks WHERE function = ?").run(functionName);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#alarm.stop();
    for (const { stop } of this.#running.values()) stop.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  #runDue(): number {
    const free = AT_ONCE - this.#running.size;
    if (free <= 0) return Infinity;
    this.#db.prepare("DELETE FROM tasks WHERE endedAt < ?").run(this.#now() - KEPT_MS);
    const due = this.#db
      .prepare("SELECT * FROM tasks WHERE endedAt IS NULL AND status <> 'Running' ORDER BY dueAt LIMIT ?")
      .all(free + 1) as unknown as TaskRow[];
    const at = this.#now();
    for (const task of due.slice(0, free)) {
      if (task.dueAt > at) return task.dueAt;
      const stop = new AbortController();
      const done = this.#run(task, stop.signal)
        .catch((error: unknown) => this.#log.event("task_not_written", { function: task.function, task: task.id, error: String(error) }))
        .finally(() => {
          this.#running.delete(keyOf(task));
          this.#alarm.by(this.#now());
        });
      this.#running.set(keyOf(task), { stop, done });
    }
    return due[free]?.dueAt ?? Infinity;
  }

  async #run(task: TaskRow, signal: AbortSignal): Promise<void> {
    this.#turn(Object.assign(task, { startedAt: task.startedAt ?? this.#now() }), "Running");
    const error = await this.#attempt(task, signal);
    if (this.#find(task.function, task.id)?.status !== "Running" || signal.aborted) return;
    if (error === undefined) return this.#turn(Object.assign(task, { endedAt: this.#now() }), "Succeeded");
    const config = this.#functions.find(task.function)?.asyncConfig;
    const oldest = task.createdAt + (config?.maxAsyncEventAgeInSeconds ?? 86_400) * 1000;
    task.error = error;
    if (task.retries >= (config?.maxAsyncRetryAttempts ?? 3)) return this.#turn(Object.assign(task, { endedAt: this.#now() }), "Failed");
    const dueAt = this.#now() + Math.min(this.#backoffMs * 2 ** task.retries, BACKOFF_MAX_MS);
    if (dueAt > oldest) return this.#turn(Object.assign(task, { endedAt: this.#now() }), "Expired");
    this.#turn(Object.assign(task, { retries: task.retries + 1, dueAt }), "Retrying");
  }

  /** What went wrong, or nothing. */
  async #attempt(task: TaskRow, signal: AbortSignal): Promise<string | undefined> {
    try {
      const headers = JSON.parse(task.headers) as Record<string, string>;
      const { answer, failed } = await this.#invocations.invoke(task.function, {
        requestId: task.requestId,
        body: task.payload,
        headers,
        signal,
      });
      const body = await readAnswer(answer, ANSWER_BYTES);
      return failed ? `status ${answer.statusCode}: ${body.toString("utf8").slice(0, 1024)}` : undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #turn(task: TaskRow, status: TaskStatus): void {
    const events = [...(JSON.parse(task.events) as unknown[]), { eventId: String(Date.now()), status, timestamp: this.#now() }];
    Object.assign(task, { status, events: JSON.stringify(events.slice(-32)) });
    this.#db
      .prepare("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .run(
        task.function,
        task.id,
        task.requestId,
        task.status,
        task.payload,
        task.headers,
        task.retries,
        task.dueAt,
        task.createdAt,
        task.startedAt,
        task.endedAt,
        task.error,
        task.events,
      );
  }

  #find(functionName: string, id: string): TaskRow | undefined {
    return this.#db.prepare("SELECT * FROM tasks WHERE function = ? AND id = ?").get(functionName, id) as unknown as TaskRow | undefined;
  }
}

const keyOf = (task: TaskRow) => `${task.function}/${task.id}`;
