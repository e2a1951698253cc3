import { parse } from "yaml";
import * as z from "zod";
import { Affinity, readDefinition, readFields } from "#infra/local/compute/definitions.ts";
import { AsyncConfig } from "#infra/local/compute/functions.ts";
import { readTrigger } from "#infra/local/compute/triggers.ts";

type Environment = Readonly<Record<string, string | undefined>>;
type Tree = Record<string, unknown>;

/** What `s preview` shows of a manifest. */
export interface Manifest extends Tree {
  name: string;
  resources: Record<string, { component: string; props: Tree }>;
}

/** One function of a manifest, checked as the engine checks it, in the words of Function Compute's API. */
export interface ManifestFunction {
  name: string;
  region: string;
  /** The folder of its code; undefined for a function that is an image. */
  codeDir: string | undefined;
  input: Tree;
  triggers: Tree[];
  asyncConfig: Tree | undefined;
  reservedConcurrency: number | undefined;
}

const EXPRESSION = /\$\{([^}]*)\}/g;
const ENV = /^env\(\s*'([^']*)'\s*(?:,\s*'([^']*)'\s*)?\)$/;
const PATH = /^(vars|resources)((?:\.[A-Za-z0-9_-]+)+)$/;
const DEPTH = 10;

/** Renders a manifest as Serverless Devs does, so that a start need not run it: `${env()}`, `${vars.x}`, `${resources.x.props.y}`. */
export function renderManifest(yamlText: string, env: Environment): Manifest {
  const source = parse(yamlText) as Tree;
  const render = (value: unknown, depth: number): unknown => {
    if (depth > DEPTH) throw new Error("s.yaml: values refer to each other in a circle");
    if (Array.isArray(value)) return value.map((item) => render(item, depth));
    if (typeof value === "object" && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, render(item, depth)]));
    return typeof value === "string" ? renderText(value, (expression) => evaluate(expression, depth)) : value;
  };
  const evaluate = (expression: string, depth: number): unknown => {
    const text = expression.trim();
    const fromEnv = ENV.exec(text);
    if (fromEnv) return valueOf(fromEnv[1] ?? "", fromEnv[2], env);
    const path = PATH.exec(text);
    if (!path) throw new Error(`s.yaml: \${${expression}} is not understood`);
    const found = text.split(".").reduce<unknown>((node, key) => (node as Tree | undefined)?.[key], source);
    if (found === undefined) throw new Error(`s.yaml: there is no ${text}`);
    return render(found, depth + 1);
  };
  // Serverless Devs reads `access` as it stands.
  return { ...(render({ ...source, access: "" }, 0) as Manifest), access: source["access"] };
}

/** An expression that is the whole value keeps its type; one inside other text becomes text. */
function renderText(text: string, evaluate: (expression: string) => unknown): unknown {
  const whole = /^\$\{([^}]*)\}$/.exec(text);
  if (whole) return evaluate(whole[1] ?? "");
  return text.replaceAll(EXPRESSION, (_, expression: string) => String(evaluate(expression)));
}

/** An empty variable is an absent one. */
function valueOf(name: string, fallback: string | undefined, env: Environment): string {
  const value = env[name] || fallback;
  if (value === undefined) throw new Error(`s.yaml: the variable ${name} is not set and has no default`);
  return value;
}

const Trigger = z.strictObject({
  triggerName: z.string(),
  triggerType: z.string(),
  triggerConfig: z.record(z.string(), z.unknown()),
  qualifier: z.literal("LATEST").optional(),
  description: z.string().optional(),
  sourceArn: z.string().optional(),
  invocationRole: z.string().optional(),
});

const Props = z.looseObject({
  region: z.string(),
  code: z.string().optional(),
  sessionAffinityConfig: Affinity.optional(),
  triggers: z.array(Trigger).default([]),
  asyncInvokeConfig: AsyncConfig.optional(),
  concurrencyConfig: z.strictObject({ reservedConcurrency: z.int().min(0) }).optional(),
});

/** Reads the props of one function; what is misspelt or out of range is refused by its name, before anything is deployed. */
export function readFunction(props: unknown): ManifestFunction {
  const { region, code, sessionAffinityConfig, triggers, asyncInvokeConfig, concurrencyConfig, ...fields } = readFields(Props, props);
  const affinity = sessionAffinityConfig ? { sessionAffinityConfig: JSON.stringify(sessionAffinityConfig) } : {};
  const input = { ...fields, ...affinity };
  const { functionName, runtime } = readDefinition(input);
  if (runtime !== "custom-container" && code === undefined) throw new Error(`s.yaml: ${functionName} needs code`);
  return {
    name: functionName,
    region,
    codeDir: code,
    input,
    triggers: triggers.map(readManifestTrigger),
    asyncConfig: asyncInvokeConfig,
    reservedConcurrency: concurrencyConfig?.reservedConcurrency,
  };
}

function readManifestTrigger({ triggerConfig, ...trigger }: z.output<typeof Trigger>): Tree {
  const input = { ...trigger, triggerConfig: JSON.stringify(triggerConfig) };
  readTrigger(input);
  return input;
}
