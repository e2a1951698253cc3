import * as z from "zod";
import { Count, Moment, page, SandboxId, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

export const PICTURE_MEDIA_TYPE = "image/jpeg";

/**
 * A small picture of an image, or of the first page of a PDF. The sandbox that had the file drew it, and it is as much its
 * word as the file is.
 */
export const ArtifactPicture = z.object({
  width: z.int().min(1).max(LIMITS.artifactPictureSide),
  height: z.int().min(1).max(LIMITS.artifactPictureSide),
  sizeBytes: z.int(),
});
export type ArtifactPicture = z.output<typeof ArtifactPicture>;

/**
 * A file or a directory kept outside the sandbox that made it. Keeping the same name again makes its next `version`.
 * `sha256` is of the bytes, in hex; `mediaType` is what the bytes are, and the name's word only where they leave it open.
 * A directory is one tar. `traceId` and `spanId` name the step of the trace that kept it.
 */
export const Artifact = z.object({
  id: z.string(),
  name: z.string(),
  version: z.int(),
  kind: z.enum(["file", "directory"]),
  sizeBytes: z.int(),
  sha256: z.string(),
  mediaType: z.string(),
  sandboxId: SandboxId.optional(),
  taskId: TaskId.optional(),
  traceId: z.string().optional(),
  spanId: z.string().optional(),
  path: z.string(),
  /** Read it at `…/preview/picture`. */
  picture: ArtifactPicture.optional(),
  /** Until then nobody deletes it; it may be moved later, never earlier. */
  retainUntil: Moment.optional(),
  /** While it is on, nobody deletes it. */
  hold: z.boolean(),
  createdAt: Moment,
});
export type Artifact = z.output<typeof Artifact>;

export const ArtifactName = z.string().min(1).max(255);

export const KeepArtifact = z.strictObject({
  path: z.string().min(1).max(LIMITS.pathBytes),
  name: ArtifactName.optional(),
  mediaType: z.string().max(255).optional(),
  retainUntil: Moment.optional(),
});
export type KeepArtifact = z.output<typeof KeepArtifact>;

export const ChangeArtifact = z.strictObject({ retainUntil: Moment.optional(), hold: z.boolean().optional() });
export type ChangeArtifact = z.output<typeof ChangeArtifact>;

/** A download that needs no credential until it expires: bound to one artifact's bytes, to reading, and to one moment. */
export const ArtifactLink = z.object({ url: z.string(), expiresAt: Moment });
export type ArtifactLink = z.output<typeof ArtifactLink>;

export const ArtifactQuery = z.strictObject({
  sandboxId: z.string().optional(),
  taskId: z.string().optional(),
  /** All versions of one name, or one of them by its number, or the newest. */
  name: ArtifactName.optional(),
  version: z.union([z.literal("latest"), Count(Number.MAX_SAFE_INTEGER)]).optional(),
  after: z.string().optional(),
  limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault),
});
export type ArtifactQuery = z.output<typeof ArtifactQuery>;

/** What a project has kept, and what it may keep. */
export const ArtifactUsage = z.object({
  artifacts: z.int(),
  sizeBytes: z.int(),
  maxArtifacts: z.int(),
  maxBytes: z.int(),
});
export type ArtifactUsage = z.output<typeof ArtifactUsage>;

const params = z.object({ artifactId: z.string() });

export const keepArtifact = operation({
  id: "keepArtifact",
  method: "post",
  path: "/api/sandboxes/:sandboxId/artifacts",
  summary: "Keep a file or a directory of a sandbox outside it, so that it outlives the sandbox",
  params: z.object({ sandboxId: z.string() }),
  body: KeepArtifact,
  status: 201,
  returns: Artifact,
  errors: [
    "sandbox_not_found",
    "sandbox_ended",
    "file_not_found",
    "not_a_file",
    "invalid_path",
    "invalid_archive",
    "file_changed",
    "body_too_large",
    "quota_exceeded",
    "disk_full",
  ],
});

export const listArtifacts = operation({
  id: "listArtifacts",
  method: "get",
  path: "/api/artifacts",
  summary: "List what was kept, newest first; `name` lists its versions, `version` picks one",
  query: ArtifactQuery,
  status: 200,
  returns: page(Artifact),
  errors: ["invalid_request"],
});

export const getArtifactUsage = operation({
  id: "getArtifactUsage",
  method: "get",
  path: "/api/artifact-usage",
  summary: "How much the project has kept, and may keep",
  status: 200,
  returns: ArtifactUsage,
  errors: [],
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

export const changeArtifact = operation({
  id: "changeArtifact",
  method: "patch",
  path: "/api/artifacts/:artifactId",
  summary: "Retain an artifact until a moment, or put a legal hold on it or take it off; the audit log has each",
  params,
  body: ChangeArtifact,
  status: 200,
  returns: Artifact,
  errors: ["artifact_not_found", "artifact_retained", "conflict", "invalid_request"],
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
  summary: "Download an artifact by its link; `Range`, `If-Range` and `If-None-Match` are honoured",
  params,
  query: z.object({ expires: z.string(), ticket: z.string() }),
  status: 200,
  streams: { response: "application/octet-stream" },
  errors: ["link_not_valid", "artifact_not_found", "range_not_satisfiable"],
});

export const deleteArtifact = operation({
  id: "deleteArtifact",
  method: "delete",
  path: "/api/artifacts/:artifactId",
  summary: "Delete an artifact and, when nothing else has the same bytes, the bytes",
  params,
  status: 204,
  errors: ["artifact_not_found", "artifact_retained"],
});
