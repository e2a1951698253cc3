import { AGENTRUN, AGENTRUN_CODES, AGENTRUN_UNSERVED, type AgentrunFailure } from "#contract/agentrun.ts";
import { asProblem, Problem, type ProblemCode } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";

/** The planes speak alike, but on the data plane AgentRun's Python SDK must not read "not found" of a sandbox. */
export type Plane = "control" | "data";

/** A success as both SDKs read it. */
export function succeeded<T>(requestId: string, data: T): { code: "SUCCESS"; requestId: string; data: T } {
  return { code: "SUCCESS", requestId, data };
}

/**
 * A failure in AgentRun's words, with the status it travels under. The Node SDK reads every 409 as "already exists",
 * so that only what exists already, or moved meanwhile, answers so.
 */
export function failed(error: unknown, requestId: string): { status: number; body: AgentrunFailure } {
  const problem = asProblem(error);
  const { detail: _detail, next: _next, ...details } = problem.facts;
  const status = problem.code === "template_in_use" ? 400 : problem.status;
  const code = AGENTRUN_CODES[problem.code] ?? (status < 500 ? "ERR_BAD_REQUEST" : "ERR_INTERNAL_SERVER");
  const message = problem.code === "signature_mismatch" ? `${PROBLEMS[problem.code].title}: ${problem.message}` : problem.message;
  return {
    status,
    body: { code, requestId, message, error: { code, message, details: { problem: problem.code, next: problem.next, ...details } } },
  };
}

/** Runs what may find that something is missing, and says so by the name the caller used, in the plane's phrase. */
export async function naming<T>(plane: Plane, noun: "Sandbox" | "Template", name: string, work: Promise<T>): Promise<T> {
  const missing: ProblemCode = noun === "Sandbox" ? "sandbox_not_found" : "template_not_found";
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== missing) throw error;
    throw absent(plane, noun, name);
  }
}

export function absent(plane: Plane, noun: "Sandbox" | "Template", name: string): Problem {
  const detail = plane === "control" ? `${noun} ${name} not found` : `${noun.toLowerCase()} not exist: ${name}`;
  return new Problem(noun === "Sandbox" ? "sandbox_not_found" : "template_not_found", { detail });
}

/** A moment as AgentRun writes it, which its Python SDK parses: microseconds and an offset. */
export function moment(at: string | number): string {
  return new Date(at).toISOString().replace("Z", "000+00:00");
}

/** That something AgentRun has is not served yet; undefined for a path of the control plane that AgentRun does not have either. */
export function unserved(method: string, path: string): Problem | undefined {
  const rest = path.slice(AGENTRUN.length).replace(/^\/+/, "");
  const known = Object.entries(AGENTRUN_UNSERVED).find(([prefix]) => rest === prefix || rest.startsWith(`${prefix}/`));
  return known && new Problem("not_supported", { detail: `${known[1]} are not supported yet (${method} ${path})`, resource: known[0] });
}
