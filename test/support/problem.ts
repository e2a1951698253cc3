import { Problem, type ProblemCode } from "#contract/problem.ts";

/** For `assert.rejects`: the error is the Problem of this code. */
export function isProblem(code: ProblemCode): (error: unknown) => boolean {
  return (error) => error instanceof Problem && error.code === code;
}
