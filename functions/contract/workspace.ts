import * as z from "zod";
import { operation } from "./operation.ts";
import { Environment } from "./template.ts";

/** The header by which the platform routes to one session, and the one that proves who asks. */
export const SESSION_HEADER = "cleanroom-session-id";
/** The variable by which a function, and so each of its instances, knows the type of its template. */
export const TEMPLATE_TYPE_VARIABLE = "CLEANROOM_TEMPLATE_TYPE";
/** The variable by which a workspace knows of an image's program beside it: what runs, by whose rights, where it listens, as JSON. */
export const IMAGE_VARIABLE = "CLEANROOM_IMAGE";
/** Where the workspace lies inside a sandbox: its bundle and the interpreters beside it. */
export const WORKSPACE_INSIDE = "/opt/cleanroom/workspace";

export const PROOF_HEADER = "cleanroom-proof";

export const checkHealth = operation({
  id: "checkHealth",
  method: "get",
  path: "/health",
  summary: "Whether the workspace answers",
  status: 200,
  returns: z.object({ status: z.literal("ok"), service: z.string(), version: z.string(), timestamp: z.string(), uptime: z.number() }),
  errors: [],
});

/** What the workspace says of its own use; running code, commands and open streams are activity. */
export const Activity = z.object({ busy: z.boolean(), idleMs: z.number() });
export type Activity = z.output<typeof Activity>;

export const readActivity = operation({
  id: "readActivity",
  method: "get",
  path: "/activity",
  summary: "Whether anything runs, and for how long nothing has; asking is no activity",
  status: 200,
  returns: Activity,
  errors: [],
});

export const setEnvironment = operation({
  id: "setEnvironment",
  method: "put",
  path: "/environment",
  summary: "Variables for everything started from now on",
  body: z.strictObject({ variables: Environment }),
  status: 204,
  errors: ["invalid_request"],
});
