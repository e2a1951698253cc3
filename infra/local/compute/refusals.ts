import { asProblem, Problem, type ProblemCode } from "#contract/problem.ts";

/** Every code of Function Compute that the engine answers, and the Problem it is. The status is the Problem's unless given. */
const REFUSALS = {
  InvalidArgument: { problem: "invalid_request" },
  MissingRequiredHeader: { problem: "invalid_request" },
  PathNotSupported: { problem: "route_not_found" },
  MethodNotAllowed: { problem: "method_not_allowed" },
  EntityTooLarge: { problem: "body_too_large" },
  NotSupported: { problem: "not_supported" },
  InvalidAccessKeyID: { problem: "unauthenticated", status: 403 },
  SignatureNotMatch: { problem: "signature_mismatch" },
  AccessDenied: { problem: "forbidden" },
  FunctionNotFound: { problem: "template_not_found" },
  TriggerNotFound: { problem: "route_not_found" },
  SessionNotFound: { problem: "sandbox_not_found" },
  AsyncTaskNotFound: { problem: "route_not_found" },
  AsyncConfigNotExists: { problem: "route_not_found" },
  ConcurrencyConfigNotExists: { problem: "route_not_found" },
  ScalingConfigNotExists: { problem: "route_not_found" },
  FunctionAlreadyExists: { problem: "already_exists" },
  TriggerAlreadyExists: { problem: "already_exists" },
  SessionAlreadyExists: { problem: "already_exists" },
  AsyncTaskAlreadyExists: { problem: "already_exists" },
  FunctionInUse: { problem: "template_in_use" },
  SessionStateConflict: { problem: "sandbox_not_ready" },
  AsyncInvocationStopped: { problem: "conflict", status: 412 },
  ResourceExhausted: { problem: "quota_exceeded" },
  BadResponse: { problem: "sandbox_lost" },
  ImageNotFound: { problem: "image_not_found" },
  ImageNotValid: { problem: "image_not_valid" },
  InstanceStartFailed: { problem: "internal" },
  InvocationTimeout: { problem: "timeout" },
  InternalServerError: { problem: "internal" },
} as const satisfies Record<string, { problem: ProblemCode; status?: number }>;

export type RefusalCode = keyof typeof REFUSALS;

/** A Problem that travels under one of Function Compute's own codes. */
export function refusal(fcCode: RefusalCode, detail: string, cause?: unknown): Problem {
  return new Problem(REFUSALS[fcCode].problem, { detail, fcCode }, cause);
}

const BY_PROBLEM: Partial<Record<ProblemCode, RefusalCode>> = {
  invalid_request: "InvalidArgument",
  invalid_json: "InvalidArgument",
  unauthenticated: "InvalidAccessKeyID",
  signature_mismatch: "SignatureNotMatch",
  body_too_large: "EntityTooLarge",
  quota_exceeded: "ResourceExhausted",
  image_not_found: "ImageNotFound",
  image_not_valid: "ImageNotValid",
};

/** An error as Function Compute answers it. One that nobody foresaw says nothing of itself. */
export function refusalOf(
  error: unknown,
  requestId: string,
): { status: number; body: { Code: string; Message: string; RequestId: string } } {
  const problem = asProblem(error);
  const code = (problem.facts["fcCode"] as RefusalCode | undefined) ?? BY_PROBLEM[problem.code] ?? "InternalServerError";
  const known: { problem: ProblemCode; status?: number } = REFUSALS[code];
  const status = known.status ?? problem.status;
  return { status, body: { Code: code, Message: problem.message, RequestId: requestId } };
}
