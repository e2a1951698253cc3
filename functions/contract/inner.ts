import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** Says that the core itself asks; whatever a client sends under this name stays at the door. */
export const INNER_HEADER = "cleanroom-inner";

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

/** What waited in a workspace: the oldest spans, how many it dropped since it was last asked, and whether there are more. */
export const Said = z.object({ spans: z.array(z.unknown()).max(LIMITS.saidSpansWaiting), dropped: z.int().min(0), more: z.boolean() });
export type Said = z.output<typeof Said>;

/** Takes the spans that programs inside have sent to their own loopback. Only the core asks for them; asking is no activity. */
export const takeSaid = operation({
  id: "takeSaid",
  method: "post",
  path: "/said",
  summary: "The spans that programs inside have sent, which are gone from here then",
  status: 200,
  returns: Said,
  errors: ["route_not_found"],
});
