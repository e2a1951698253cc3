import * as z from "zod";
import { Count, Moment } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

export const RECORDING_MEDIA_TYPE = "video/x-matroska";

/** One video of a sandbox's display, as AgentRun's clients know it. `artifactId` names it among the artifacts once it is whole. */
export const Recording = z.object({
  filename: z.string(),
  size: z.int(),
  state: z.enum(["recording", "recorded"]),
  startedAt: Moment,
  /** When it ended, or how far it has come. */
  endedAt: Moment,
  artifactId: z.string().optional(),
});
export type Recording = z.output<typeof Recording>;

/** A page by its number, as AgentRun's clients ask; what else they add is nobody's. */
export const RecordingQuery = z.object({ page: Count(1_000_000).default(1), page_size: Count(LIMITS.pageMax).default(LIMITS.pageDefault) });
export type RecordingQuery = z.output<typeof RecordingQuery>;

export const RecordingPage = z.object({ recordings: z.array(Recording), total: z.int(), page: z.int(), page_size: z.int() });
export type RecordingPage = z.output<typeof RecordingPage>;

const params = z.object({ sandboxId: z.string(), filename: z.string() });

export const listRecordings = operation({
  id: "listRecordings",
  method: "get",
  path: "/sandboxes/:sandboxId/recordings",
  summary: "List the videos of a sandbox's display, oldest first; also after the sandbox has ended",
  params: z.object({ sandboxId: z.string() }),
  query: RecordingQuery,
  status: 200,
  returns: RecordingPage,
  errors: ["invalid_request", "sandbox_not_found"],
});

export const downloadRecording = operation({
  id: "downloadRecording",
  method: "get",
  path: "/sandboxes/:sandboxId/recordings/:filename",
  summary: "Download a video, or as much as there is of one that goes on",
  params,
  status: 200,
  streams: { response: RECORDING_MEDIA_TYPE },
  errors: ["sandbox_not_found", "recording_not_found", "range_not_satisfiable"],
});

export const deleteRecording = operation({
  id: "deleteRecording",
  method: "delete",
  path: "/sandboxes/:sandboxId/recordings/:filename",
  summary: "Delete a video; one that goes on is deleted once it has ended",
  params,
  status: 204,
  errors: ["sandbox_not_found", "recording_not_found", "conflict"],
});
