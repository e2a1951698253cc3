import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { NonceMemory } from "#contract/acs3.ts";
import { completeQuotas, importRootKey } from "#core/projects.ts";
import { openRecorders } from "#core/recorder.ts";
import { scaleBuiltIn } from "#core/templates.ts";
import { functionConfig } from "#infra/config.ts";
import { limitsOf, openPlatform } from "#infra/platform.ts";
import { readPages } from "./pages.ts";
import { openDoor } from "./server.ts";
import { openTurnstile } from "./turnstile.ts";
import { openWitnesses } from "./witness/witnesses.ts";

const stop = Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
const config = functionConfig();
const limits = limitsOf(config);
await using platform = await openPlatform(config);
await importRootKey(platform, limits, config.rootKey);
await completeQuotas(platform, limits);
// Without it sandboxes are only slower to make.
await scaleBuiltIn(platform, limits).catch((error: unknown) => platform.log.event("template.not_scaled", { error: String(error) }));
await using recorders = openRecorders(platform);
await using witnesses = openWitnesses(platform, await readFile(join(import.meta.dirname, "witness.js"), "utf8"));
await using door = await openDoor(
  {
    platform,
    limits,
    accountId: config.engine.accountId,
    region: config.engine.region,
    publicOrigin: config.publicOrigin,
    // Behind a cloud's own proxy every request seems to come from this machine.
    allowAnonymous: config.allowAnonymous && config.platform === "local",
    nonces: new NonceMemory(),
    turnstile: openTurnstile(config.paces),
    recorders,
    witnesses,
    pages: await readPages(join(import.meta.dirname, "pages")),
    isolation: await platform.engine.isolation(),
    browserIsolation: await platform.engine.isolation("browser"),
    startedAtMs: Date.now(),
  },
  config.listen,
);
platform.log.event("gateway.open", { host: config.listen.host, port: door.port });
await stop;
