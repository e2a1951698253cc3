import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  randomBytes,
  sign,
  timingSafeEqual,
} from "node:crypto";
import { signProof } from "#contract/proof.ts";
import type { Clock, Vault } from "./ports.ts";

const PROOF_LIFE_MS = 5 * 60_000;
const PROOF_REUSE_MS = 4 * 60_000;
const PROOFS_KEPT = 10_000;
const MAC_KEYS_KEPT = 10_000;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Opens the platform's secret: an Ed25519 key (PKCS8, base64) that signs proofs and from which every other key is derived. */
export function openVault(signingKey: string, clock: Clock): Vault {
  const der = Buffer.from(signingKey, "base64");
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = String(createPublicKey(privateKey).export({ format: "pem", type: "spki" }));
  const sealKey = derive(der, "seal");
  const macKeys = new Map<string, Buffer>();
  const proofs = new Map<string, { proof: string; reuseUntilMs: number }>();

  function macKey(purpose: string): Buffer {
    const key = macKeys.get(purpose) ?? derive(der, `mac/${purpose}`);
    if (macKeys.size >= MAC_KEYS_KEPT) macKeys.clear();
    macKeys.set(purpose, key);
    return key;
  }

  const mac = (purpose: string, text: string) => createHmac("sha256", macKey(purpose)).update(text).digest("base64url");

  function proof(sessionId: string): string {
    const now = clock.now();
    const known = proofs.get(sessionId);
    if (known && known.reuseUntilMs > now) return known.proof;
    const made = signProof(privateKey, sessionId, now + PROOF_LIFE_MS);
    proofs.delete(sessionId);
    proofs.set(sessionId, { proof: made, reuseUntilMs: now + PROOF_REUSE_MS });
    for (const oldest of proofs.keys()) {
      if (proofs.size <= PROOFS_KEPT) break;
      proofs.delete(oldest);
    }
    return made;
  }

  return {
    seal: (text, about) => seal(sealKey, text, about),
    open: (sealed, about) => open(sealKey, sealed, about),
    mac,
    sign: (text) => sign(null, Buffer.from(text), privateKey).toString("base64url"),
    publicKey: () => publicKey,
    digest: (purpose, bytes) => createHmac("sha256", macKey(purpose)).update(bytes).digest("hex"),
    checkMac: (purpose, text, given) => sameText(mac(purpose, text), given),
    proof,
  };
}

/** Whether two texts are equal, in a time that says nothing of where they differ. */
export function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.byteLength === right.byteLength && timingSafeEqual(left, right);
}

function derive(secret: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, "cleanroom", purpose, 32));
}

function seal(key: Buffer, text: string, about: string): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(about));
  const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), body]).toString("base64");
}

function open(key: Buffer, sealed: string, about: string): string {
  const bytes = Buffer.from(sealed, "base64");
  const iv = bytes.subarray(0, IV_BYTES);
  const tag = bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(about)).setAuthTag(tag);
  return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]).toString("utf8");
}
