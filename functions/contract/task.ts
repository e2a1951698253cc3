import * as z from "zod";
import { Budget } from "./budget.ts";
import { Count, Metadata, Moment, page, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

export const TaskState = z.enum(["open", "finished", "cancelled"]);
export type TaskState = z.output<typeof TaskState>;

/** What became of it, in the words of whoever finished it. */
export const TaskOutcome = z.strictObject({
  status: z.enum(["succeeded", "failed", "cancelled"]),
  summary: z.string().max(4096).optional(),
});
export type TaskOutcome = z.output<typeof TaskOutcome>;

/** Which program acts: an agent by its name and version, or whatever a caller calls itself. */
export const TaskAgent = z.strictObject({ name: z.string().min(1).max(128), version: z.string().max(64).optional() });

/** What is held to for this task, over and above the project's own settings. */
export const TaskPolicy = z.strictObject({
  /** Whether spans keep the text that went in and came out, beside its digests. Off unless it is asked for. */
  content: z.enum(["none", "text"]).optional(),
});
export type TaskPolicy = z.output<typeof TaskPolicy>;

/** Whose key asked; `onBehalfOf` is what that caller says of somebody else, and nobody has checked it. */
const Requester = z.object({ accessKeyId: z.string(), onBehalfOf: z.string().optional() });

/** One run of an agent or of a caller's program: what sandboxes, artifacts, spans and audit records hang on. */
export const Task = z.object({
  id: TaskId,
  state: TaskState,
  name: z.string().optional(),
  metadata: Metadata,
  agent: TaskAgent.optional(),
  /** Made with a sandbox that named no task; it ends with that sandbox. */
  own: z.boolean(),
  requestedBy: Requester,
  policy: TaskPolicy,
  budget: Budget.optional(),
  /** W3C Trace Context: the trace that its spans belong to, the caller's if it sent a `traceparent`. */
  traceId: z.string(),
  outcome: TaskOutcome.optional(),
  createdAt: Moment,
  endedAt: Moment.optional(),
});
export type Task = z.output<typeof Task>;

/** A task with what hangs on it, newest first and the newest hundred of each. */
export const TaskDetail = Task.extend({
  sandboxes: z.array(z.object({ id: SandboxId, template: z.string(), state: z.string() })),
  artifacts: z.array(z.object({ id: z.string(), name: z.string(), sizeBytes: z.int(), sandboxId: SandboxId.optional() })),
});
export type TaskDetail = z.output<typeof TaskDetail>;

export const CreateTask = z.strictObject({
  id: TaskId.optional(),
  name: z.string().max(128).optional(),
  metadata: Metadata.default({}),
  agent: TaskAgent.optional(),
  onBehalfOf: z.string().max(128).optional(),
  policy: TaskPolicy.default({}),
  /** What its sandboxes may spend at most, together. */
  budget: Budget.optional(),
});
export type CreateTask = z.output<typeof CreateTask>;

/** Filters of a list; repeats of a filter narrow it further. */
export const TaskQuery = z.strictObject({
  state: TaskState.optional(),
  own: z.enum(["true", "false"]).optional(),
  agent: z.string().optional(),
  after: z.string().optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type TaskQuery = z.output<typeof TaskQuery>;

const params = z.object({ taskId: z.string() });

export const createTask = operation({
  id: "createTask",
  method: "post",
  path: "/api/tasks",
  summary: "Begin a task, which sandboxes then name",
  body: CreateTask,
  status: 201,
  returns: Task,
  errors: ["invalid_request", "already_exists"],
});

export const listTasks = operation({
  id: "listTasks",
  method: "get",
  path: "/api/tasks",
  summary: "List the project's tasks, newest first",
  query: TaskQuery,
  status: 200,
  returns: page(Task),
  errors: ["invalid_request"],
});

export const getTask = operation({
  id: "getTask",
  method: "get",
  path: "/api/tasks/:taskId",
  summary: "Read a task: who asked, what hangs on it, what became of it",
  params,
  status: 200,
  returns: TaskDetail,
  errors: ["task_not_found"],
});

export const finishTask = operation({
  id: "finishTask",
  method: "post",
  path: "/api/tasks/:taskId/finish",
  summary: "Say what became of a task; its sandboxes live on, and no other may name it. The same outcome twice is one",
  params,
  body: z.strictObject({ outcome: TaskOutcome }),
  status: 200,
  returns: Task,
  errors: ["task_not_found", "task_ended", "invalid_request", "conflict"],
});

export const cancelTask = operation({
  id: "cancelTask",
  method: "post",
  path: "/api/tasks/:taskId/cancel",
  summary: "Cancel a task and end all its sandboxes; cancelling twice is one cancelling",
  params,
  body: z.strictObject({ reason: z.string().max(4096).optional() }),
  status: 200,
  returns: Task,
  errors: ["task_not_found", "task_ended", "invalid_request", "conflict"],
});
