import type { IncomingMessage } from "node:http";
import { Problem, type ProblemCode } from "#contract/problem.ts";
import { FcError } from "./fc.ts";

/** Function Compute's codes in our words; what is not here means that the engine cannot do its work now. */
const MEANINGS: Record<string, ProblemCode> = {
  SessionNotFound: "sandbox_lost",
  SessionStateConflict: "sandbox_not_ready",
  FunctionNotFound: "sandbox_lost",
  TriggerNotFound: "engine_unavailable",
  BadResponse: "sandbox_lost",
  InstanceStartFailed: "engine_unavailable",
  ResourceExhausted: "quota_exceeded",
  InvocationTimeout: "timeout",
  FunctionInUse: "template_in_use",
  EntityTooLarge: "body_too_large",
  InvalidArgument: "invalid_request",
  NotSupported: "not_supported",
  ImageNotFound: "image_not_found",
  ImageNotValid: "image_not_valid",
};
const RETRY_AFTER_MS = 1000;
const REFUSAL_BYTES = 64 * 1024;

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof FcError && codes.includes(error.code);
}

/** Throws an API error as the Problem it is. */
export function asEngineProblem(error: unknown): never {
  if (!(error instanceof FcError)) throw error;
  throw problemOf(error.code, error.message, error);
}

/** The platform's own refusal of a request at a trigger. */
export async function doorProblem(incoming: IncomingMessage): Promise<Problem> {
  let text = "";
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    if (text.length < REFUSAL_BYTES) text += chunk.toString("utf8");
  }
  try {
    const { Code, Message } = JSON.parse(text) as { Code?: unknown; Message?: unknown };
    return problemOf(String(Code), String(Message));
  } catch {
    return new Problem("engine_unavailable", { detail: `The engine answered ${incoming.statusCode}` });
  }
}

function problemOf(code: string, message: string, cause?: unknown): Problem {
  const meaning = Object.hasOwn(MEANINGS, code) ? (MEANINGS[code] ?? "engine_unavailable") : "engine_unavailable";
  const retry = meaning === "quota_exceeded" ? { retryAfterMs: RETRY_AFTER_MS } : {};
  return new Problem(meaning, { detail: `The engine says ${code}: ${message}`, engineCode: code, ...retry }, cause);
}
