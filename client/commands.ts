import { LIMITS } from "#contract/limits.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import { readEvents } from "#contract/sse.ts";
import {
  CommandEvent,
  getProcess,
  killProcess,
  listProcesses,
  readOutput,
  runCommand,
  signalProcess,
  writeStdin,
  type CommandStatus,
  type Process,
  type ProcessDetail,
  type Signal,
} from "#contract/process.ts";
import type { z } from "zod";
import { call, chunksOf, open, type Bytes, type Client } from "./client.ts";
import { keptText } from "./text.ts";

/** A finished command. A failing one is a result with its exit code, never a throw. */
export interface CommandResult {
  pid: string;
  exitCode: number;
  stdout: string;
  stderr: string;
  status: CommandStatus;
  durationMs: number;
  /** Bytes of output that are not in `stdout` and `stderr`. */
  dropped: { stdout: number; stderr: number };
}

type Listener = (text: string) => void | Promise<void>;

export interface OutputOptions {
  onStdout?: Listener | undefined;
  onStderr?: Listener | undefined;
  signal?: AbortSignal | undefined;
}

export interface RunOptions extends OutputOptions {
  cwd?: string | undefined;
  env?: Record<string, string> | undefined;
  timeoutMs?: number | undefined;
  /** Text for its standard input, which is then closed; a background command keeps it open. */
  stdin?: string | undefined;
  tag?: string | undefined;
}

export type SignalName = z.output<typeof Signal>;

/** Shell commands and processes of one sandbox. */
export class Commands {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Runs a shell command to its end, or with `background` answers at once with a handle on it. */
  run(command: string, options: RunOptions & { background: true }): Promise<CommandHandle>;
  run(command: string, options?: RunOptions & { background?: false | undefined }): Promise<CommandResult>;
  async run(command: string, options: RunOptions & { background?: boolean | undefined } = {}): Promise<CommandResult | CommandHandle> {
    const { onStdout: _onStdout, onStderr: _onStderr, signal, timeoutMs, env, ...rest } = options;
    const timeout = timeoutMs === undefined ? undefined : timeoutMs / 1000;
    const body = { command, ...rest, timeout, environment: env ?? {} };
    if (options.background) {
      const { processId } = await call(this.#client, runCommand, { body, signal });
      return new CommandHandle(this.#client, processId, options);
    }
    const response = await open(this.#client, runCommand, { body, accept: "text/event-stream", signal });
    return await collect(eventsOf(this.#client, response, signal), "", options);
  }

  /** A handle on a command that was started here, by whoever: what it has written is read again from the start. */
  async connect(pid: string, options: OutputOptions = {}): Promise<CommandHandle> {
    await call(this.#client, getProcess, { params: { processId: pid }, signal: options.signal });
    return new CommandHandle(this.#client, pid, options);
  }

  async list(options: { signal?: AbortSignal | undefined } = {}): Promise<Process[]> {
    return (await call(this.#client, listProcesses, { signal: options.signal })).items;
  }

  async get(pid: string, options: { signal?: AbortSignal | undefined } = {}): Promise<ProcessDetail> {
    return await call(this.#client, getProcess, { params: { processId: pid }, signal: options.signal });
  }

  /** Ends a process and what it started; with a signal named, only sends that. False when there is no such process. */
  async kill(pid: string, options: { signalName?: SignalName | undefined; signal?: AbortSignal | undefined } = {}): Promise<boolean> {
    const { signalName, signal } = options;
    try {
      if (signalName) {
        await call(this.#client, signalProcess, { params: { processId: pid }, body: { signal: signalName }, signal });
        return true;
      }
      return (await call(this.#client, killProcess, { params: { processId: pid }, signal })).stopped;
    } catch (error) {
      if (error instanceof Problem && error.code === "process_not_found") return false;
      throw error;
    }
  }

  /** Writes to a background command's standard input; `close` ends it after the data. */
  async sendStdin(
    pid: string,
    data: string | Uint8Array,
    options: { close?: boolean | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const query = { close: options.close ? "true" : "false" };
    await call(this.#client, writeStdin, { params: { processId: pid }, query, body: data as Bytes, signal: options.signal });
  }
}

/** A running command: wait for it, read it as it writes, write to it, end it. Dropping the handle leaves it running. */
export class CommandHandle {
  readonly pid: string;
  readonly #client: Client;
  readonly #options: OutputOptions;
  #finished: Promise<CommandResult> | undefined;

  constructor(client: Client, pid: string, options: OutputOptions) {
    this.#client = client;
    this.pid = pid;
    this.#options = options;
    if (options.onStdout ?? options.onStderr) this.wait().catch(() => {});
  }

  /** The result, once it has ended; waiting twice is one wait, and callbacks hear everything once. */
  wait(): Promise<CommandResult> {
    this.#finished ??= collect(this.#events(), this.pid, this.#options);
    return this.#finished;
  }

  async kill(signalName?: SignalName): Promise<boolean> {
    return await new Commands(this.#client).kill(this.pid, { signalName });
  }

  async sendStdin(data: string | Uint8Array, options: { close?: boolean | undefined } = {}): Promise<void> {
    await new Commands(this.#client).sendStdin(this.pid, data, options);
  }

  /** Everything it has written and will write, in order, from the start; leaving the loop stops the reading only. */
  async *[Symbol.asyncIterator](): AsyncGenerator<{ stream: "stdout" | "stderr"; text: string }, void> {
    for await (const event of this.#events()) {
      if (event.type === "stdout" || event.type === "stderr") yield { stream: event.type, text: event.text };
    }
  }

  async *#events(): AsyncGenerator<CommandEvent, void> {
    const { signal } = this.#options;
    const response = await open(this.#client, readOutput, {
      params: { processId: this.pid },
      query: {},
      accept: "text/event-stream",
      signal,
    });
    yield* eventsOf(this.#client, response, signal);
  }
}

async function* eventsOf(client: Client, response: Response, signal: AbortSignal | undefined): AsyncGenerator<CommandEvent, void> {
  for await (const { data } of readEvents(chunksOf(client, response, signal))) {
    const value: unknown = JSON.parse(data);
    const problem = problemFrom(value);
    if (problem) throw problem;
    const parsed = CommandEvent.safeParse(value);
    if (!parsed.success) throw new Problem("internal", { detail: "The sandbox sent an event that this client does not know" });
    yield parsed.data;
    if (parsed.data.type === "end") return;
  }
  throw new Problem("sandbox_lost", { detail: "The output ended before the command did" });
}

async function collect(events: AsyncIterable<CommandEvent>, knownPid: string, options: OutputOptions): Promise<CommandResult> {
  const stdout = keptText(LIMITS.outputBytes);
  const stderr = keptText(LIMITS.outputBytes);
  let pid = knownPid;
  for await (const event of events) {
    if (event.type === "start") pid = event.processId;
    if (event.type === "stdout") {
      stdout.add(event.text);
      await options.onStdout?.(event.text);
    }
    if (event.type === "stderr") {
      stderr.add(event.text);
      await options.onStderr?.(event.text);
    }
    if (event.type !== "end") continue;
    const dropped = { stdout: event.dropped.stdout + stdout.dropped(), stderr: event.dropped.stderr + stderr.dropped() };
    const { exitCode, status, executionTimeMs: durationMs } = event;
    return { pid, exitCode, stdout: stdout.parts.join(""), stderr: stderr.parts.join(""), status, durationMs, dropped };
  }
  throw new Problem("sandbox_lost", { detail: "The output ended before the command did" });
}
