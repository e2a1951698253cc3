import {
  createContext,
  deleteContext,
  execute,
  ExecutionItem,
  getContext,
  interruptContext,
  listContexts,
  restartContext,
  type Context,
  type ExecutionStatus,
  type Language,
} from "#contract/context.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import { readEvents } from "#contract/sse.ts";
import { call, chunksOf, open, type Client } from "./client.ts";
import { keptText } from "./text.ts";

/** A value or display that code produced. `data` has every form it came in, by media type; binary forms are base64. */
export interface Result {
  text: string;
  isMainResult: boolean;
  data: Record<string, string>;
  html?: string;
  markdown?: string;
  svg?: string;
  png?: string;
  jpeg?: string;
  json?: unknown;
}

export interface ExecutionError {
  name: string;
  value: string;
  traceback: string;
}

/** What an execution did. `text` is the value of its last expression; code that fails is an `error` here, never a throw. */
export interface Execution {
  text: string | undefined;
  results: Result[];
  logs: { stdout: string[]; stderr: string[] };
  error: ExecutionError | undefined;
  status: ExecutionStatus;
  executionCount: number;
  durationMs: number;
  /** Bytes of output that are not in `logs`: what passed the bounds of the sandbox or of this client's memory. */
  dropped: { stdout: number; stderr: number };
  /** False when the interpreter had to be replaced: variables are gone, files stay. */
  stateKept: boolean;
}

/** A callback may return a promise: the next event waits for it, and in the end so does the sandbox. */
type Listener<T> = (value: T) => void | Promise<void>;

export interface RunCodeOptions {
  language?: Language | undefined;
  /** A context or its id. Without one, the language's default context runs the code and keeps its state. */
  context?: string | Pick<Context, "id"> | undefined;
  timeoutMs?: number | undefined;
  environment?: Record<string, string> | undefined;
  onStdout?: Listener<string> | undefined;
  onStderr?: Listener<string> | undefined;
  onResult?: Listener<Result> | undefined;
  onError?: Listener<ExecutionError> | undefined;
  signal?: AbortSignal | undefined;
}

/** Runs code and answers when it has ended; output reaches the callbacks as it comes. */
export async function runCode(client: Client, code: string, options: RunCodeOptions = {}): Promise<Execution> {
  const { language, environment, timeoutMs, signal } = options;
  const contextId = typeof options.context === "string" ? options.context : options.context?.id;
  const timeout = timeoutMs === undefined ? undefined : timeoutMs / 1000;
  const body = { code, contextId, language, environment, timeout };
  const response = await open(client, execute, { body, accept: "text/event-stream", signal });
  const record = newRecord();
  for await (const { data } of readEvents(chunksOf(client, response, signal))) {
    const item = readItem(data);
    if (item.type === "endOfExecution") return record.end(item);
    await hear(item, record, options);
  }
  throw new Problem("sandbox_lost", { detail: "The output ended before the code did" });
}

type Item<T extends ExecutionItem["type"]> = Extract<ExecutionItem, { type: T }>;

/** What has come so far, bounded. */
function newRecord() {
  const stdout = keptText(LIMITS.outputBytes);
  const stderr = keptText(LIMITS.outputBytes);
  const results: Result[] = [];
  const record = {
    stdout,
    stderr,
    results,
    error: undefined as ExecutionError | undefined,
    end({ status, executionCount, durationMs, stateKept, dropped }: Item<"endOfExecution">): Execution {
      const text = results.findLast((result) => result.isMainResult)?.text;
      const logs = { stdout: stdout.parts, stderr: stderr.parts };
      const lost = { stdout: dropped.stdout + stdout.dropped(), stderr: dropped.stderr + stderr.dropped() };
      return { text, results, logs, error: record.error, status, executionCount, durationMs, dropped: lost, stateKept };
    },
  };
  return record;
}

async function hear(item: Exclude<ExecutionItem, Item<"endOfExecution">>, record: ReturnType<typeof newRecord>, options: RunCodeOptions) {
  switch (item.type) {
    case "stdout":
      record.stdout.add(item.text);
      return await options.onStdout?.(item.text);
    case "stderr":
      record.stderr.add(item.text);
      return await options.onStderr?.(item.text);
    case "result": {
      const result = resultOf(item);
      record.results.push(result);
      return await options.onResult?.(result);
    }
    case "error":
      record.error = { name: item.name, value: item.value, traceback: item.traceback };
      return await options.onError?.(record.error);
  }
}

/** Interpreters of their own state, side by side in one sandbox. */
export class Contexts {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async create(
    options: { language?: Language | undefined; cwd?: string | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<Context> {
    const { signal, ...body } = options;
    return await call(this.#client, createContext, { body, signal });
  }

  async list(options: { signal?: AbortSignal | undefined } = {}): Promise<Context[]> {
    return await call(this.#client, listContexts, { signal: options.signal });
  }

  async get(contextId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Context> {
    return await call(this.#client, getContext, { params: { contextId }, signal: options.signal });
  }

  async remove(contextId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await call(this.#client, deleteContext, { params: { contextId }, signal: options.signal });
  }

  /** Same id, fresh state. */
  async restart(contextId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Context> {
    return await call(this.#client, restartContext, { params: { contextId }, signal: options.signal });
  }

  /** Stops what runs and keeps the state; false when nothing ran. */
  async interrupt(contextId: string, options: { signal?: AbortSignal | undefined } = {}): Promise<boolean> {
    const answer = await call(this.#client, interruptContext, { params: { contextId }, signal: options.signal });
    return answer.interrupted;
  }
}

function readItem(data: string): ExecutionItem {
  const value: unknown = JSON.parse(data);
  const problem = problemFrom(value);
  if (problem) throw problem;
  const parsed = ExecutionItem.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Problem("internal", {
    detail: "The sandbox sent an event that this client does not know",
    issues: parsed.error.issues.slice(0, 5),
  });
}

function resultOf(item: Item<"result">): Result {
  const { text, main, data } = item;
  const result: Result = { text, isMainResult: main, data };
  for (const [form, mediaType] of FORMS) {
    const value = data[mediaType];
    if (value !== undefined) result[form] = value;
  }
  const json = data["application/json"];
  if (json !== undefined) result.json = parsedOr(json);
  return result;
}

const FORMS = [
  ["html", "text/html"],
  ["markdown", "text/markdown"],
  ["svg", "image/svg+xml"],
  ["png", "image/png"],
  ["jpeg", "image/jpeg"],
] as const;

/** What the sandbox calls JSON may be anything: what does not parse stays text. */
function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
