import * as z from "zod";
import { PICTURE_MEDIA_TYPE } from "./artifact.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";
import { RECORDING_MEDIA_TYPE } from "./recording.ts";
import { Program } from "./program.ts";
import { Environment } from "./template.ts";

/** Says that the core itself asks; whatever a client sends under this name stays at the door. */
export const INNER_HEADER = "cleanroom-inner";

/** Says that a client asks, in whose sandbox an image's program may be the one to answer; nobody's to send but the door's. */
export const CLIENT_HEADER = "cleanroom-client";
/** Beside an answer: the port inside that it came from. */
export const SERVED_HEADER = "cleanroom-served";

/** Beside a snapshot's bytes: how many entries it has, and how many things could not be kept. */
export const FILES_HEADER = "snapshot-files";
export const SKIPPED_HEADER = "snapshot-skipped";

export const SNAPSHOT_MEDIA_TYPE = "application/x-tar";

/** The display as a video, as it is made; one at a time. It ends by itself at its bounds, or when `endRecording` is asked. */
export const recordDisplay = operation({
  id: "recordDisplay",
  method: "get",
  path: "/recording",
  summary: "The display as a video, from now on",
  status: 200,
  streams: { response: RECORDING_MEDIA_TYPE },
  errors: ["route_not_found", "conflict", "display_unavailable"],
});

/** Has the video that is being made come to its end; none is one that has. */
export const endRecording = operation({
  id: "endRecording",
  method: "delete",
  path: "/recording",
  summary: "End the video that is being made",
  status: 204,
  errors: ["route_not_found"],
});

/** All files of the user as one tar, in an order that equal files always have. Only the core asks for it. */
export const readSnapshot = operation({
  id: "readSnapshot",
  method: "get",
  path: "/snapshot",
  summary: "Every file of the user, as a tar",
  status: 200,
  streams: { response: SNAPSHOT_MEDIA_TYPE },
  errors: ["route_not_found", "body_too_large"],
});

/** Makes the files of the user those of a tar. Only the core asks for it, of a sandbox that nobody has yet. */
export const writeSnapshot = operation({
  id: "writeSnapshot",
  method: "put",
  path: "/snapshot",
  summary: "Replace every file of the user by those of a tar",
  streams: { request: SNAPSHOT_MEDIA_TYPE },
  status: 204,
  errors: ["route_not_found", "invalid_archive", "disk_full"],
});

export const BROWSER_PROFILE_MEDIA_TYPE = "application/x-tar";

/** What the browser remembers, as a tar. The browser has closed when it begins; only the core asks for it. */
export const takeProfile = operation({
  id: "takeProfile",
  method: "post",
  path: "/profile",
  summary: "Close the browser and answer what it remembers, as a tar",
  status: 200,
  streams: { response: BROWSER_PROFILE_MEDIA_TYPE },
  errors: ["route_not_found", "not_supported", "browser_unavailable", "body_too_large"],
});

/** Has the browser remember what a tar says, and nothing else. Only the core asks for it, of a sandbox that nobody has yet. */
export const giveProfile = operation({
  id: "giveProfile",
  method: "put",
  path: "/profile",
  summary: "Replace what the browser remembers by what a tar says",
  streams: { request: BROWSER_PROFILE_MEDIA_TYPE },
  status: 204,
  errors: ["route_not_found", "not_supported", "browser_unavailable", "invalid_archive", "body_too_large", "disk_full"],
});

/** A small picture of a file, which a program inside draws. Only the core asks for it, of what it keeps. */
export const readPicture = operation({
  id: "readPicture",
  method: "get",
  path: "/picture",
  summary: "A small picture of an image, or of the first page of a PDF",
  query: z.strictObject({ path: z.string().min(1).max(LIMITS.pathBytes) }),
  status: 200,
  streams: { response: PICTURE_MEDIA_TYPE },
  errors: ["route_not_found", "file_not_found", "not_a_file", "not_supported", "conflict"],
});

/** Has the program of an image begin, and waits until it serves. Only the core asks for it, once. */
export const startProgram = operation({
  id: "startProgram",
  method: "put",
  path: "/program",
  summary: "Start the image's program",
  body: z.strictObject({ variables: Environment }),
  status: 204,
  errors: ["route_not_found", "program_failed"],
});

/** What became of it. */
export const inspectProgram = operation({
  id: "inspectProgram",
  method: "get",
  path: "/program",
  summary: "The image's program: its state and its newest output",
  status: 200,
  returns: Program,
  errors: ["route_not_found"],
});

/** One span as a program inside told of it, by way of its workspace. Nothing of it is believed: only what it may be is checked. */
export const SaidSpan = z.object({
  traceId: z.string().regex(/^[0-9a-f]{32}$/),
  spanId: z.string().regex(/^[0-9a-f]{16}$/),
  parentSpanId: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
  name: z.string().max(1024),
  startMs: z.number().min(0),
  durationMs: z.number().min(0),
  status: z.enum(["ok", "error", "unknown"]),
  statusMessage: z.string().max(4096).optional(),
  attributes: z.record(z.string().max(256), z.union([z.string().max(4096), z.number(), z.boolean()])),
});
export type SaidSpan = z.output<typeof SaidSpan>;

/**
 * What waited in a workspace: a batch of the oldest spans, how many it dropped since it was last asked, and whether to ask
 * again. A batch is handed out until the next asking says that it was received.
 */
export const Said = z.object({
  batch: z.int().min(0),
  spans: z.array(z.unknown()).max(LIMITS.saidSpansWaiting),
  dropped: z.int().min(0),
  more: z.boolean(),
});
export type Said = z.output<typeof Said>;

/** Takes the spans that programs inside have sent to their own loopback. Only the core asks for them; asking is no activity. */
export const takeSaid = operation({
  id: "takeSaid",
  method: "post",
  path: "/said",
  summary: "The spans that programs inside have sent, which are gone from here once they are said to be received",
  query: z.strictObject({ received: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0) }),
  status: 200,
  returns: Said,
  errors: ["route_not_found"],
});
