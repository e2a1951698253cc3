import * as z from "zod";
import { Count, Moment, Name, page, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";
import { Sandbox } from "./sandbox.ts";
import { Environment } from "./template.ts";

/**
 * The files of a sandbox as they were read once, kept outside of it. `sizeBytes` is the length of the stream that they are
 * kept as, `newBytes` how much of it the project did not have yet; equal files have one `digest`. `files` and `skipped`
 * are the sandbox's word.
 */
export const Snapshot = z.object({
  id: z.string(),
  name: Name,
  sandboxId: SandboxId,
  taskId: TaskId,
  template: z.string(),
  sizeBytes: z.int(),
  newBytes: z.int(),
  digest: z.string(),
  files: z.int(),
  /** What could not be kept: sockets, pipes, and files that not even their owner may read. */
  skipped: z.int(),
  createdAt: Moment,
});
export type Snapshot = z.output<typeof Snapshot>;

export const CreateSnapshot = z.strictObject({ name: Name });
export type CreateSnapshot = z.output<typeof CreateSnapshot>;

export const SnapshotQuery = z.strictObject({ after: Name.optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) });
export type SnapshotQuery = z.output<typeof SnapshotQuery>;

/** Variables are memory, so that a fork has only those of its template and these. */
export const ForkSandbox = z.strictObject({
  count: z.int().min(1).max(LIMITS.forksAtOnce).default(1),
  environment: Environment.default({}),
});
export type ForkSandbox = z.output<typeof ForkSandbox>;

const ofSandbox = z.object({ sandboxId: z.string() });
const params = z.object({ snapshot: z.string() });

export const createSnapshot = operation({
  id: "createSnapshot",
  method: "post",
  path: "/api/sandboxes/:sandboxId/snapshots",
  summary: "Keep all files of a sandbox under a name, to make others from; memory and processes are not kept",
  params: ofSandbox,
  body: CreateSnapshot,
  status: 201,
  returns: Snapshot,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready", "already_exists", "body_too_large", "quota_exceeded"],
});

export const forkSandbox = operation({
  id: "forkSandbox",
  method: "post",
  path: "/api/sandboxes/:sandboxId/fork",
  summary: "Make sandboxes of the same template with the same files; all of them or none",
  params: ofSandbox,
  body: ForkSandbox,
  status: 201,
  returns: z.object({ items: z.array(Sandbox) }),
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready", "quota_exceeded", "body_too_large", "engine_unavailable"],
});

export const listSnapshots = operation({
  id: "listSnapshots",
  method: "get",
  path: "/api/snapshots",
  summary: "List the project's snapshots by name",
  query: SnapshotQuery,
  status: 200,
  returns: page(Snapshot),
  errors: ["invalid_request"],
});

export const getSnapshot = operation({
  id: "getSnapshot",
  method: "get",
  path: "/api/snapshots/:snapshot",
  summary: "Read a snapshot's description",
  params,
  status: 200,
  returns: Snapshot,
  errors: ["snapshot_not_found"],
});

export const deleteSnapshot = operation({
  id: "deleteSnapshot",
  method: "delete",
  path: "/api/snapshots/:snapshot",
  summary: "Delete a snapshot and the bytes that no other has; sandboxes made from it stay as they are",
  params,
  status: 204,
  errors: ["snapshot_not_found"],
});
