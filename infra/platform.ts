import type { Limits } from "#core/limits.ts";
import { composePlatform } from "#core/platform.ts";
import { exportTraces } from "#core/trace-export.ts";
import type { Platform, Stores } from "#core/ports.ts";
import { createFcEngine } from "#infra/aliyun/engine.ts";
import { createFcClient } from "#infra/aliyun/fc.ts";
import { sendTraces } from "./otlp-send.ts";
import type { FunctionConfig } from "./config.ts";
import { openModels } from "./models.ts";
import { openLineLog } from "./line-log.ts";
import { openOutside } from "./outside.ts";

/** The longest session that Function Compute takes unless the operator allows longer lives. */
const SESSION_MAX_MS = 21_600_000;
/** Every platform collects what a function says there. */
const STDOUT = 1;

/** Opens everything that a trusted function stands on. Stores are imported by need, so that a cloud bundle has none of this machine's. */
export async function openPlatform(config: FunctionConfig): Promise<Platform & AsyncDisposable> {
  const { engine: address } = config;
  const stores = await openStores(config);
  const engine = createFcEngine({
    client: createFcClient(address),
    workspaceFunction: address.workspaceFunction,
    sessionMaxMs: Math.max(SESSION_MAX_MS, config.lifeMaxMs),
    intranet: config.platform === "aliyun",
  });
  const { tables, objects, queue, search } = stores;
  const log = openLineLog(STDOUT);
  const platform = composePlatform(
    {
      engine,
      tables,
      objects,
      queue,
      search,
      models: openModels(config.models),
      outside: openOutside(config.webhooks.allowPrivate),
      clock: { now: Date.now },
      log,
    },
    config.signingKey,
  );
  const { endpoint, headers, allowPrivate } = config.otlp;
  const collector = endpoint === "" ? undefined : { endpoint, headers, trusted: true };
  const exporter = exportTraces(platform, collector, (to, body) => sendTraces(to, body, allowPrivate));
  return {
    ...platform,
    async [Symbol.asyncDispose]() {
      await Promise.all([platform.traces.flush(), platform.audit.flush(), platform.counts.flush()]);
      await exporter[Symbol.asyncDispose]();
      engine[Symbol.dispose]();
      await stores[Symbol.asyncDispose]();
      log[Symbol.dispose]();
    },
  };
}

/** What the operator set, as the core wants it. */
export function limitsOf(config: FunctionConfig): Limits {
  const { idleMinMs, idleMaxMs, idleDefaultMs, lifeMaxMs, quota, scaling, usageIntervalMs, engine } = config;
  const { workspaceFunction } = engine;
  return { idleMinMs, idleMaxMs, idleDefaultMs, lifeMaxMs, quota, scaling, usageIntervalMs, workspaceFunction };
}

async function openStores(config: FunctionConfig): Promise<Stores> {
  if (config.platform === "aliyun") return (await import("#infra/aliyun/platform.ts")).openStores();
  return (await import("#infra/local/stores/platform.ts")).openStores(config);
}
