import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { strToU8, zipSync } from "fflate";
import { createFcClient } from "#infra/aliyun/fc.ts";
import { createEngine, type EngineLimits, type EngineOptions } from "#infra/local/compute/engine.ts";
import { plainMaker } from "./plain-maker.ts";

export const KEY = { accessKeyId: "LTAItest", accessKeySecret: "a secret of the tests" };
export const HEADER = "cleanroom-session-id";

/** An engine with instances that are not isolated, on free ports and in a folder of its own. */
export async function openEngine(options: Partial<EngineOptions> & { limits?: Partial<EngineLimits> } = {}) {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "engine-")));
  const maker = plainMaker(join(dataDir, "run"));
  const events: { name: string; facts: Record<string, unknown> }[] = [];
  const engine = await createEngine({
    dataDir,
    maker,
    image: () => ({ root: import.meta.dirname, binds: {}, command: ["node", join(import.meta.dirname, "fixture-function.mjs")] }),
    credentials: [KEY],
    log: { event: (name, facts) => void events.push({ name, facts }) },
    ...options,
  });
  const { origin, port } = await engine.listen(0);
  engine.prepare();
  const client = createFcClient({ endpoint: origin, ...KEY });
  return {
    engine,
    maker,
    client,
    origin,
    port,
    dataDir,
    events,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await maker[Symbol.asyncDispose]();
      if (!options.dataDir) await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The fixture function as a trusted one. */
export async function trusted(functionName: string, changes: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const source = await readFile(join(import.meta.dirname, "fixture-function.mjs"));
  const zipFile = Buffer.from(zipSync({ "main.mjs": source, "assets/a.txt": strToU8("a") })).toString("base64");
  return {
    functionName,
    runtime: "custom.debian12",
    cpu: 0.5,
    memorySize: 512,
    timeout: 30,
    instanceConcurrency: 100,
    code: { zipFile },
    customRuntimeConfig: { command: ["node"], args: ["main.mjs"], port: 9000 },
    ...changes,
  };
}

/** The fixture function as one whose sessions have instances of their own. */
export function isolated(
  functionName: string,
  changes: Record<string, unknown> = {},
  affinity: Record<string, unknown> = {},
): Record<string, unknown> {
  return {
    functionName,
    runtime: "custom-container",
    cpu: 2,
    memorySize: 2048,
    diskSize: 512,
    timeout: 60,
    instanceConcurrency: 20,
    customContainerConfig: { image: "cleanroom/workspace:1", port: 9000, healthCheckConfig: { httpGetUrl: "/health" } },
    instanceIsolationMode: "SESSION_EXCLUSIVE",
    sessionAffinity: "HEADER_FIELD",
    sessionAffinityConfig: JSON.stringify({
      affinityHeaderFieldName: HEADER,
      sessionConcurrencyPerInstance: 1,
      sessionTTLInSeconds: 600,
      sessionIdleTimeoutInSeconds: 60,
      ...affinity,
    }),
    ...changes,
  };
}

export const HTTP_TRIGGER = {
  triggerName: "http",
  triggerType: "http",
  triggerConfig: JSON.stringify({ authType: "anonymous", methods: ["GET", "POST", "PUT", "DELETE"] }),
};
