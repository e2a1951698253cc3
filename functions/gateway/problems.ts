import { AGENTRUN } from "#contract/agentrun.ts";
import { asProblem, Problem, problemBody, type ProblemCode } from "#contract/problem.ts";
import type { AuditFacts } from "#core/audit.ts";
import type { Platform } from "#core/ports.ts";
import { failed } from "./agentrun/envelope.ts";

/** The paths under `/sandboxes` that are about a sandbox, not inside it. */
export const LIFECYCLE = /^\/sandboxes(\/[^/]*(\/stop)?)?\/?$/;

/** The paths at which the Model Context Protocol is spoken. */
export const MCP = /^\/(templates|sandboxes)\/[^/]+\/mcp\/?$/;

const JSON_RPC_CODES: Partial<Record<ProblemCode, number>> = {
  invalid_json: -32_700,
  invalid_request: -32_600,
  mcp_session_not_found: -32_001,
  internal: -32_603,
};
const JSON_RPC_OTHER = -32_000;

/** Answers an error in the words of the plane that its path belongs to. */
export function answerProblem(platform: Platform, error: unknown, path: string, requestId: string): Response {
  const problem = asProblem(error);
  if (problem.code === "unauthenticated" || problem.code === "signature_mismatch") platform.audit.refused(OPERATOR, unknownCaller(problem));
  if (problem.code === "internal") platform.log.event("request.failed", { requestId, path, error: stackOf(problem.cause ?? problem) });
  const headers = { ...headersOf(problem), "x-request-id": requestId };
  if (path.startsWith(`${AGENTRUN}/`) || LIFECYCLE.test(path)) {
    const { status, body } = failed(problem, requestId);
    return Response.json(body, { status, headers });
  }
  if (MCP.test(path)) return Response.json(rpcBody(problem, requestId), { status: problem.status, headers });
  if (path.startsWith("/sandboxes/")) return Response.json(dataBody(problem, requestId), { status: problem.status, headers });
  return Response.json(problemBody(problem, requestId), {
    status: problem.status,
    headers: { ...headers, "content-type": "application/problem+json" },
  });
}

/** Whose log tells of callers that nobody knows: they are of no project. */
const OPERATOR = "root";

function unknownCaller({ code }: Problem): AuditFacts {
  const actor = { kind: "anonymous", id: "unknown" } as const;
  return { actor, action: "authenticate", phase: "done", decision: "deny", policy: "credential", result: code };
}

/** Under a sandbox AgentRun's clients also look for the error one level down. */
function dataBody(problem: Problem, requestId: string): object {
  const body = problemBody(problem, requestId);
  const { code, message, details } = body;
  return { ...body, error: { code, message, details } };
}

/** A client of the Model Context Protocol shows the message; the whole Problem stands beside it. */
function rpcBody(problem: Problem, requestId: string): object {
  const message = `${problem.message}. ${problem.next}`.replace(/\.\. /, ". ");
  const { requestId: _inTheHeader, ...data } = problemBody(problem, requestId);
  const error = { code: JSON_RPC_CODES[problem.code] ?? JSON_RPC_OTHER, message, data };
  return { jsonrpc: "2.0", id: null, error };
}

function headersOf(problem: Problem): Record<string, string> {
  const { retryAfterMs, allow, sizeBytes } = problem.facts;
  return {
    "cache-control": "no-store",
    ...(typeof retryAfterMs === "number" ? { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) } : {}),
    ...(Array.isArray(allow) ? { allow: allow.join(", ") } : {}),
    ...(problem.code === "range_not_satisfiable" && typeof sizeBytes === "number" ? { "content-range": `bytes */${sizeBytes}` } : {}),
    ...(problem.code === "unauthenticated" ? { "www-authenticate": 'Bearer realm="cleanroom"' } : {}),
  };
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
