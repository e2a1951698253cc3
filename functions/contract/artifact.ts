import * as z from "zod";
import { Count, Moment, page, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** A file kept outside the sandbox that made it. `sha256` is of the bytes, in hex. */
export const Artifact = z.object({
  id: z.string(),
  name: z.string(),
  sizeBytes: z.int(),
  sha256: z.string(),
  mediaType: z.string(),
  sandboxId: SandboxId,
  taskId: TaskId,
  path: z.string(),
  createdAt: Moment,
});
export type Artifact = z.output<typeof Artifact>;

export const KeepArtifact = z.strictObject({
  path: z.string().min(1).max(LIMITS.pathBytes),
  name: z.string().min(1).max(255).optional(),
  mediaType: z.string().max(255).optional(),
});
export type KeepArtifact = z.output<typeof KeepArtifact>;

/** A download that needs no credential until it expires: bound to one artifact's bytes and one moment. */
export const ArtifactLink = z.object({ url: z.string(), expiresAt: Moment });
export type ArtifactLink = z.output<typeof ArtifactLink>;

export const ArtifactQuery = z.strictObject({
  sandboxId: z.string().optional(),
  taskId: z.string().optional(),
  after: z.string().optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type ArtifactQuery = z.output<typeof ArtifactQuery>;

const params = z.object({ artifactId: z.string() });

export const keepArtifact = operation({
  id: "keepArtifact",
  method: "post",
  path: "/api/sandboxes/:sandboxId/artifacts",
  summary: "Keep a file of a sandbox outside it, so that it outlives the sandbox",
  params: z.object({ sandboxId: z.string() }),
  body: KeepArtifact,
  status: 201,
  returns: Artifact,
  errors: ["sandbox_not_found", "sandbox_ended", "file_not_found", "not_a_file", "invalid_path"],
});

export const listArtifacts = operation({
  id: "listArtifacts",
  method: "get",
  path: "/api/artifacts",
  summary: "List what was kept, newest first",
  query: ArtifactQuery,
  status: 200,
  returns: page(Artifact),
  errors: ["invalid_request"],
});

export const getArtifact = operation({
  id: "getArtifact",
  method: "get",
  path: "/api/artifacts/:artifactId",
  summary: "Read an artifact's description",
  params,
  status: 200,
  returns: Artifact,
  errors: ["artifact_not_found"],
});

export const linkArtifact = operation({
  id: "linkArtifact",
  method: "post",
  path: "/api/artifacts/:artifactId/link",
  summary: "Make a download link that expires",
  params,
  body: z.strictObject({ lifetimeMs: z.int().min(1000).max(LIMITS.linkMaxMs).default(LIMITS.linkDefaultMs) }),
  status: 201,
  returns: ArtifactLink,
  errors: ["artifact_not_found", "invalid_request"],
});

export const downloadArtifact = operation({
  id: "downloadArtifact",
  method: "get",
  path: "/artifacts/:artifactId/content",
  summary: "Download an artifact by its link",
  params,
  query: z.object({ expires: z.string(), ticket: z.string() }),
  status: 200,
  streams: { response: "application/octet-stream" },
  errors: ["link_not_valid", "artifact_not_found"],
});

export const deleteArtifact = operation({
  id: "deleteArtifact",
  method: "delete",
  path: "/api/artifacts/:artifactId",
  summary: "Delete an artifact and, when nothing else has the same bytes, the bytes",
  params,
  status: 204,
  errors: ["artifact_not_found"],
});
