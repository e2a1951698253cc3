import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { Key } from "#contract/project.ts";

/** What this installation alone knows. The proof key is the public half of the signing key and no secret. */
const Secrets = z.object({
  signingKey: z.string(),
  proofKey: z.string(),
  engineKeyId: z.string(),
  engineKeySecret: z.string(),
});
export type Secrets = z.output<typeof Secrets>;

/** The data folder's keys, made on the first start and read on every later one; files are for their owner only. */
export function openKeys(dataDir: string): { rootKey: Key; secrets: Secrets } {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  return {
    rootKey: readOrMake(join(dataDir, "root-key.json"), Key, makeRootKey),
    secrets: readOrMake(join(dataDir, "secrets.json"), Secrets, makeSecrets),
  };
}

function readOrMake<S extends z.ZodType>(path: string, schema: S, make: () => z.output<S>): z.output<S> {
  if (!existsSync(path)) {
    const partial = `${path}.partial`;
    writeFileSync(partial, JSON.stringify(make(), undefined, 2), { mode: 0o600 });
    renameSync(partial, path);
  }
  const parsed = schema.safeParse(JSON.parse(readFileSync(path, "utf8")));
  if (!parsed.success) throw new Error(`${path} is not what it should be; restore it, or remove it to make new keys`);
  return parsed.data;
}

function makeRootKey(): Key {
  const accessKeyId = `CR${randomBytes(9).toString("hex").toUpperCase()}`;
  const accessKeySecret = randomBytes(24).toString("base64url");
  return { accessKeyId, accessKeySecret, apiKey: `cr_${accessKeyId}_${accessKeySecret}`, accountId: "1000000000000000" };
}

function makeSecrets(): Secrets {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "jwk" }).x ?? "";
  return {
    signingKey: privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"),
    proofKey: Buffer.from(raw, "base64url").toString("base64"),
    engineKeyId: `FC${randomBytes(8).toString("hex").toUpperCase()}`,
    engineKeySecret: randomBytes(24).toString("base64url"),
  };
}
