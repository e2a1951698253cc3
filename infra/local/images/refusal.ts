import { Problem } from "#contract/problem.ts";

export function imageNotValid(detail: string, cause?: unknown): Problem {
  return new Problem("image_not_valid", { detail }, cause);
}
