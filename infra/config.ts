import { existsSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";

const seconds = (fallback: number) =>
  z.coerce
    .number()
    .positive()
    .default(fallback)
    .transform((value) => value * 1000);
const flag = z
  .enum(["0", "1"])
  .default("0")
  .transform((value) => value === "1");
const prepared = (fallback: number) => z.coerce.number().int().min(0).max(512).default(fallback);
const endpoint = z.union([z.literal(""), z.url({ protocol: /^https?$/ })]).default("");
const port = (fallback: number) => z.coerce.number().int().min(0).max(65535).default(fallback);

/** Beside package.json unless told otherwise, wherever a command is given. */
const dataFolder = z
  .string()
  .optional()
  .transform((path) => resolve(path ?? join(projectDir(), ".cleanroom")));

/** Where images of somebody's own may be read from; nothing else on the machine is one. */
const imageFolders = z
  .string()
  .optional()
  .transform((text) => text?.split(":").filter((path) => path !== ""))
  .refine((paths) => paths?.every((path) => isAbsolute(path)) ?? true, "lists absolute paths, with : between them");

/** What the machine's operator may set: the whole list, with defaults. Nothing else in the project reads the environment. */
const LocalEnvironment = z.object({
  CLEANROOM_DATA: dataFolder,
  CLEANROOM_PORT: port(7070),
  CLEANROOM_TLS_PORT: port(7443),
  CLEANROOM_ENGINE_PORT: port(7071),
  CLEANROOM_ALLOW_WEAK_ISOLATION: flag,
  CLEANROOM_ALLOW_ANONYMOUS: flag,
  CLEANROOM_ROOT: z.string().optional(),
  CLEANROOM_IMAGES: imageFolders,
});

/** How `infra/local` is to run on this machine. */
export type LocalConfig = ReturnType<typeof localConfig>;

/** Reads the engine's settings; a bad value is refused with the variable's name. */
export function localConfig(environment: NodeJS.ProcessEnv = process.env) {
  const env = read(LocalEnvironment, environment);
  return {
    projectDir: projectDir(),
    dataDir: env.CLEANROOM_DATA,
    port: env.CLEANROOM_PORT,
    tlsPort: env.CLEANROOM_TLS_PORT,
    enginePort: env.CLEANROOM_ENGINE_PORT,
    allowWeakIsolation: env.CLEANROOM_ALLOW_WEAK_ISOLATION,
    allowAnonymous: env.CLEANROOM_ALLOW_ANONYMOUS,
    /** A root file system made elsewhere; without it the one under the data folder is used. */
    rootDir: env.CLEANROOM_ROOT,
    /** Where images may lie; the first is the one that images are added to. */
    imageFolders: env.CLEANROOM_IMAGES ?? [join(env.CLEANROOM_DATA, "images")],
    /** What `s.yaml` may interpolate. */
    environment: environment as Record<string, string | undefined>,
  };
}

/** What the gateway and the worker are told by `s.yaml`, locally and in the cloud alike. */
const FunctionEnvironment = z
  .object({
    CLEANROOM_PLATFORM: z.enum(["local", "aliyun"]).default("local"),
    CLEANROOM_DATA: dataFolder,
    CLEANROOM_PUBLIC_ORIGIN: z.string().default("http://127.0.0.1:7070"),
    CLEANROOM_ALLOW_ANONYMOUS: flag,
    CLEANROOM_IDLE_MIN_S: seconds(60),
    CLEANROOM_IDLE_MAX_S: seconds(21600),
    CLEANROOM_IDLE_DEFAULT_S: seconds(600),
    CLEANROOM_LIFE_MAX_S: seconds(21600),
    CLEANROOM_QUOTA_SANDBOXES: z.coerce.number().int().positive().default(1000),
    CLEANROOM_QUOTA_CPU: z.coerce.number().positive().default(2000),
    CLEANROOM_QUOTA_MEMORY_MIB: z.coerce.number().int().positive().default(2_048_000),
    CLEANROOM_QUOTA_ARTIFACTS: z.coerce.number().int().positive().default(100_000),
    CLEANROOM_QUOTA_ARTIFACT_MIB: z.coerce.number().int().positive().default(262_144),
    CLEANROOM_REQUESTS_PER_SECOND: z.coerce.number().positive().default(LIMITS.requestsPerSecond),
    CLEANROOM_REQUESTS_AT_ONCE: z.coerce.number().int().positive().default(LIMITS.requestsAtOnce),
    CLEANROOM_STREAM_MIB_PER_SECOND: z.coerce
      .number()
      .positive()
      .default(LIMITS.streamBytesPerSecond / 2 ** 20),
    CLEANROOM_CONTROL_PER_SECOND: z.coerce.number().positive().default(LIMITS.controlPerSecond),
    CLEANROOM_USAGE_INTERVAL_S: seconds(60),
    CLEANROOM_MIN_PREPARED: prepared(2),
    CLEANROOM_MAX_PREPARED: prepared(64),
    CLEANROOM_OTLP_ENDPOINT: z.string().default(""),
    CLEANROOM_OTLP_HEADERS: z.string().default(""),
    CLEANROOM_OTLP_ALLOW_PRIVATE: flag,
    CLEANROOM_WEBHOOK_ALLOW_PRIVATE: flag,
    // OpenAI-compatible endpoints, up to and with their version. An empty one is none.
    CLEANROOM_MODEL_URL: endpoint,
    CLEANROOM_MODEL_KEY: z.string().default(""),
    CLEANROOM_MODEL: z.string().default(""),
    CLEANROOM_EMBEDDING_URL: endpoint,
    CLEANROOM_EMBEDDING_KEY: z.string().default(""),
    CLEANROOM_EMBEDDING_MODEL: z.string().default(""),
    CLEANROOM_SIGNING_KEY: z.string(),
    CLEANROOM_ROOT_KEY: z.string(),
    CLEANROOM_ENGINE_ENDPOINT: z.string(),
    CLEANROOM_WORKSPACE_FUNCTION: z.string().default("cleanroom-workspace"),
    // The platform itself sets what follows; names that start with FC_ are its own and cannot be deployed.
    ALIBABA_CLOUD_ACCESS_KEY_ID: z.string(),
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: z.string(),
    ALIBABA_CLOUD_SECURITY_TOKEN: z.string().optional(),
    FC_REGION: z.string().default("cn-hangzhou"),
    FC_ACCOUNT_ID: z.string().default("1000000000000000"),
    FC_SERVER_PORT: port(9000),
    FC_SERVER_HOST: z.string().default("0.0.0.0"),
  })
  .refine((env) => env.CLEANROOM_MIN_PREPARED <= env.CLEANROOM_MAX_PREPARED, {
    path: ["CLEANROOM_MIN_PREPARED"],
    message: "must not exceed CLEANROOM_MAX_PREPARED",
  });

export type FunctionConfig = ReturnType<typeof functionConfig>;

/** Reads what a trusted function was deployed with. */
export function functionConfig(environment: NodeJS.ProcessEnv = process.env) {
  const env = read(FunctionEnvironment, environment);
  return {
    platform: env.CLEANROOM_PLATFORM,
    dataDir: env.CLEANROOM_DATA,
    publicOrigin: env.CLEANROOM_PUBLIC_ORIGIN,
    allowAnonymous: env.CLEANROOM_ALLOW_ANONYMOUS,
    idleMinMs: env.CLEANROOM_IDLE_MIN_S,
    idleMaxMs: env.CLEANROOM_IDLE_MAX_S,
    idleDefaultMs: env.CLEANROOM_IDLE_DEFAULT_S,
    lifeMaxMs: env.CLEANROOM_LIFE_MAX_S,
    quota: {
      sandboxes: env.CLEANROOM_QUOTA_SANDBOXES,
      cpu: env.CLEANROOM_QUOTA_CPU,
      memoryMiB: env.CLEANROOM_QUOTA_MEMORY_MIB,
      artifacts: env.CLEANROOM_QUOTA_ARTIFACTS,
      artifactMiB: env.CLEANROOM_QUOTA_ARTIFACT_MIB,
    },
    usageIntervalMs: env.CLEANROOM_USAGE_INTERVAL_S,
    scaling: { minPrepared: env.CLEANROOM_MIN_PREPARED, maxPrepared: env.CLEANROOM_MAX_PREPARED },
    /** How much one sandbox, and one project on the control routes, may be asked through one gateway. */
    paces: {
      sandbox: { perSecond: env.CLEANROOM_REQUESTS_PER_SECOND, atOnce: env.CLEANROOM_REQUESTS_AT_ONCE },
      streamPerSecond: env.CLEANROOM_STREAM_MIB_PER_SECOND * 2 ** 20,
      controlPerSecond: env.CLEANROOM_CONTROL_PER_SECOND,
    },
    /** Where all spans go besides, and whether a project's own collector may be on a private network. */
    otlp: {
      endpoint: env.CLEANROOM_OTLP_ENDPOINT,
      headers: pairsIn(env.CLEANROOM_OTLP_HEADERS),
      allowPrivate: env.CLEANROOM_OTLP_ALLOW_PRIVATE,
    },
    /** Whether a project's webhook may be on a private network, or on this machine. */
    webhooks: { allowPrivate: env.CLEANROOM_WEBHOOK_ALLOW_PRIVATE },
    models: {
      ask: { url: env.CLEANROOM_MODEL_URL, key: env.CLEANROOM_MODEL_KEY, model: env.CLEANROOM_MODEL },
      embed: { url: env.CLEANROOM_EMBEDDING_URL, key: env.CLEANROOM_EMBEDDING_KEY, model: env.CLEANROOM_EMBEDDING_MODEL },
    },
    signingKey: env.CLEANROOM_SIGNING_KEY,
    rootKey: env.CLEANROOM_ROOT_KEY,
    engine: {
      endpoint: env.CLEANROOM_ENGINE_ENDPOINT,
      accessKeyId: env.ALIBABA_CLOUD_ACCESS_KEY_ID,
      accessKeySecret: env.ALIBABA_CLOUD_ACCESS_KEY_SECRET,
      securityToken: env.ALIBABA_CLOUD_SECURITY_TOKEN,
      region: env.FC_REGION,
      accountId: env.FC_ACCOUNT_ID,
      workspaceFunction: env.CLEANROOM_WORKSPACE_FUNCTION,
    },
    listen: { host: env.FC_SERVER_HOST, port: env.FC_SERVER_PORT },
  };
}

const DeployEnvironment = z.object({
  CLEANROOM_ENGINE_ENDPOINT: z.string(),
  ALIBABA_CLOUD_ACCESS_KEY_ID: z.string(),
  ALIBABA_CLOUD_ACCESS_KEY_SECRET: z.string(),
});

/** Reads which Function Compute the component of `s deploy` speaks to, and as whom. */
export function deployConfig(environment: NodeJS.ProcessEnv = process.env) {
  const env = read(DeployEnvironment, environment);
  return {
    endpoint: env.CLEANROOM_ENGINE_ENDPOINT,
    accessKeyId: env.ALIBABA_CLOUD_ACCESS_KEY_ID,
    accessKeySecret: env.ALIBABA_CLOUD_ACCESS_KEY_SECRET,
  };
}

const ClientEnvironment = z.object({
  CLEANROOM_URL: z.string().optional(),
  /** Without a URL it is the Cleanroom of this machine, on the port that the engine would take from the same environment. */
  CLEANROOM_PORT: port(7070),
  CLEANROOM_API_KEY: z.string().optional(),
  CLEANROOM_DATA: dataFolder,
  /** Set to anything, it keeps colours out of terminals (no-color.org). */
  NO_COLOR: z.string().default(""),
});

/** Reads where a client finds its Cleanroom and by which key. */
export function clientConfig(environment: NodeJS.ProcessEnv = process.env) {
  const env = read(ClientEnvironment, environment);
  const url = env.CLEANROOM_URL ?? `http://127.0.0.1:${env.CLEANROOM_PORT}`;
  return { url, apiKey: env.CLEANROOM_API_KEY, dataDir: env.CLEANROOM_DATA, noColor: env.NO_COLOR !== "" };
}

/** `name=value,name=value`, as OpenTelemetry's own variables have it. */
function pairsIn(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => [pair.slice(0, pair.indexOf("=")).trim(), pair.slice(pair.indexOf("=") + 1).trim()] as const);
  return Object.fromEntries(pairs.filter(([name]) => name !== ""));
}

function read<S extends z.ZodType>(schema: S, environment: NodeJS.ProcessEnv): z.output<S> {
  const result = schema.safeParse(environment);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  throw new Error(`The environment is not usable:\n${lines.join("\n")}`);
}

/** The folder that holds package.json, from source and from a bundle alike. */
export function projectDir(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "package.json"))) {
    const parent = dirname(dir);
    if (parent === dir) return process.cwd();
    dir = parent;
  }
  return dir;
}
