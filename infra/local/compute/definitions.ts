import * as z from "zod";
import { refusal } from "./refusals.ts";

/** Fields that the engine keeps and gives back but does not act on, each with the reason why that does no harm here. */
const KEPT_ONLY = {
  description: "words for people",
  role: "trusted functions get the engine's own key instead of the role's",
  logConfig: "output goes to the engine's output",
  vpcConfig: "there is no network inside an instance to place",
  tracingConfig: "the gateway records traces itself",
  tags: "labels for people",
  resourceGroupId: "labels for people",
  disableInjectCredentials: "instances never get credentials",
  disableOndemand: "deprecated upstream",
  enableLongLiving: "deprecated upstream",
  handler: "custom runtimes have none",
  internetAccess: "isolated instances have no network either way; trusted functions share the host's",
} as const;

/** Fields whose silence would be a lie: a function that sets one is refused. */
const NOT_EMULATED = [
  "nasConfig",
  "ossMountConfig",
  "polarFsConfig",
  "juiceFsConfig",
  "gpuConfig",
  "layers",
  "customDNS",
  "instanceLifecycleConfig",
  "idleTimeout",
] as const;

const Health = z.strictObject({
  httpGetUrl: z.string().startsWith("/").default("/health"),
  initialDelaySeconds: z.int().min(0).optional(),
  periodSeconds: z.int().min(1).optional(),
  timeoutSeconds: z.int().min(1).optional(),
  failureThreshold: z.int().min(1).optional(),
  successThreshold: z.int().min(1).optional(),
});

const Runtime = z.strictObject({
  command: z.array(z.string()).min(1),
  args: z.array(z.string()).default([]),
  port: z.int().min(1).max(65535).default(9000),
  healthCheckConfig: Health.optional(),
});

const Container = z.strictObject({
  image: z.string().min(1),
  port: z.int().min(1).max(65535).default(9000),
  command: z.array(z.string()).optional(),
  entrypoint: z.array(z.string()).optional(),
  healthCheckConfig: Health.optional(),
  acrInstanceId: z.string().optional(),
  accelerationType: z.string().optional(),
});

/** The header that names a session, and how long sessions live when their creator does not say. */
export const Affinity = z.strictObject({
  affinityHeaderFieldName: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9_-]{4,39}$/, "5 to 40 letters, digits, - or _, a letter first")
    .refine((name) => !name.toLowerCase().startsWith("x-fc-"), "may not start with x-fc-"),
  sessionTTLInSeconds: z.int().min(1).max(86_400).default(21_600),
  sessionIdleTimeoutInSeconds: z.int().min(0).max(86_400).default(1800),
  sessionConcurrencyPerInstance: z.int().min(1).max(200).default(1),
  disableSessionIdReuse: z.boolean().default(false),
});
export type Affinity = z.output<typeof Affinity>;

const variableBytes = (variables: Record<string, string>) =>
  Object.entries(variables).reduce((sum, [key, value]) => sum + Buffer.byteLength(key + value), 0);

const Variables = z
  .record(z.string().regex(/^[A-Za-z][A-Za-z0-9_]*$/, "a letter first, then letters, digits or _"), z.string())
  .refine((variables) => !Object.keys(variables).some((name) => name.startsWith("FC_")), "FC_ is the platform's own prefix")
  .refine((variables) => variableBytes(variables) <= 4096, "environment variables are at most 4 KB together");

const kept = Object.fromEntries(Object.keys(KEPT_ONLY).map((name) => [name, z.unknown().optional()]));

/** A function as the engine stores it: what Function Compute's API takes, less what cannot be honoured here. */
export const Definition = z
  .strictObject({
    ...kept,
    functionName: z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]{0,127}$/, "up to 128 letters, digits, _ or -, not a digit first"),
    runtime: z.enum(["custom", "custom.debian10", "custom.debian11", "custom.debian12", "custom-container"]),
    cpu: z.number().min(0.05).max(16).default(1),
    memorySize: z.int().min(128).max(32_768).multipleOf(64).default(1024),
    diskSize: z.literal([512, 10_240]).default(512),
    timeout: z.int().min(1).max(86_400).default(60),
    instanceConcurrency: z.int().min(1).max(200).default(20),
    environmentVariables: Variables.default({}),
    customRuntimeConfig: Runtime.optional(),
    customContainerConfig: Container.optional(),
    instanceIsolationMode: z.enum(["SHARE", "SESSION_EXCLUSIVE"]).default("SHARE"),
    sessionAffinity: z.enum(["NONE", "HEADER_FIELD"]).default("NONE"),
    sessionAffinityConfig: z.string().optional(),
  })
  .superRefine((definition, context) => {
    for (const [path, message] of contradictions(definition)) context.addIssue({ code: "custom", path: [path], message });
  });
export type Definition = z.output<typeof Definition>;

function* contradictions(it: { [K in keyof Definition]?: Definition[K] }): Iterable<[string, string]> {
  const { cpu = 1, memorySize = 1024 } = it;
  const ratio = memorySize / 1024 / cpu;
  if (ratio < 1 || ratio > 4) yield ["memorySize", `must be 1 to 4 GB for each cpu, and is ${ratio.toFixed(2)}`];
  if (it.runtime === "custom-container" && !it.customContainerConfig)
    yield ["customContainerConfig", "required by runtime custom-container"];
  if (it.runtime !== "custom-container" && !it.customRuntimeConfig) yield ["customRuntimeConfig", "required by custom runtimes"];
  const isolated = it.instanceIsolationMode === "SESSION_EXCLUSIVE";
  if (isolated && it.runtime !== "custom-container") yield ["runtime", "SESSION_EXCLUSIVE runs custom-container here"];
  if (!isolated && it.runtime === "custom-container")
    yield ["instanceIsolationMode", "custom-container runs only as SESSION_EXCLUSIVE here"];
  if (isolated && it.sessionAffinity !== "HEADER_FIELD") yield ["sessionAffinity", "SESSION_EXCLUSIVE needs HEADER_FIELD"];
  if (!isolated && it.sessionAffinity === "HEADER_FIELD") yield ["sessionAffinity", "HEADER_FIELD needs SESSION_EXCLUSIVE here"];
  if (it.sessionAffinity === "HEADER_FIELD" && it.sessionAffinityConfig === undefined)
    yield ["sessionAffinityConfig", "required by HEADER_FIELD"];
}

/** Reads a function from a request body, or from a stored one with changes laid over it. */
export function readDefinition(input: Record<string, unknown>): Definition {
  for (const name of NOT_EMULATED) {
    if (input[name] !== undefined && input[name] !== null) throw refusal("NotSupported", `${name} is not supported by this engine`);
  }
  const definition = readFields(Definition, input);
  if (definition.sessionAffinityConfig !== undefined) affinityOf(definition);
  return definition;
}

/** What a caller may say of a session's times, at its creation and later. */
export const SessionTimes = z.object({
  sessionTTLInSeconds: z.int().min(1).optional(),
  sessionIdleTimeoutInSeconds: z.int().min(0).optional(),
  disableSessionIdReuse: z.boolean().optional(),
});

export const SessionCreation = SessionTimes.extend({
  sessionId: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/, "up to 64 letters, digits, _ or -")
    .optional(),
});

/** How a function finds its sessions, when it has any. */
export function affinityOf(definition: Definition): Affinity | undefined {
  if (definition.sessionAffinity !== "HEADER_FIELD") return undefined;
  return readFields(Affinity, readJsonText(definition.sessionAffinityConfig ?? "{}", "sessionAffinityConfig"));
}

/** Parses fields, refusing with each wrong one's name. */
export function readFields<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const wrong = result.error.issues.map((issue) => `${issue.path.join(".") || "body"}: ${issue.message}`);
  throw refusal("InvalidArgument", wrong.join("; "));
}

/** Parses a field whose value is JSON inside a string, as Function Compute likes them. */
export function readJsonText(text: string, field: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refusal("InvalidArgument", `${field} is not JSON`);
  }
}
