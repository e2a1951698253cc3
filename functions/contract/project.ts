import * as z from "zod";
import { Moment, Name, page, Count } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/**
 * What the sandboxes of a project may take together, all at once: how many there are, and what their templates give them;
 * and what it may have kept: how many artifacts, and their bytes, equal ones counted each time.
 */
export const Quota = z.object({
  sandboxes: z.int(),
  cpu: z.number(),
  memoryMiB: z.int(),
  artifacts: z.int(),
  artifactMiB: z.int(),
});
export type Quota = z.output<typeof Quota>;

/** A tenant. Everything is owned by one project, and a key acts for one project. */
export const Project = z.object({ id: z.string(), name: Name, quota: Quota, createdAt: Moment });
export type Project = z.output<typeof Project>;

/** A credential as its owner gets it once: the pair signs requests, `apiKey` is its bearer form. */
export const Key = z.object({ accessKeyId: z.string(), accessKeySecret: z.string(), apiKey: z.string(), accountId: z.string() });
export type Key = z.output<typeof Key>;

/** What a token is good for: one sandbox, or the sandboxes of one template. */
export const TokenScope = z.union([z.strictObject({ sandboxId: z.string() }), z.strictObject({ template: z.string() })]);
export type TokenScope = z.output<typeof TokenScope>;

const SetQuota = z.strictObject({
  sandboxes: z.int().positive().max(100_000).optional(),
  cpu: z.number().min(0.05).max(1_000_000).optional(),
  memoryMiB: z.int().positive().max(1_000_000_000).optional(),
  artifacts: z.int().positive().max(10_000_000).optional(),
  artifactMiB: z.int().positive().max(1_000_000_000).optional(),
});

export const CreateProject = z.strictObject({
  name: Name,
  /** What is left out is the installation's default. */
  quota: SetQuota.optional(),
});
export type CreateProject = z.output<typeof CreateProject>;

const params = z.object({ projectId: z.string() });

export const createProject = operation({
  id: "createProject",
  method: "post",
  path: "/api/projects",
  summary: "Make a project and its first key (root key only)",
  body: CreateProject,
  status: 201,
  returns: z.object({ project: Project, key: Key }),
  errors: ["forbidden", "already_exists", "invalid_request"],
});

export const listProjects = operation({
  id: "listProjects",
  method: "get",
  path: "/api/projects",
  summary: "List the projects (root key only)",
  query: z.strictObject({ after: z.string().optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) }),
  status: 200,
  returns: page(Project),
  errors: ["forbidden"],
});

export const updateProject = operation({
  id: "updateProject",
  method: "patch",
  path: "/api/projects/:projectId",
  summary: "Change a project's quotas; sandboxes that it has stay (root key only)",
  params,
  body: z.strictObject({ quota: SetQuota }),
  status: 200,
  returns: Project,
  errors: ["forbidden", "project_not_found", "invalid_request", "conflict"],
});

export const createKey = operation({
  id: "createKey",
  method: "post",
  path: "/api/projects/:projectId/keys",
  summary: "Make another key for a project (root key, or a key of that project)",
  params,
  body: z.strictObject({}),
  status: 201,
  returns: Key,
  errors: ["project_not_found", "forbidden"],
});

export const deleteKey = operation({
  id: "deleteKey",
  method: "delete",
  path: "/api/keys/:accessKeyId",
  summary: "Revoke a key; it stops working at once",
  params: z.object({ accessKeyId: z.string() }),
  status: 204,
  errors: ["forbidden"],
});

export const whoAmI = operation({
  id: "whoAmI",
  method: "get",
  path: "/api/me",
  summary: "The project that the credential acts for",
  status: 200,
  returns: z.object({ project: Project, accessKeyId: z.string() }),
  errors: ["unauthenticated"],
});

export const getHealth = operation({
  id: "getHealth",
  method: "get",
  path: "/health",
  summary: "Whether the door is open, and which version answers",
  status: 200,
  returns: z.object({ status: z.literal("ok"), version: z.string(), startedAt: Moment, engine: z.enum(["ok", "down"]) }),
  errors: [],
});
