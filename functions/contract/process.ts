import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** A shell command. `background` answers at once with the process id; output is read from its own route. */
export const RunCommand = z.object({
  command: z.string().min(1),
  cwd: z.string().default("/home/user"),
  /** Seconds; a foreground command has 30 unless told, a background one none. */
  timeout: z
    .number()
    .positive()
    .max(LIMITS.timeoutMaxMs / 1000)
    .optional(),
  environment: z.record(z.string(), z.string()).default({}),
  /** Text for its standard input, which is then closed; a background process keeps it open. */
  stdin: z.string().optional(),
  background: z.boolean().default(false),
  tag: z.string().max(128).optional(),
});
export type RunCommand = z.output<typeof RunCommand>;

export const CommandStatus = z.enum(["running", "completed", "timeout", "oom", "killed"]);
export type CommandStatus = z.output<typeof CommandStatus>;

/** A finished command. A command that a signal ended has exit code 128 + the signal's number, as shells say it; a timed-out one 124. */
export const CommandResult = z.object({
  exitCode: z.int(),
  stdout: z.string(),
  stderr: z.string(),
  cwd: z.string(),
  executionTimeMs: z.number(),
  dropped: z.object({ stdout: z.int(), stderr: z.int() }),
});
export type CommandResult = z.output<typeof CommandResult>;

export const CommandAnswer = z.object({
  executionId: z.string(),
  processId: z.string(),
  status: CommandStatus,
  result: CommandResult.optional(),
  executionTimeMs: z.number(),
});
export type CommandAnswer = z.output<typeof CommandAnswer>;

/** An event of a streamed command or of an attached output. `offset` counts bytes of the stream from its start. */
export const CommandEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("start"), processId: z.string() }),
  z.object({ type: z.literal("stdout"), text: z.string(), offset: z.int() }),
  z.object({ type: z.literal("stderr"), text: z.string(), offset: z.int() }),
  z.object({
    type: z.literal("end"),
    status: CommandStatus,
    exitCode: z.int(),
    executionTimeMs: z.number(),
    dropped: z.object({ stdout: z.int(), stderr: z.int() }),
  }),
]);
export type CommandEvent = z.output<typeof CommandEvent>;

export const Process = z.object({
  processId: z.string(),
  status: z.string(),
  command: z.string(),
  tag: z.string().optional(),
  createdAt: z.string(),
  exitCode: z.int().optional(),
});
export type Process = z.output<typeof Process>;

export const ProcessDetail = Process.extend({
  working_dir: z.string(),
  environment: z.record(z.string(), z.string()),
  resourceUsage: z.object({ cpuPercent: z.number(), memoryMb: z.number() }),
});
export type ProcessDetail = z.output<typeof ProcessDetail>;

export const Signal = z.enum(["SIGINT", "SIGTERM", "SIGKILL", "SIGHUP", "SIGSTOP", "SIGCONT", "SIGUSR1", "SIGUSR2"]);

const params = z.object({ processId: z.string() });

export const runCommand = operation({
  id: "runCommand",
  method: "post",
  path: "/processes/cmd",
  summary: "Run a shell command; with `Accept: text/event-stream` its output is events as it comes",
  body: RunCommand,
  bodyLimitBytes: LIMITS.contentBodyBytes,
  status: 200,
  returns: CommandAnswer,
  streams: { response: "text/event-stream" },
  errors: ["invalid_request", "file_not_found", "not_a_directory"],
});

export const listProcesses = operation({
  id: "listProcesses",
  method: "get",
  path: "/processes",
  summary: "List the user's processes; the workspace's own are not among them",
  status: 200,
  returns: z.object({ items: z.array(Process), total: z.int() }),
  errors: [],
});

export const getProcess = operation({
  id: "getProcess",
  method: "get",
  path: "/processes/:processId",
  summary: "Read one process",
  params,
  status: 200,
  returns: ProcessDetail,
  errors: ["process_not_found"],
});

export const killProcess = operation({
  id: "killProcess",
  method: "delete",
  path: "/processes/:processId",
  summary: "End a process and its descendants: SIGTERM, then SIGKILL",
  params,
  status: 200,
  returns: z.object({ pid: z.string(), stopped: z.boolean(), stopped_at: z.string(), message: z.string() }),
  errors: ["process_not_found", "forbidden"],
});

export const signalProcess = operation({
  id: "signalProcess",
  method: "post",
  path: "/processes/:processId/signal",
  summary: "Send a signal to a process",
  params,
  body: z.strictObject({ signal: Signal }),
  status: 204,
  errors: ["process_not_found", "invalid_request", "forbidden"],
});

export const writeStdin = operation({
  id: "writeStdin",
  method: "post",
  path: "/processes/:processId/stdin",
  summary: "Write the body's bytes to a background process's standard input; `close=true` ends it",
  params,
  query: z.strictObject({ close: z.stringbool().default(false) }),
  streams: { request: "application/octet-stream" },
  status: 204,
  errors: ["process_not_found", "conflict"],
});

export const readOutput = operation({
  id: "readOutput",
  method: "get",
  path: "/processes/:processId/output",
  summary: "Attach to a process started here: kept output first, then what comes, as events until it ends",
  params,
  query: z.strictObject({
    stdoutFrom: z.coerce.number().int().min(0).default(0),
    stderrFrom: z.coerce.number().int().min(0).default(0),
    follow: z.stringbool().default(true),
  }),
  streams: { response: "text/event-stream" },
  status: 200,
  returns: CommandEvent,
  errors: ["process_not_found"],
});
