import assert from "node:assert/strict";
import { ProblemBody, type ProblemCode } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";

const INSIDES = /\n\s+at |node:internal|node_modules|\.m?[jt]s:\d|\/work\/|\/root\//;

/** Reads the answer as the Problem that is expected, whole: everything a caller is promised, and nothing of our insides. */
export async function refused(answer: Response | Promise<Response>, code: ProblemCode): Promise<ProblemBody> {
  const response = await answer;
  const text = await response.text();
  assert.match(response.headers.get("content-type") ?? "", /^application\/(problem\+)?json/, text);
  const body = ProblemBody.parse(JSON.parse(text));
  const { status, title, retry } = PROBLEMS[code];
  assert.partialDeepStrictEqual({ ...body, answered: response.status }, { code, status, title, retry, answered: status });
  for (const field of ["detail", "message", "next", "requestId", "type"] as const) assert.notEqual(body[field], "", field);
  assert.equal(response.headers.get("x-request-id"), body.requestId);
  assert.doesNotMatch(text, INSIDES);
  return body;
}

/** What a Problem says apart from which request it was about: two callers that must not be told apart compare these. */
export function saying(body: ProblemBody, id: string): string {
  const { requestId: _requestId, ...rest } = body;
  return JSON.stringify(rest).replaceAll(id, "<id>");
}
