import { Problem, type Facts } from "#contract/problem.ts";

/** How the command line ends when it is not the program's own exit code that it passes on. */
export const EXIT = {
  ok: 0,
  /** The command line was not understood. */
  usage: 64,
  /** A file named on the command line cannot be read here. */
  input: 66,
  /** No Cleanroom answers. */
  unavailable: 69,
  failed: 70,
  /** The program did well, but something that was to be kept could not be. */
  notKept: 73,
  timeout: 124,
  interrupted: 130,
} as const;

/** A refusal of the command line's own, which knows its exit code. */
export function refusal(exitCode: number, detail: string, next: string, facts: Facts = {}): Problem {
  return new Problem("invalid_request", { ...facts, detail, next, exitCode });
}

/** The exit code that an error ends the command line with. */
export function exitCodeOf(problem: Problem): number {
  const own = problem.facts["exitCode"];
  if (typeof own === "number") return own;
  return problem.code === "engine_unavailable" ? EXIT.unavailable : EXIT.failed;
}
