import { setTimeout as delay } from "node:timers/promises";
import { IMAGE_VARIABLE } from "#contract/workspace.ts";
import type { Definition } from "./definitions.ts";
import type { FunctionRecord } from "./functions.ts";
import type { Instance, InstanceSpec, Maker } from "#infra/local/sealed/maker.ts";
import { profileOf } from "#infra/local/sealed/profile.ts";
import { refusal } from "./refusals.ts";
import { call, Upstream } from "./upstream.ts";

/** What the image of a function stands for on this machine. */
export type ImageResolver = (definition: Definition) => Promise<Image> | Image;

/** A root and what runs in it. A function may name a command of its own. */
export type Image = Pick<InstanceSpec, "root" | "binds" | "additions" | "command" | "zygote" | "image"> & {
  /** What the workspace is told of an image's program; it then runs in it what the function names, instead of the function's command. */
  program?: string | undefined;
};

/** An instance that answers. */
export interface Made {
  instance: Instance;
  upstream: Upstream;
}

const RETRY_MS = 50;

/** Makes an instance, waits until it answers and looks whether it is sealed; nothing is left of one that does not or is not. */
export async function startIsolated(spec: {
  maker: Maker;
  image: ImageResolver;
  record: FunctionRecord;
  id: string;
  limits: { processesPerInstance: number; readyMs: number };
  now: () => number;
  signal: AbortSignal;
  wanted?: Promise<void> | undefined;
}): Promise<Made> {
  const { maker, record, id, limits, now, signal, wanted } = spec;
  const { definition } = record;
  const container = definition.customContainerConfig;
  if (!container) throw refusal("InvalidArgument", `The function ${record.name} has no image`);
  const { program, ...image } = await spec.image(definition);
  signal.throwIfAborted();
  const profile = profileOf(definition.environmentVariables);
  const own = program === undefined ? [...(container.entrypoint ?? []), ...(container.command ?? [])] : [];
  const instance = await maker.make(
    {
      id,
      ...image,
      ...(own.length > 0 ? { command: own, zygote: undefined } : {}),
      env: {
        ...definition.environmentVariables,
        FC_FUNCTION_NAME: record.name,
        FC_INSTANCE_ID: id,
        CLEANROOM_LISTEN_FD: "3",
        ...(program === undefined ? {} : { [IMAGE_VARIABLE]: program }),
      },
      profile,
      cpu: definition.cpu,
      memoryMiB: definition.memorySize,
      diskMiB: definition.diskSize,
      processes: limits.processesPerInstance,
      // A browser's start has the processors for as long as somebody's page takes; all else is made sooner than giving way costs.
      wanted: profile === "browser" ? wanted : undefined,
    },
    signal,
  );
  const upstream = new Upstream({
    id,
    functionName: record.name,
    concurrency: definition.instanceConcurrency,
    address: { socketPath: instance.socketPath },
    now,
  });
  const early = instance.ended.then((end) => upstream.close(end.reason));
  try {
    const health = container.healthCheckConfig?.httpGetUrl ?? "/health";
    await Promise.race([untilReady(upstream, health, limits.readyMs, signal), early.then(() => Promise.reject(notReady(upstream)))]);
    // It answers, so that it has given up by now whatever it gives up.
    await instance.inspect();
    return { instance, upstream };
  } catch (error) {
    upstream.close("not ready");
    await instance.destroy();
    throw signal.aborted ? refusal("SessionNotFound", "The session was ended while it was being created", error) : error;
  }
}

/** Asks for an instance's health until it is well. The socket listens from the start, so that mostly one question waits. */
export async function untilReady(upstream: Upstream, path: string, withinMs: number, signal?: AbortSignal): Promise<void> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const left = deadline - Date.now();
    if (upstream.closed !== undefined || left <= 0) throw notReady(upstream);
    if (await isWell(upstream, path, left, signal)) return;
    await delay(Math.min(RETRY_MS, left), undefined, signal ? { signal } : {});
  }
}

async function isWell(upstream: Upstream, path: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    const answer = await call(upstream, { method: "GET", path, headers: ["host", "localhost"], timeoutMs, signal });
    answer.resume();
    return (answer.statusCode ?? 500) < 300;
  } catch (error) {
    if (signal?.aborted) throw error;
    return false;
  }
}

function notReady(upstream: Upstream): Error {
  return refusal("InstanceStartFailed", `The instance did not become ready: ${upstream.closed ?? "no answer to its health check"}`);
}
