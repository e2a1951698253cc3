import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createFcClient, type FcClient } from "#infra/aliyun/fc.ts";
import { applyFunction, zipFolder } from "#infra/apply.ts";
import { localConfig, type LocalConfig } from "#infra/config.ts";
import { currentRoot, type SandboxRoot } from "#infra/image/root.ts";
import { readFunction, renderManifest } from "#infra/manifest.ts";
import { createEngine } from "#infra/local/compute/engine.ts";
import { imageResolver } from "#infra/local/images/container.ts";
import { openImageStore } from "#infra/local/images/store.ts";
import { openJournal } from "./journal.ts";
import { openKeys } from "./keys.ts";
import { holdDataDir } from "./lock.ts";
import { portsOf, refuseTakenPorts } from "./ports.ts";
import { takePrecedence } from "./precedence.ts";
import { createQueue } from "#infra/local/stores/queue.ts";
import { createSealedMaker } from "#infra/local/sealed/sealed.ts";
import { openCertificate, openTwin } from "./twin.ts";
import { localVariables } from "./variables.ts";

const GATEWAY = "cleanroom-gateway";
const WORKER = "cleanroom-worker";
const DELIVERIES_MAX = 5;

/** Serves the whole of Cleanroom on this machine until it is told to stop; then every sandbox ends. */
async function serve(config: LocalConfig): Promise<void> {
  const startedAtMs = performance.now();
  const stopped = untilSignal();
  await using held = new AsyncDisposableStack();
  held.use(holdDataDir(config.dataDir));
  await refuseTakenPorts(portsOf(config));
  const journal = held.use(openJournal(config.dataDir));
  const { secrets } = openKeys(config.dataDir);
  const base = currentRoot(config);
  const maker = held.use(await createSealedMaker({ dataDir: config.dataDir, root: base, allowWeak: config.allowWeakIsolation }));
  takePrecedence(process.pid);
  const queue = held.use(createQueue(join(config.dataDir, "queue.db"), { maxAttempts: DELIVERIES_MAX, now: Date.now }));
  const images = await openImageStore({ dataDir: config.dataDir, folders: config.imageFolders });
  const engine = held.use(
    await createEngine({
      dataDir: config.dataDir,
      maker,
      image: imageResolver({ root: base.root, binds: base.binds, zygote: base.zygote }, images),
      credentials: [{ accessKeyId: secrets.engineKeyId, accessKeySecret: secrets.engineKeySecret }],
      doors: { [GATEWAY]: config.port },
      queue,
      output: journal.descriptor,
      log: journal,
    }),
  );
  await engine.listen(config.enginePort);
  const client = await deploy(config);
  const certificate = await openCertificate(config.dataDir);
  const twin = await openTwin(certificate, config.tlsPort, config.port);
  held.defer(() => void twin.close());
  await Promise.all([engine.ready(GATEWAY), engine.ready(WORKER)]);
  engine.prepare();
  // The timer repeats it within a minute, so that a first sweep that fails is no reason to stay shut.
  await sweepOnce(client).catch((error: unknown) => journal.event("first_sweep_failed", { error: String(error) }));
  console.log(banner(config, base, journal.path, maker.isolation.strength, performance.now() - startedAtMs));
  await stopped;
  console.log("Stopping: every sandbox ends.");
}

/** Applies s.yaml as `s deploy` would, by the same calls of the same API. */
async function deploy(config: LocalConfig): Promise<FcClient> {
  const env = { ...config.environment, ...localVariables(config) };
  const manifest = renderManifest(await readFile(join(config.projectDir, "s.yaml"), "utf8"), env);
  const client = createFcClient({
    endpoint: env["CLEANROOM_ENGINE_ENDPOINT"] ?? "",
    accessKeyId: env["ALIBABA_CLOUD_ACCESS_KEY_ID"] ?? "",
    accessKeySecret: env["ALIBABA_CLOUD_ACCESS_KEY_SECRET"] ?? "",
  });
  for (const { props } of Object.values(manifest.resources)) {
    const it = readFunction(props);
    await applyFunction(client, it, it.codeDir === undefined ? undefined : await zipFolder(join(config.projectDir, it.codeDir)));
  }
  return client;
}

/** Rows of sandboxes that ended with an earlier engine are told before anyone can ask, not at the timer's first ring. */
async function sweepOnce(client: FcClient): Promise<void> {
  const event = { triggerTime: new Date().toISOString(), triggerName: "start", payload: JSON.stringify({ job: "sweep" }) };
  const { body } = await client.invoke(WORKER, JSON.stringify(event));
  body?.resume();
}

function banner(config: LocalConfig, base: SandboxRoot, logPath: string, strength: string, tookMs: number): string {
  const host =
    base.source === "host"
      ? [`  root         this host's own /usr, read-only: \`npm run setup\` builds a root that is the same everywhere`]
      : [];
  return [
    `Cleanroom is open: http://127.0.0.1:${config.port} (TLS: https://localhost:${config.tlsPort}), ready in ${(tookMs / 1000).toFixed(1)} s`,
    `  sandboxes    ${strength === "sealed" ? "sealed" : "WEAK: run `npx cleanroom doctor`"}`,
    ...host,
    `  key          ${join(config.dataDir, "root-key.json")}`,
    `  log          ${logPath}`,
    `  authority    ${join(config.dataDir, "tls/ca.pem")}`,
    `  try          npx cleanroom run demo/hello.py`,
    `  stop         Ctrl-C ends every sandbox`,
  ].join("\n");
}

function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
}

try {
  await serve(localConfig());
  process.exit(0);
} catch (error) {
  console.error(`Cleanroom cannot start: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
