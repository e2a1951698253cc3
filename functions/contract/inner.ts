import * as z from "zod";
import { operation } from "./operation.ts";
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
