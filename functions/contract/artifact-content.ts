import * as z from "zod";
import { ArtifactPicture, PICTURE_MEDIA_TYPE } from "./artifact.ts";
import { Count, Moment, page } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** One thing in a directory that was kept. All of it is what the sandbox said: a path leads nowhere until somebody unpacks it. */
export const ArtifactEntry = z.object({
  path: z.string(),
  type: z.enum(["file", "directory", "symlink", "hardlink", "other"]),
  sizeBytes: z.int(),
  mode: z.string(),
  modifiedAt: Moment,
  target: z.string().optional(),
});
export type ArtifactEntry = z.output<typeof ArtifactEntry>;

/**
 * What somebody sees of an artifact before they fetch it: the beginning of a text, the first rows of a table, how large a
 * picture is, that there is a picture of a PDF's first page, what a directory holds. Nothing in it is ever run or decoded
 * beyond that outside of a sandbox; whoever shows it escapes it.
 */
export const ArtifactPreview = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("text"), text: z.string(), encoding: z.enum(["utf-8", "utf-16le", "utf-16be"]), truncated: z.boolean() }),
  z.object({ kind: z.literal("table"), columns: z.array(z.string()), rows: z.array(z.array(z.string())), truncated: z.boolean() }),
  z.object({ kind: z.literal("image"), format: z.string(), width: z.int(), height: z.int(), picture: ArtifactPicture.optional() }),
  z.object({ kind: z.literal("pdf"), picture: ArtifactPicture }),
  z.object({ kind: z.literal("directory"), entries: z.array(ArtifactEntry), truncated: z.boolean() }),
]);
export type ArtifactPreview = z.output<typeof ArtifactPreview>;

const params = z.object({ artifactId: z.string() });

export const previewArtifact = operation({
  id: "previewArtifact",
  method: "get",
  path: "/api/artifacts/:artifactId/preview",
  summary: "See what an artifact begins with, without its being run or decoded",
  params,
  status: 200,
  returns: ArtifactPreview,
  errors: ["artifact_not_found", "not_supported"],
});

export const readArtifactPicture = operation({
  id: "readArtifactPicture",
  method: "get",
  path: "/api/artifacts/:artifactId/preview/picture",
  summary: "Download the small picture that an artifact's own sandbox drew of it: an image, or the first page of a PDF",
  params,
  status: 200,
  streams: { response: PICTURE_MEDIA_TYPE },
  errors: ["artifact_not_found", "not_supported", "range_not_satisfiable"],
});

export const listArtifactEntries = operation({
  id: "listArtifactEntries",
  method: "get",
  path: "/api/artifacts/:artifactId/entries",
  summary: "List what a directory that was kept holds, in the order of its tar",
  params,
  query: z.strictObject({
    after: z
      .string()
      .regex(/^\d{1,15}$/)
      .optional(),
    limit: Count(1000).default(LIMITS.pageMax),
  }),
  status: 200,
  returns: page(ArtifactEntry),
  errors: ["artifact_not_found", "not_a_directory", "invalid_archive"],
});

export const readArtifactEntry = operation({
  id: "readArtifactEntry",
  method: "get",
  path: "/api/artifacts/:artifactId/entries/content",
  summary: "Download one file of a directory that was kept; ranges are honoured",
  params,
  query: z.strictObject({ path: z.string().max(LIMITS.pathBytes).default("") }),
  status: 200,
  streams: { response: "application/octet-stream" },
  errors: ["artifact_not_found", "not_a_directory", "file_not_found", "not_a_file", "range_not_satisfiable"],
});
