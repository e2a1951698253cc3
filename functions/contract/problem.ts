import * as z from "zod";

/**
 * Every way a request can fail: its HTTP status, a title that never changes, whether sending the same
 * request again can help, and what the caller should do next. Nothing else in the project invents an error.
 */
export const PROBLEMS = {
  invalid_request: {
    status: 400,
    title: "The request is not valid",
    retry: false,
    next: "Correct the fields named in `details` and send it again.",
  },
  invalid_json: { status: 400, title: "The body is not JSON", retry: false, next: "Send one JSON document, encoded as UTF-8." },
  invalid_path: {
    status: 400,
    title: "The path is not one this sandbox can have",
    retry: false,
    next: "Use an absolute path without NUL bytes and without `..`.",
  },
  invalid_archive: {
    status: 400,
    title: "The archive cannot be unpacked safely",
    retry: false,
    next: "Send a tar whose entries are files, folders and links that stay inside.",
  },
  unauthenticated: {
    status: 401,
    title: "No valid credential came with the request",
    retry: false,
    next: "Send `Authorization: Bearer <apiKey>` or one of the other accepted credentials.",
  },
  budget_spent: {
    status: 402,
    title: "The budget is spent",
    retry: false,
    next: "Go on in another task, or have the budget raised; `details.lines` say what is spent and what is set aside.",
  },
  signature_mismatch: {
    status: 403,
    title: "Signature verification failed",
    retry: false,
    next: "Check the secret, the clock and that the signed parts arrive unchanged.",
  },
  forbidden: {
    status: 403,
    title: "This credential may not do that",
    retry: false,
    next: "Use a credential with the permission named in `details`.",
  },
  route_not_found: { status: 404, title: "No such route", retry: false, next: "See /openapi.json for the routes." },
  template_not_found: { status: 404, title: "Template not found", retry: false, next: "List the templates, or create it first." },
  image_not_found: { status: 404, title: "No such image here", retry: false, next: "Add it: `npx cleanroom image add FILE NAME`." },
  image_not_valid: { status: 400, title: "The image cannot be used", retry: false, next: "Save it anew; see docs/images.md." },
  sandbox_not_found: { status: 404, title: "No such sandbox", retry: false, next: "Create one, or list yours." },
  context_not_found: { status: 404, title: "No such context", retry: false, next: "List the sandbox's contexts, or create one." },
  process_not_found: { status: 404, title: "No such process", retry: false, next: "List the sandbox's processes." },
  file_not_found: { status: 404, title: "No such file or directory", retry: false, next: "Check the path; list its parent." },
  artifact_not_found: { status: 404, title: "No such artifact", retry: false, next: "List the artifacts of this project." },
  upload_not_found: {
    status: 404,
    title: "No such upload",
    retry: false,
    next: "List the uploads of this project: it may be complete, given up or abandoned.",
  },
  snapshot_not_found: { status: 404, title: "No such snapshot", retry: false, next: "List the snapshots of this project." },
  target_not_found: { status: 404, title: "No such page or worker", retry: false, next: "List what the browser has open: `/json/list`." },
  webhook_not_found: { status: 404, title: "No such webhook", retry: false, next: "List the webhooks of this project." },
  task_not_found: { status: 404, title: "No such task", retry: false, next: "List the tasks of this project, or create it." },
  action_not_found: {
    status: 404,
    title: "No such action, or none with a picture",
    retry: false,
    next: "List the sandbox's actions; `screenshot` says which have one.",
  },
  mcp_session_not_found: {
    status: 404,
    title: "No such MCP session",
    retry: false,
    next: "Begin a new one with `initialize`; a session ends when it is deleted, or a day after its last request.",
  },
  collection_not_found: {
    status: 404,
    title: "No such collection",
    retry: false,
    next: "Create it, or list the collections of this project.",
  },
  memory_not_found: { status: 404, title: "No such memory", retry: false, next: "Search the collection, or list what is in it." },
  link_not_valid: { status: 403, title: "This link is expired, altered or for something else", retry: false, next: "Ask for a new link." },
  ticket_not_valid: {
    status: 403,
    title: "This ticket is used, expired, revoked or for something else",
    retry: false,
    next: "Ask for a new one: POST /api/sandboxes/{id}/tickets.",
  },
  project_not_found: { status: 404, title: "No such project", retry: false, next: "List the projects with the root key." },
  method_not_allowed: {
    status: 405,
    title: "This route does not answer that method",
    retry: false,
    next: "See /openapi.json for the methods.",
  },
  already_exists: { status: 409, title: "It already exists", retry: false, next: "Use another name, or use the one that exists." },
  conflict: { status: 409, title: "Something else changed it first", retry: true, next: "Read it again and repeat the change." },
  control_held: {
    status: 409,
    title: "Somebody else has control of this sandbox's screen",
    retry: true,
    next: "Wait until it is given back; GET /api/sandboxes/{id}/control says who has it.",
  },
  artifact_retained: {
    status: 409,
    title: "The artifact is retained or under a legal hold",
    retry: false,
    next: "Wait until `details.retainUntil`, or have the hold taken off: PATCH /api/artifacts/{id}.",
  },
  file_changed: {
    status: 409,
    title: "The file changed while it was sent",
    retry: true,
    next: "Nothing of it was kept: let what writes it finish, or copy it first, and repeat.",
  },
  upload_incomplete: {
    status: 409,
    title: "The parts are not the whole",
    retry: false,
    next: "Read the upload, send what is missing of its parts, and complete it again.",
  },
  not_a_file: { status: 409, title: "A file was expected there", retry: false, next: "Name a regular file." },
  not_a_directory: { status: 409, title: "A directory was expected there", retry: false, next: "Name a directory." },
  sandbox_not_ready: {
    status: 409,
    title: "The sandbox cannot do that in its present state",
    retry: true,
    next: "Wait until its state is `ready`.",
  },
  snapshot_too_large: {
    status: 409,
    title: "The snapshot does not fit into the sandbox",
    retry: false,
    next: "Use a template with a larger disk.",
  },
  template_in_use: { status: 409, title: "The template still has sandboxes", retry: false, next: "End them first." },
  mcp_stopped: {
    status: 409,
    title: "The template's MCP server is stopped",
    retry: false,
    next: 'Activate it: PATCH /api/templates/{name}/mcp with {"active": true}.',
  },
  sandbox_ended: {
    status: 410,
    title: "The sandbox has ended",
    retry: false,
    next: "Create a new one; `details.reason` says why this one ended.",
  },
  task_ended: { status: 409, title: "The task has ended", retry: false, next: "Create another task; an id is used once." },
  body_too_large: {
    status: 413,
    title: "The body is larger than this route takes",
    retry: false,
    next: "Stream it: PUT /sandboxes/{id}/files/content takes any size the disk holds.",
  },
  range_not_satisfiable: {
    status: 416,
    title: "The range lies outside of the bytes there are",
    retry: false,
    next: "Ask for a range that starts below `details.sizeBytes`.",
  },
  not_supported: { status: 501, title: "Not supported", retry: false, next: "See `details` for what is supported instead." },
  quota_exceeded: { status: 429, title: "A quota is used up", retry: true, next: "Wait as long as `Retry-After` says, or end something." },
  rate_limited: {
    status: 429,
    title: "Too much was asked at once",
    retry: true,
    next: "Wait as long as `Retry-After` says, and ask less at once.",
  },
  internal: { status: 500, title: "Something failed on our side", retry: true, next: "Repeat it; if it stays, report the request id." },
  sandbox_lost: {
    status: 502,
    title: "The sandbox stopped answering",
    retry: true,
    next: "Read the sandbox: its state and `endReason` say what happened.",
  },
  program_failed: { status: 502, title: "The image's program does not serve", retry: false, next: "Read `details.output`." },
  port_unreachable: {
    status: 502,
    title: "The port does not answer",
    retry: true,
    next: "Start what serves it, listening on 127.0.0.1 or 0.0.0.0 and speaking HTTP, and ask again.",
  },
  model_failed: {
    status: 502,
    title: "The model did not answer as it should",
    retry: true,
    next: "Repeat it; nothing of it was kept. If it stays, have the operator look at the model's endpoint.",
  },
  engine_unavailable: { status: 503, title: "The engine does not answer", retry: true, next: "Repeat it in a moment." },
  browser_unavailable: {
    status: 503,
    title: "The sandbox's browser does not run",
    retry: true,
    next: "Ask `GET /sandboxes/{id}/browser` what befell it, and try once more; everything else in the sandbox goes on.",
  },
  display_unavailable: {
    status: 503,
    title: "The sandbox's display does not come up",
    retry: true,
    next: "See whether the sandbox has memory and processes left, then repeat it.",
  },
  timeout: { status: 504, title: "It took longer than allowed", retry: true, next: "Allow more time, or do less at once." },
  disk_full: {
    status: 507,
    title: "The sandbox's disk is full",
    retry: false,
    next: "Remove files, or use a template with a larger disk.",
  },
} as const satisfies Record<string, { status: number; title: string; retry: boolean; next: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** What a Problem carries beside its code: anything that helps the caller, as JSON. */
export type Facts = Record<string, unknown>;

/** The one error of the project. `facts.detail` is the sentence about this case; the rest becomes `details`. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly facts: Facts;

  constructor(code: ProblemCode, facts: Facts = {}, cause?: unknown) {
    super(typeof facts["detail"] === "string" ? facts["detail"] : PROBLEMS[code].title, { cause });
    this.name = "Problem";
    this.code = code;
    this.facts = facts;
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }

  /** What the caller should do: `facts.next` where the case has its own advice, the table's word otherwise. */
  get next(): string {
    return typeof this.facts["next"] === "string" ? this.facts["next"] : PROBLEMS[this.code].next;
  }
}

/**
 * A Problem on the wire of our own API, served as `application/problem+json` (RFC 9457). `message` repeats `detail`
 * where AgentRun's clients look for it.
 */
export const ProblemBody = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string(),
  message: z.string(),
  next: z.string(),
  retry: z.boolean(),
  requestId: z.string(),
  details: z.record(z.string(), z.unknown()),
});
export type ProblemBody = z.output<typeof ProblemBody>;

/** The body of a Problem. An error that is no Problem becomes `internal` and tells the caller nothing of itself. */
export function problemBody(error: unknown, requestId: string): ProblemBody {
  const problem = asProblem(error);
  const { detail: _detail, next: _next, ...details } = problem.facts;
  const { status, title, retry } = PROBLEMS[problem.code];
  const type = `urn:cleanroom:problem:${problem.code}`;
  return {
    type,
    title,
    status,
    code: problem.code,
    detail: problem.message,
    message: problem.message,
    next: problem.next,
    retry,
    requestId,
    details,
  };
}

/** The Problem that an error is, or `internal` around it. */
export function asProblem(error: unknown): Problem {
  return error instanceof Problem ? error : new Problem("internal", {}, error);
}

/** Reads a Problem back from an answer of ours; undefined when the body is not one. */
export function problemFrom(body: unknown): Problem | undefined {
  const parsed = ProblemBody.safeParse(body);
  if (!parsed.success || !(parsed.data.code in PROBLEMS)) return undefined;
  const { code, detail, next, details } = parsed.data;
  return new Problem(code as ProblemCode, { ...details, detail, next });
}
