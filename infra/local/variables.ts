import { openKeys } from "./keys.ts";

/** The variables by which the manifest means this machine. */
export function localVariables(config: { dataDir: string; port: number; enginePort: number }): Record<string, string> {
  const { rootKey, secrets } = openKeys(config.dataDir);
  return {
    FC_COMPONENT: "./infra/component",
    CLEANROOM_PLATFORM: "local",
    CLEANROOM_DATA: config.dataDir,
    CLEANROOM_PUBLIC_ORIGIN: `http://127.0.0.1:${config.port}`,
    CLEANROOM_ENGINE_ENDPOINT: `http://127.0.0.1:${config.enginePort}`,
    CLEANROOM_SIGNING_KEY: secrets.signingKey,
    CLEANROOM_PROOF_KEY: secrets.proofKey,
    CLEANROOM_ROOT_KEY: JSON.stringify(rootKey),
    ALIBABA_CLOUD_ACCESS_KEY_ID: secrets.engineKeyId,
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: secrets.engineKeySecret,
  };
}
