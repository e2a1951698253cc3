import { sign, type KeyObject } from "node:crypto";

/**
 * The gateway's proof that a request is for one session: `<expiry, ms>.<signature>` by Ed25519 over session and expiry.
 * The workspace holds only the public half, so what runs beside it learns nothing by reading it.
 */
export function signProof(key: KeyObject, sessionId: string, expiresAtMs: number): string {
  return `${expiresAtMs}.${sign(null, message(sessionId, expiresAtMs), key).toString("base64url")}`;
}

function message(sessionId: string, expiresAtMs: number): Buffer {
  return Buffer.from(`cleanroom-proof\n${sessionId}\n${expiresAtMs}`);
}
