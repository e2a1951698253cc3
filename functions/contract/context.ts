import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

export const Language = z.enum(["python", "javascript"]);
export type Language = z.output<typeof Language>;

/** A running interpreter that keeps its state between executions. */
export const Context = z.object({ id: z.string(), language: Language, cwd: z.string() });
export type Context = z.output<typeof Context>;

/** Seconds, as AgentRun's clients say it; ours may be longer than 30. */
export const TimeoutSeconds = z
  .number()
  .positive()
  .max(LIMITS.timeoutMaxMs / 1000)
  .default(LIMITS.timeoutDefaultMs / 1000);

export const Execute = z.object({
  code: z.string(),
  /** An unknown id makes a new context of that id; absent, the language's default context is used. */
  contextId: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "must be 1 to 64 letters, digits, `_`, `.` or `-`")
    .optional(),
  language: Language.optional(),
  timeout: TimeoutSeconds,
  environment: z.record(z.string(), z.string()).optional(),
});
export type Execute = z.output<typeof Execute>;

export const ExecutionStatus = z.enum(["ok", "error", "timeout", "interrupted", "oom", "killed"]);
export type ExecutionStatus = z.output<typeof ExecutionStatus>;

/** One thing an execution produced, in order. `data` maps media types to text, base64 for binary ones. */
export const ExecutionItem = z.discriminatedUnion("type", [
  z.object({ type: z.literal("stdout"), text: z.string() }),
  z.object({ type: z.literal("stderr"), text: z.string() }),
  z.object({
    type: z.literal("result"),
    text: z.string(),
    data: z.record(z.string(), z.string()),
    executionCount: z.int(),
    main: z.boolean(),
  }),
  z.object({ type: z.literal("error"), name: z.string(), value: z.string(), traceback: z.string() }),
  z.object({
    type: z.literal("endOfExecution"),
    status: ExecutionStatus,
    executionCount: z.int(),
    durationMs: z.number(),
    /** Bytes of output that were not kept, per stream. */
    dropped: z.object({ stdout: z.int(), stderr: z.int() }),
    /** False when the interpreter had to be replaced: variables are gone, files stay. */
    stateKept: z.boolean(),
  }),
]);
export type ExecutionItem = z.output<typeof ExecutionItem>;

/** The whole of one execution. `results` is AgentRun's shape; the other three say the same plainly. */
export const Execution = z.object({
  contextId: z.string(),
  results: z.array(ExecutionItem),
  stdout: z.string(),
  stderr: z.string(),
  exitCode: z.int(),
});
export type Execution = z.output<typeof Execution>;

const params = z.object({ contextId: z.string() });

export const listContexts = operation({
  id: "listContexts",
  method: "get",
  path: "/contexts",
  summary: "List the interpreters of this sandbox",
  status: 200,
  returns: z.array(Context),
  errors: [],
});

export const createContext = operation({
  id: "createContext",
  method: "post",
  path: "/contexts",
  summary: "Start an interpreter of its own state",
  body: z.object({ language: Language.default("python"), cwd: z.string().default("/home/user") }),
  status: 200,
  returns: Context,
  errors: ["invalid_request", "quota_exceeded", "file_not_found", "not_a_directory"],
});

export const getContext = operation({
  id: "getContext",
  method: "get",
  path: "/contexts/:contextId",
  summary: "Read one interpreter",
  params,
  status: 200,
  returns: Context,
  errors: ["context_not_found"],
});

export const deleteContext = operation({
  id: "deleteContext",
  method: "delete",
  path: "/contexts/:contextId",
  summary: "End an interpreter and what it started",
  params,
  status: 204,
  errors: ["context_not_found"],
});

export const restartContext = operation({
  id: "restartContext",
  method: "post",
  path: "/contexts/:contextId/restart",
  summary: "Replace the interpreter: same id, fresh state",
  params,
  status: 200,
  returns: Context,
  errors: ["context_not_found"],
});

export const interruptContext = operation({
  id: "interruptContext",
  method: "post",
  path: "/contexts/:contextId/interrupt",
  summary: "Interrupt what the interpreter is running; its state stays",
  params,
  status: 200,
  returns: z.object({ interrupted: z.boolean() }),
  errors: ["context_not_found"],
});

export const execute = operation({
  id: "execute",
  method: "post",
  path: "/contexts/execute",
  summary: "Run code; with `Accept: text/event-stream` each item is an event as it happens",
  body: Execute,
  bodyLimitBytes: LIMITS.contentBodyBytes,
  status: 200,
  returns: Execution,
  streams: { response: "text/event-stream" },
  errors: ["invalid_request", "quota_exceeded"],
});
