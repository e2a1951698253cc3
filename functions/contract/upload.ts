import * as z from "zod";
import { Artifact, ArtifactLink, ArtifactName } from "./artifact.ts";
import { Count, Moment, page, TaskId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** One part of an upload as it was received. Sending it again replaces it. Of what went straight to the store nobody has seen the hash. */
export const UploadPart = z.object({ part: z.int(), sizeBytes: z.int(), sha256: z.string().optional() });
export type UploadPart = z.output<typeof UploadPart>;

/**
 * An artifact on its way, in parts that survive whatever breaks between them. It takes its `sizeBytes` of the project's
 * quota until it is completed, aborted, or abandoned at `expiresAt`.
 */
export const Upload = z.object({
  id: z.string(),
  name: z.string(),
  sizeBytes: z.int(),
  mediaType: z.string().optional(),
  taskId: TaskId.optional(),
  retainUntil: Moment.optional(),
  /** What it becomes. */
  artifactId: z.string(),
  receivedBytes: z.int(),
  parts: z.array(UploadPart),
  createdAt: Moment,
  expiresAt: Moment,
});
export type Upload = z.output<typeof Upload>;

export const CreateUpload = z.strictObject({
  name: ArtifactName,
  /** All of it; what comes must be exactly so much. */
  sizeBytes: z.int().min(0).max(LIMITS.uploadBytes),
  mediaType: z.string().max(255).optional(),
  taskId: TaskId.optional(),
  retainUntil: Moment.optional(),
});
export type CreateUpload = z.output<typeof CreateUpload>;

const UploadQuery = z.strictObject({ after: z.string().optional(), limit: Count(LIMITS.pageMax).default(LIMITS.pageDefault) });
export type UploadQuery = z.output<typeof UploadQuery>;

/** The hash, where its sender knows it: other bytes than these become no artifact. */
const CompleteUpload = z.strictObject({
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "is a SHA-256 in hex")
    .optional(),
});

const params = z.object({ uploadId: z.string() });
const ofPart = z.object({ uploadId: z.string(), part: Count(LIMITS.uploadParts) });

export const createUpload = operation({
  id: "createUpload",
  method: "post",
  path: "/api/uploads",
  summary: "Begin to upload an artifact in parts",
  body: CreateUpload,
  status: 201,
  returns: Upload,
  errors: ["quota_exceeded", "task_not_found", "invalid_request"],
});

export const listUploads = operation({
  id: "listUploads",
  method: "get",
  path: "/api/uploads",
  summary: "List the uploads that are under way, oldest first, without their parts",
  query: UploadQuery,
  status: 200,
  returns: page(Upload.omit({ parts: true, receivedBytes: true })),
  errors: ["invalid_request"],
});

export const getUpload = operation({
  id: "getUpload",
  method: "get",
  path: "/api/uploads/:uploadId",
  summary: "Read an upload with the parts that were received",
  params,
  status: 200,
  returns: Upload,
  errors: ["upload_not_found"],
});

export const putUploadPart = operation({
  id: "putUploadPart",
  method: "put",
  path: "/api/uploads/:uploadId/parts/:part",
  summary: "Send one part, the bytes as they are; it is kept whole or not at all",
  params: ofPart,
  streams: { request: "application/octet-stream" },
  status: 200,
  returns: UploadPart,
  errors: ["upload_not_found", "body_too_large", "disk_full"],
});

export const linkUploadPart = operation({
  id: "linkUploadPart",
  method: "post",
  path: "/api/uploads/:uploadId/parts/:part/link",
  summary: "Make a link to PUT one part of exactly one size until a moment; where the store has a door, straight to it",
  params: ofPart,
  body: z.strictObject({
    sizeBytes: z.int().min(0).max(LIMITS.uploadBytes),
    lifetimeMs: z.int().min(1000).max(LIMITS.linkMaxMs).default(LIMITS.linkDefaultMs),
  }),
  status: 201,
  returns: ArtifactLink,
  errors: ["upload_not_found", "invalid_request"],
});

export const sendUploadPart = operation({
  id: "sendUploadPart",
  method: "put",
  path: "/uploads/:uploadId/parts/:part",
  summary: "Send one part by its link",
  params: ofPart,
  query: z.strictObject({ expires: z.string(), size: z.string(), ticket: z.string() }),
  streams: { request: "application/octet-stream" },
  status: 200,
  returns: UploadPart,
  errors: ["link_not_valid", "upload_not_found", "body_too_large", "disk_full"],
});

export const completeUpload = operation({
  id: "completeUpload",
  method: "post",
  path: "/api/uploads/:uploadId/complete",
  summary: "Make the artifact of the parts, in their order; completing twice is one artifact",
  params,
  body: CompleteUpload,
  status: 201,
  returns: Artifact,
  errors: ["upload_not_found", "upload_incomplete", "disk_full"],
});

export const abortUpload = operation({
  id: "abortUpload",
  method: "delete",
  path: "/api/uploads/:uploadId",
  summary: "Give an upload up, with its parts",
  params,
  status: 204,
  errors: ["upload_not_found"],
});
