import assert from "node:assert/strict";
import { signAcs3 } from "#contract/acs3.ts";
import { FcError } from "#infra/aliyun/fc.ts";
import { KEY } from "./engine.ts";

/** For `assert.rejects`: the official client was refused with this code and status, and a request id. */
export function refused(code: string, statusCode: number) {
  return (error: unknown): true => {
    assert.ok(error instanceof FcError, String(error));
    assert.deepEqual([error.code, error.statusCode], [code, statusCode], error.message);
    assert.match(error.requestId, /^[0-9a-f-]{36}$/);
    return true;
  };
}

/** The request was invalid and the refusal names the field. */
export function invalid(field: string) {
  return (error: unknown): boolean => refused("InvalidArgument", 400)(error) && (error as Error).message.includes(field);
}

/** What a session's answer says beside its model. */
export function factsOf(answer: { headers: Record<string, string> }) {
  return JSON.parse(answer.headers["x-cleanroom-session"] ?? "null") as {
    endReason?: string;
    endedAt?: string;
    usage?: { memoryBytes: number };
    isolation: { strength: string };
  };
}

/** The text of a streamed answer, to its end. */
export async function textOf(stream: unknown): Promise<string> {
  return new Response(stream as ReadableStream).text();
}

/** Asks the engine as its official client does, for what that client cannot say. */
export async function signedFetch(origin: string, method: string, path: string, body?: string): Promise<Response> {
  const host = new URL(origin).host;
  const headers = signAcs3({ method, url: path, headers: { host }, ...(body === undefined ? {} : { body }) }, KEY, Date.now());
  return fetch(origin + path, { method, headers, ...(body === undefined ? {} : { body }) });
}
