import { generateKeyPairSync } from "node:crypto";
import { NonceMemory } from "#contract/acs3.ts";
import type { Key } from "#contract/project.ts";
import { importRootKey } from "#core/projects.ts";
import { openRecorders } from "#core/recorder.ts";
import type { Gateway } from "#gateway/gateway.ts";
import { openTurnstile } from "#gateway/turnstile.ts";
import { CORE_LIMITS, openCore } from "./core.ts";

export const ROOT: Key = {
  accessKeyId: "CRROOT",
  accessKeySecret: "root-secret",
  apiKey: "cr_CRROOT_root-secret",
  accountId: "1000000000000000",
};

/** The door's routes on a core in memory, with the root key known. */
export async function openGate(changes: Partial<Gateway> = {}) {
  const core = openCore();
  const gateway: Gateway = {
    platform: core.platform,
    limits: CORE_LIMITS,
    accountId: ROOT.accountId,
    region: "cn-hangzhou",
    publicOrigin: "http://door",
    allowAnonymous: false,
    nonces: new NonceMemory(),
    turnstile: openTurnstile({ sandbox: { perSecond: 1000, atOnce: 100 }, streamPerSecond: 16 * 2 ** 20, controlPerSecond: 1000 }),
    recorders: openRecorders(core.platform),
    witnesses: {
      join: () => ({ asked: () => {}, ready: () => undefined, isWatched: () => false, leave: () => {} }),
      [Symbol.asyncDispose]: async () => {},
    },
    pages: { html: new Map(), assets: new Map() },
    isolation: await core.engine.isolation(),
    browserIsolation: await core.engine.isolation(),
    startedAtMs: core.clock.now(),
    ...changes,
  };
  await importRootKey(gateway.platform, gateway.limits, JSON.stringify(ROOT));
  return { core, gateway };
}

export function signingKey(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
}
