import { Agent as HttpAgent, type ClientRequest, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { Problem } from "#contract/problem.ts";
import { Isolation } from "#contract/sandbox.ts";
import { SESSION_HEADER, TEMPLATE_TYPE_VARIABLE } from "#contract/workspace.ts";
import type { Container, PreparedNow, Scaling } from "#contract/template.ts";
import type { Engine, EngineRef, FunctionSpec, Passage, Passed, SessionLife } from "#core/ports.ts";
import * as z from "zod";
import { asEngineProblem, doorProblem, hasCode } from "./engine-problems.ts";
import type { FcClient } from "./fc.ts";
import { listSessions, pauseSession, readFacts, resumeSession, stopSession } from "./sessions.ts";
import { passedOf, pathOf, responseOf, send, upgrade } from "./triggers.ts";

export interface EngineOptions {
  client: FcClient;
  /** The function that templates' functions are modelled on. */
  workspaceFunction: string;
  /** The longest that a session may live or rest. */
  sessionMaxMs: number;
  /** Whether triggers are reached by their address inside the cloud's own network. */
  intranet?: boolean;
}

const BesideScaling = z.object({ making: z.int().optional() });

const COPIED = [
  "runtime",
  "timeout",
  "instanceConcurrency",
  "customContainerConfig",
  "instanceIsolationMode",
  "sessionAffinity",
  "sessionAffinityConfig",
  "internetAccess",
  "vpcConfig",
  "logConfig",
  "role",
  "disableInjectCredentials",
] as const;
const MEMORY_STEP_MIB = 64;
const DISKS_MIB = [512, 10_240];

/** Function Compute as the Engine port: its API by the official client, its HTTP triggers by plain requests over kept connections. */
export function createFcEngine({ client, workspaceFunction, sessionMaxMs, intranet = false }: EngineOptions): Engine & Disposable {
  const agents = {
    "http:": new HttpAgent({ keepAlive: true, maxFreeSockets: 256 }),
    "https:": new HttpsAgent({ keepAlive: true, maxFreeSockets: 256 }),
  };
  const doors = new Map<string, Promise<URL>>();
  let isolation: Promise<{ plain: Isolation; browser: Isolation }> | undefined;

  async function httpTrigger(functionName: string) {
    const { body } = await client.listTriggers(functionName);
    return body.triggers?.find((trigger) => trigger.triggerType === "http");
  }

  /** The address of a function's HTTP trigger, asked for once. */
  function doorOf(functionName: string): Promise<URL> {
    const known = doors.get(functionName);
    if (known) return known;
    const asked = findDoor(functionName);
    doors.set(functionName, asked);
    asked.catch(() => doors.delete(functionName));
    return asked;
  }

  async function findDoor(functionName: string): Promise<URL> {
    const found = (await httpTrigger(functionName).catch(asEngineProblem))?.httpTrigger;
    const url = intranet ? found?.urlIntranet : found?.urlInternet;
    if (!url) throw new Problem("engine_unavailable", { detail: `The function ${functionName} has no HTTP trigger` });
    return new URL(url);
  }

  function open(door: URL, ref: EngineRef, passage: Passage, signal: AbortSignal | undefined): ClientRequest {
    const secure = door.protocol === "https:";
    const headers: Record<string, string> = { [SESSION_HEADER]: ref.sessionId };
    passage.headers.forEach((value, name) => (headers[name] = value));
    // Some methods have no body by themselves: Node would send one without saying where it ends, and it could say anything.
    if (passage.body && headers["content-length"] === undefined) headers["transfer-encoding"] = "chunked";
    const path = (door.pathname === "/" ? "" : door.pathname) + pathOf(passage.url);
    const agent = secure ? agents["https:"] : agents["http:"];
    const options = { host: door.hostname, port: door.port, path, method: passage.method, headers, agent, ...(signal ? { signal } : {}) };
    return secure ? httpsRequest(options) : httpRequest(options);
  }

  async function pass(ref: EngineRef, passage: Passage, signal?: AbortSignal): Promise<Passed> {
    const door = await doorOf(ref.functionName);
    const incoming = await send(open(door, ref, passage, signal), passage.body, signal);
    // What carries no instance's name is the platform's own word, not the workspace's.
    if (incoming.headers["x-fc-instance-id"] === undefined && (incoming.statusCode ?? 500) >= 400) throw await doorProblem(incoming);
    return passedOf(incoming, passage.method);
  }

  function times(life: SessionLife) {
    return {
      sessionTTLInSeconds: seconds(Math.min(life.lifetimeMs, sessionMaxMs)),
      sessionIdleTimeoutInSeconds: seconds(Math.min(life.idleTimeoutMs, sessionMaxMs)),
    };
  }

  async function start(ref: EngineRef, life: SessionLife): Promise<void> {
    try {
      // An id that comes again must never mean another instance.
      await client.createSession(ref.functionName, { sessionId: ref.sessionId, ...times(life), disableSessionIdReuse: true });
    } catch (error) {
      if (!hasCode(error, "SessionAlreadyExists")) asEngineProblem(error);
      const facts = await readFacts(client, ref);
      if (!facts?.live) throw new Problem("already_exists", { detail: "The session has ended; an id is used once" }, error);
    }
  }

  function knownIsolation() {
    isolation ??= readIsolation(client);
    isolation.catch(() => (isolation = undefined));
    return isolation;
  }

  return {
    async define(spec: FunctionSpec) {
      const { body: model } = await client.getFunction(workspaceFunction).catch(asEngineProblem);
      const copied = Object.fromEntries(COPIED.map((name) => [name, model[name]]).filter(([, value]) => value !== undefined));
      const { type, cpu, memoryMiB, diskMiB, container } = spec.template;
      if (container && (await knownIsolation()).plain.strength === "platform") throw imagesElsewhere();
      const own = {
        cpu,
        memorySize: Math.ceil(memoryMiB / MEMORY_STEP_MIB) * MEMORY_STEP_MIB,
        diskSize: DISKS_MIB.find((size) => size >= diskMiB) ?? DISKS_MIB.at(-1),
        ...(container ? { customContainerConfig: containerOf(container) } : {}),
        environmentVariables: { ...model.environmentVariables, [TEMPLATE_TYPE_VARIABLE]: type },
      };
      await client.createFunction({ functionName: spec.functionName, ...copied, ...own }).catch(async (error: unknown) => {
        if (!hasCode(error, "FunctionAlreadyExists")) asEngineProblem(error);
        await client.updateFunction(spec.functionName, own).catch(asEngineProblem);
      });
      const { triggerName = "http", triggerConfig } = (await httpTrigger(workspaceFunction).catch(asEngineProblem)) ?? {};
      await client.createTrigger(spec.functionName, { triggerName, triggerType: "http", triggerConfig }).catch((error: unknown) => {
        if (!hasCode(error, "TriggerAlreadyExists")) asEngineProblem(error);
      });
      await scale(client, spec.functionName, spec.template.scaling);
    },

    scale: (functionName, scaling) => scale(client, functionName, scaling),
    prepared: (functionName) => readPrepared(client, functionName),

    async undefine(functionName) {
      doors.delete(functionName);
      for (const ref of await listSessions(client, functionName)) await stopSession(client, ref);
      try {
        const trigger = await httpTrigger(functionName);
        if (trigger?.triggerName) await client.deleteTrigger(functionName, trigger.triggerName);
        await client.deleteFunction(functionName);
      } catch (error) {
        if (!hasCode(error, "FunctionNotFound", "TriggerNotFound")) asEngineProblem(error);
      }
    },

    start: (ref, life, signal) => unlessAborted(start(ref, life), signal),

    async extend(ref, life) {
      await client.updateSession(ref.functionName, ref.sessionId, times(life)).catch(asEngineProblem);
    },

    pass,
    request: async (ref, passage, signal) => responseOf(await pass(ref, passage, signal)),

    async connect(ref, passage, signal) {
      const door = await doorOf(ref.functionName);
      return upgrade(open(door, ref, passage, signal), signal);
    },

    pause: (ref) => pauseSession(client, ref),
    resume: (ref) => resumeSession(client, ref),
    stop: (ref) => stopSession(client, ref),
    facts: (ref) => readFacts(client, ref),
    list: (functionName) => listSessions(client, functionName),

    isolation: async (profile) => (await knownIsolation())[profile ?? "plain"],

    ping: () =>
      client.getFunction(workspaceFunction).then(
        () => true,
        () => false,
      ),

    [Symbol.dispose]() {
      for (const agent of Object.values(agents)) agent.destroy();
    },
  };
}

/** Our own engine says it beside the list of functions. Function Compute does not, and gives each session an instance of its own. */
async function readIsolation(client: FcClient): Promise<{ plain: Isolation; browser: Isolation }> {
  const { headers } = await client.listFunctions({ limit: 1 }).catch(asEngineProblem);
  return { plain: isolationIn(headers["x-cleanroom-isolation"]), browser: isolationIn(headers["x-cleanroom-isolation-browser"]) };
}

/** Where each session has an instance of the platform's own, nothing of ours could stand beside an image. */
function imagesElsewhere(): Problem {
  return new Problem("not_supported", {
    detail:
      "Templates of the type CustomImage need the engine of one machine; Function Compute runs an image alone, without a workspace beside it",
  });
}

/** A command of the template's own is the whole of it: it stands in the entrypoint's place and has no arguments after it. */
function containerOf({ image, command, port }: Container): object {
  return { image, port, ...(command.length > 0 ? { entrypoint: command, command: [] } : {}) };
}

function isolationIn(said: string | undefined): Isolation {
  return said === undefined ? BY_THE_PLATFORM : Isolation.parse(JSON.parse(said));
}

const BY_THE_PLATFORM: Isolation = {
  strength: "platform",
  layers: [{ name: "an instance of Function Compute's own for each session", on: true }],
};

/** Between its two bounds the platform follows the use of what is prepared; the target is the platform's own example. */
async function scale(client: FcClient, functionName: string, { minPrepared, maxPrepared }: Scaling): Promise<void> {
  const bounds = { minInstances: minPrepared, maxInstances: maxPrepared };
  const policy = { name: "prepared", metricType: "ProvisionedConcurrencyUtilization", metricTarget: 0.6, ...bounds };
  const horizontalScalingPolicies = maxPrepared > minPrepared ? [policy] : [];
  await client.putScaling(functionName, { minInstances: minPrepared, horizontalScalingPolicies }).catch(asEngineProblem);
}

async function readPrepared(client: FcClient, functionName: string): Promise<PreparedNow> {
  try {
    const { body, headers } = await client.getScaling(functionName);
    const { currentInstances: ready = 0, targetInstances: wanted = 0 } = body;
    const beside = BesideScaling.safeParse(JSON.parse(headers["x-cleanroom-scaling"] ?? "{}"));
    return { ready, making: beside.data?.making ?? Math.max(0, wanted - ready), wanted };
  } catch (error) {
    if (hasCode(error, "ScalingConfigNotExists", "FunctionNotFound")) return { ready: 0, making: 0, wanted: 0 };
    return asEngineProblem(error);
  }
}

/** The official client cannot be interrupted: an abort stops the waiting, and whoever aborts stops the session. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  work.catch(() => {});
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
