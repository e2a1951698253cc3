import * as z from "zod";
import { Count, Metadata, Moment, Name, page, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";
import { Environment, TemplateType } from "./template.ts";

export const SandboxState = z.enum(["creating", "ready", "paused", "ending", "ended"]);
export type SandboxState = z.output<typeof SandboxState>;

/** Why a sandbox is no more. `lost` is what is said when the engine forgot it; `failed` when it never started. */
export const EndReason = z.enum([
  "deleted",
  "stopped",
  "idle",
  "lifetime",
  "budget",
  "oom",
  "crashed",
  "engine_restarted",
  "failed",
  "lost",
]);
export type EndReason = z.output<typeof EndReason>;

/** Measured by the engine from outside the sandbox. */
export const Usage = z.object({
  cpuMs: z.number(),
  memoryBytes: z.number(),
  memoryPeakBytes: z.number(),
  diskBytes: z.number(),
  processes: z.number(),
  /** How often the kernel killed something inside for want of memory. */
  oomKills: z.number(),
});
export type Usage = z.output<typeof Usage>;

/**
 * Each layer that seals the sandbox, on or off, and why a missing one is missing. `sealed` when the whole floor is on and
 * `weak` when not; `platform` where the engine is not ours to look into.
 */
export const Isolation = z.object({
  strength: z.enum(["sealed", "weak", "platform"]),
  layers: z.array(z.object({ name: z.string(), on: z.boolean(), why: z.string().optional() })),
});
export type Isolation = z.output<typeof Isolation>;

/** Carries the strength on every answer of the door, so that nobody who runs code can miss that it is `weak`. */
export const ISOLATION_HEADER = "cleanroom-isolation";

export const Sandbox = z.object({
  id: SandboxId,
  template: z.string(),
  type: TemplateType,
  state: SandboxState,
  endReason: EndReason.optional(),
  name: z.string().optional(),
  metadata: Metadata,
  taskId: TaskId,
  /** The snapshot that it was made from. */
  snapshot: Name.optional(),
  /** The browser profile that it was given. */
  browserProfile: Name.optional(),
  cpu: z.number(),
  memoryMiB: z.int(),
  diskMiB: z.int(),
  idleTimeoutMs: z.int(),
  /** Whether being idle pauses it, instead of ending it. */
  autoPause: z.boolean(),
  /** Whether the next request wakes it while it is paused. */
  autoResume: z.boolean(),
  createdAt: Moment,
  /** When the sandbox ends at the latest, whatever it does. */
  endsAt: Moment,
  /** Since when it stands still; there while it is paused. */
  pausedAt: Moment.optional(),
  endedAt: Moment.optional(),
  usage: Usage.optional(),
  isolation: Isolation.optional(),
});
export type Sandbox = z.output<typeof Sandbox>;

export const CreateSandbox = z.strictObject({
  /** Left out, it is the snapshot's, or `code-interpreter`. */
  template: Name.optional(),
  /** The snapshot whose files it starts with. */
  snapshot: Name.optional(),
  /** The browser profile that its browser starts with; only templates that have a browser take one. */
  browserProfile: Name.optional(),
  id: SandboxId.optional(),
  name: z.string().max(128).optional(),
  metadata: Metadata.default({}),
  taskId: TaskId.optional(),
  environment: Environment.default({}),
  idleTimeoutMs: z.int().positive().optional(),
  lifetimeMs: z.int().positive().optional(),
});
export type CreateSandbox = z.output<typeof CreateSandbox>;

/** `lifetimeMs` counts from now: a later end extends the sandbox's life; it never shortens it. */
export const UpdateSandbox = z.strictObject({
  name: z.string().max(128).optional(),
  metadata: Metadata.optional(),
  idleTimeoutMs: z.int().positive().optional(),
  lifetimeMs: z.int().positive().optional(),
});
export type UpdateSandbox = z.output<typeof UpdateSandbox>;

/** Filters of a list; `metadata` is `key=value`, and repeats of a filter narrow it further. */
export const SandboxQuery = z.strictObject({
  state: SandboxState.optional(),
  template: z.string().optional(),
  taskId: z.string().optional(),
  metadata: z
    .string()
    .regex(/^[^=]+=.*$/, "is written key=value")
    .optional(),
  after: z.string().optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type SandboxQuery = z.output<typeof SandboxQuery>;

const params = z.object({ sandboxId: z.string() });

export const createSandbox = operation({
  id: "createSandbox",
  method: "post",
  path: "/api/sandboxes",
  summary: "Make a fresh sealed sandbox; the same id twice is one sandbox",
  body: CreateSandbox,
  status: 201,
  returns: Sandbox,
  errors: [
    "invalid_request",
    "template_not_found",
    "snapshot_not_found",
    "snapshot_too_large",
    "browser_profile_not_found",
    "browser_unavailable",
    "already_exists",
    "quota_exceeded",
    "budget_spent",
    "engine_unavailable",
    "not_supported",
  ],
});

export const listSandboxes = operation({
  id: "listSandboxes",
  method: "get",
  path: "/api/sandboxes",
  summary: "List the project's sandboxes, newest first, ended ones included",
  query: SandboxQuery,
  status: 200,
  returns: page(Sandbox),
  errors: ["invalid_request"],
});

export const getSandbox = operation({
  id: "getSandbox",
  method: "get",
  path: "/api/sandboxes/:sandboxId",
  summary: "Read a sandbox: its state, what it has used, how it is isolated",
  params,
  status: 200,
  returns: Sandbox,
  errors: ["sandbox_not_found"],
});

export const updateSandbox = operation({
  id: "updateSandbox",
  method: "patch",
  path: "/api/sandboxes/:sandboxId",
  summary: "Rename it, change its metadata or idle time, extend its life",
  params,
  body: UpdateSandbox,
  status: 200,
  returns: Sandbox,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready", "invalid_request", "conflict"],
});

export const pauseSandbox = operation({
  id: "pauseSandbox",
  method: "post",
  path: "/api/sandboxes/:sandboxId/pause",
  summary: "Stop a sandbox where it stands, with all that it holds; open streams are cut, its idle time waits; pausing twice is one pause",
  params,
  status: 200,
  returns: Sandbox,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready", "conflict", "engine_unavailable"],
});

export const resumeSandbox = operation({
  id: "resumeSandbox",
  method: "post",
  path: "/api/sandboxes/:sandboxId/resume",
  summary: "Let a paused sandbox go on where it stood; resuming twice is one resume",
  params,
  status: 200,
  returns: Sandbox,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready", "conflict", "engine_unavailable"],
});

export const deleteSandbox = operation({
  id: "deleteSandbox",
  method: "delete",
  path: "/api/sandboxes/:sandboxId",
  summary: "End a sandbox and destroy everything in it; ending twice is one ending",
  params,
  status: 200,
  returns: Sandbox,
  errors: ["sandbox_not_found"],
});
