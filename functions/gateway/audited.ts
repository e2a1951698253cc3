import type { AuditActor } from "#contract/audit.ts";
import { canonicalJson } from "#contract/canonical.ts";
import type { Operation } from "#contract/operation.ts";
import { asProblem, type ProblemCode } from "#contract/problem.ts";
import type { AuditFacts } from "#core/audit.ts";
import type { Platform } from "#core/ports.ts";
import type { Principal } from "#core/projects.ts";
import type { Call } from "./mount.ts";

/** Problems that are a refusal, not a failure: somebody was not let do what they asked for. */
const REFUSALS: ReadonlySet<ProblemCode> = new Set(["forbidden", "quota_exceeded", "budget_spent", "link_not_valid"]);
/** What one answer may have to be digested. */
const ANSWER_BYTES = 1024 * 1024;

/**
 * Does what a call asks for and writes it down. What changes something is written before anything is done and again
 * after it, so that whatever crashes between, no action is without its record. What only reads is written when it is refused.
 */
export async function audited<T>(platform: Platform, op: Operation, call: Call<Operation>, work: () => Promise<T>): Promise<T> {
  const { project } = call.principal;
  const facts = factsOf(platform, op, call);
  if (op.method === "get") return work().catch((error: unknown) => refuse(platform, project.id, facts, error));
  await platform.audit.append(project.id, { ...facts, phase: "begun" });
  try {
    const answer = await work();
    await platform.audit.append(project.id, { ...facts, phase: "ended", ...(await outcomeOf(platform, project.id, op, answer)) });
    return answer;
  } catch (error) {
    const { code } = asProblem(error);
    await platform.audit.append(project.id, { ...facts, phase: "ended", ...verdictOf(error), result: code });
    throw error;
  }
}

/** Writes down that a credential was refused beyond its scope. */
export function auditRefusal(platform: Platform, principal: Principal, what: { action: string; resource?: AuditFacts["resource"] }): void {
  const caller = platform.callers.current();
  platform.audit.refused(principal.project.id, {
    actor: actorOf(principal),
    ...what,
    phase: "done",
    decision: "deny",
    policy: "scope",
    reason: "The credential is for something else",
    ...(caller ? { requestId: caller.requestId } : {}),
  });
}

export function actorOf(principal: Principal): AuditActor {
  if (principal.scope) return { kind: "token", id: JSON.stringify(principal.scope) };
  if (principal.accessKeyId === "anonymous") return { kind: "anonymous", id: "anonymous" };
  return { kind: "key", id: principal.accessKeyId };
}

function factsOf(platform: Platform, op: Operation, call: Call<Operation>): AuditFacts {
  const { principal, caller, params, query, body } = call;
  const input = platform.vault.digest(`audit/${principal.project.id}`, canonicalJson({ params, query, body }));
  const resource = resourceOf(op, params);
  return {
    actor: actorOf(principal),
    ...(caller.onBehalfOf === undefined ? {} : { onBehalfOf: caller.onBehalfOf }),
    action: op.id,
    ...(resource ? { resource } : {}),
    phase: "done",
    decision: "allow",
    policy: principal.scope ? "scope" : principal.root ? "root" : "project",
    input,
    ...(caller.trace ? { traceId: caller.trace.traceId, spanId: caller.trace.spanId } : {}),
    requestId: caller.requestId,
    ...(caller.remoteAddress === undefined ? {} : { remoteAddress: caller.remoteAddress }),
  };
}

/** What an operation is about: the last thing that its path names. */
function resourceOf(op: Operation, params: Record<string, unknown>): { kind: string; id: string } | undefined {
  const name = op.path
    .split("/")
    .findLast((part) => part.startsWith(":"))
    ?.slice(1);
  if (name === undefined) return undefined;
  const kind =
    name === "name" ? (op.path.split("/").findLast((part) => part !== "" && !part.startsWith(":")) ?? name) : name.replace(/Id$/, "");
  return { kind, id: String(params[name]) };
}

/** What an answer says: how it went, a digest of it, and what was made, where no path named that. */
async function outcomeOf(platform: Platform, projectId: string, op: Operation, answer: unknown): Promise<Partial<AuditFacts>> {
  const isResponse = answer instanceof Response;
  const result = String(isResponse ? answer.status : op.status);
  const value: unknown = isResponse ? await jsonOf(answer) : answer;
  if (value === undefined) return { result };
  const made = op.path.includes(":") ? undefined : idIn(value);
  const kind =
    op.path
      .split("/")
      .at(-1)
      ?.replace(/(?<=x)es$|s$/, "") ?? op.id;
  const output = platform.vault.digest(`audit/${projectId}`, canonicalJson(value));
  return { result, output, ...(made === undefined ? {} : { resource: { kind, id: made } }) };
}

async function jsonOf(answer: Response): Promise<unknown> {
  const isJson = answer.headers.get("content-type")?.startsWith("application/json") ?? false;
  return isJson && Number(answer.headers.get("content-length") ?? 0) <= ANSWER_BYTES ? answer.clone().json() : undefined;
}

/** The id of what was made, in our own answers and in AgentRun's envelope. */
function idIn(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { id, name, accessKeyId, project, data, sandboxId, templateName } = value as Record<string, unknown>;
  const own = [id, name, accessKeyId, sandboxId, templateName].find((one) => typeof one === "string");
  return own ?? idIn(project) ?? idIn(data);
}

function verdictOf(error: unknown): Partial<AuditFacts> {
  const problem = asProblem(error);
  if (!REFUSALS.has(problem.code)) return {};
  return { decision: "deny", policy: problem.code, reason: problem.message };
}

function refuse(platform: Platform, projectId: string, facts: AuditFacts, error: unknown): never {
  const verdict = verdictOf(error);
  if (verdict.decision === "deny") platform.audit.refused(projectId, { ...facts, ...verdict, result: asProblem(error).code });
  throw error;
}
