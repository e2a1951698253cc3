import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";
import { Process } from "./process.ts";

const Rows = z.coerce.number().int().min(1).max(LIMITS.terminalSide);

/** How a terminal is met: `json` messages as AgentRun's documentation has them, or the raw bytes of `text`. */
export const AttachTerminal = z.object({
  protocol: z.enum(["json", "text"]).default("json"),
  /** The terminal to come back to; left out, a new one begins. */
  id: z.string().max(64).optional(),
  terminalId: z.string().max(64).optional(),
  /** How much of its output is here already, in bytes from its start: only what came after that is sent again. */
  from: z.coerce.number().int().min(0).default(0),
  rows: Rows.default(24),
  cols: Rows.default(80),
  cwd: z.string().default("/home/user"),
  /** What runs in a new one instead of a login shell. */
  command: z.string().min(1).optional(),
});
export type AttachTerminal = z.output<typeof AttachTerminal>;

export const attachTerminal = operation({
  id: "attachTerminal",
  method: "get",
  path: "/processes/tty",
  summary: "A terminal by WebSocket: a new one, or one that is there, whose missed output comes first",
  query: AttachTerminal,
  status: 101,
  errors: ["invalid_request", "process_not_found", "quota_exceeded", "file_not_found", "not_a_directory"],
});

/** A terminal as it is listed; `busy` says that a program of its shell's has it. */
export const Terminal = Process.extend({
  terminalId: z.string(),
  rows: z.int(),
  cols: z.int(),
  viewers: z.int(),
  busy: z.boolean(),
});
export type Terminal = z.output<typeof Terminal>;

export const listTerminals = operation({
  id: "listTerminals",
  method: "get",
  path: "/terminals",
  summary: "List the terminals that run, and for a while those that ended",
  status: 200,
  returns: z.object({ items: z.array(Terminal) }),
  errors: [],
});

export const deleteTerminal = operation({
  id: "deleteTerminal",
  method: "delete",
  path: "/terminals/:terminalId",
  summary: "End a terminal with all that it started: SIGHUP, then SIGKILL; ending twice is one ending",
  params: z.object({ terminalId: z.string() }),
  status: 204,
  errors: ["process_not_found"],
});
