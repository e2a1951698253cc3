import * as z from "zod";
import { Moment } from "./id.ts";
import { operation } from "./operation.ts";

/** The program of an image, in a sandbox of the type `CustomImage`. Of each stream the newest text is kept. */
export const Program = z.object({
  state: z.enum(["waiting", "starting", "running", "ended"]),
  port: z.int(),
  startedAt: Moment.optional(),
  exitCode: z.int().optional(),
  stdout: z.string(),
  stderr: z.string(),
  dropped: z.object({ stdout: z.int(), stderr: z.int() }),
});
export type Program = z.output<typeof Program>;

export const readProgram = operation({
  id: "readProgram",
  method: "get",
  path: "/api/sandboxes/:sandboxId/program",
  summary: "What the image's program of a sandbox is doing: its state, how it ended, what it wrote",
  params: z.object({ sandboxId: z.string() }),
  status: 200,
  returns: Program,
  errors: ["sandbox_not_found", "sandbox_ended", "not_supported"],
});
