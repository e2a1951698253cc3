import * as z from "zod";
import { PROBLEMS } from "./problem-codes.ts";

/** The code of a way to fail, by which programs tell it. */
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
