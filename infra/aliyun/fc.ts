import { Readable } from "node:stream";
import M from "@alicloud/fc20230330";
import { $OpenApiUtil } from "@alicloud/openapi-core";

/** Where Function Compute answers and who calls it: `http://127.0.0.1:7071`, or a host name for the cloud's own. */
export interface FcAddress {
  endpoint: string;
  accessKeyId: string;
  accessKeySecret: string;
  securityToken?: string | undefined;
  /** How long a call of the API may take. */
  timeoutMs?: number;
  /** How long an invocation may take, its streamed answer included. */
  invokeTimeoutMs?: number;
}

/** A refusal of Function Compute, under its own code. Status 0: it did not answer at all. */
export class FcError extends Error {
  readonly code: string;
  readonly statusCode: number;
  readonly requestId: string;

  constructor(code: string, statusCode: number, requestId: string, message: string, cause: unknown) {
    super(message, { cause });
    this.name = "FcError";
    this.code = code;
    this.statusCode = statusCode;
    this.requestId = requestId;
  }
}

type Input = Record<string, unknown>;

/** What a call answers: the model's fields, and the headers beside them. */
export interface Answered<T> {
  body: T;
  headers: Record<string, string>;
}

export type FcClient = ReturnType<typeof createFcClient>;

const TIMEOUT_MS = 150_000;
const INVOKE_TIMEOUT_MS = 24 * 3_600_000;

/**
 * The official client, with what it needs to be safe: both time-outs set (its default ends calls after 3 s), headers
 * copied (it changes its caller's), bodies always built by its request classes (they map names), errors of one kind.
 */
export function createFcClient(address: FcAddress) {
  const client = open(address, address.timeoutMs ?? TIMEOUT_MS);
  const invoker = open(address, address.invokeTimeoutMs ?? INVOKE_TIMEOUT_MS);
  return {
    createFunction: (body: Input) => answered(client.createFunction(new M.CreateFunctionRequest({ body }))),
    getFunction: (name: string) => answered(client.getFunction(name, new M.GetFunctionRequest({}))),
    updateFunction: (name: string, body: Input) => answered(client.updateFunction(name, new M.UpdateFunctionRequest({ body }))),
    deleteFunction: (name: string) => done(client.deleteFunction(name)),
    listFunctions: (page: { prefix?: string; limit?: number; nextToken?: string } = {}) =>
      answered(client.listFunctions(new M.ListFunctionsRequest(page))),

    createTrigger: (name: string, body: Input) => answered(client.createTrigger(name, new M.CreateTriggerRequest({ body }))),
    getTrigger: (name: string, trigger: string) => answered(client.getTrigger(name, trigger)),
    updateTrigger: (name: string, trigger: string, body: Input) =>
      answered(client.updateTrigger(name, trigger, new M.UpdateTriggerRequest({ body }))),
    deleteTrigger: (name: string, trigger: string) => done(client.deleteTrigger(name, trigger)),
    listTriggers: (name: string) => answered(client.listTriggers(name, new M.ListTriggersRequest({ limit: 50 }))),

    createSession: (name: string, body: Input) => answered(client.createSession(name, new M.CreateSessionRequest({ body }))),
    getSession: (name: string, id: string) => answered(client.getSession(name, id, new M.GetSessionRequest({}))),
    updateSession: (name: string, id: string, body: Input) =>
      answered(client.updateSession(name, id, new M.UpdateSessionRequest({ body }))),
    deleteSession: (name: string, id: string) => done(client.deleteSession(name, id, new M.DeleteSessionRequest({}))),
    pauseSession: (name: string, id: string) => answered(client.pauseSession(name, id, new M.PauseSessionRequest({}))),
    resumeSession: (name: string, id: string) => answered(client.resumeSession(name, id, new M.ResumeSessionRequest({}))),
    listSessions: (name: string, page: { limit?: number; nextToken?: string; sessionStatus?: string } = {}) =>
      answered(client.listSessions(name, new M.ListSessionsRequest(page))),
    listInstances: (name: string) => answered(client.listInstances(name, new M.ListInstancesRequest({}))),

    putConcurrency: (name: string, reservedConcurrency: number) =>
      answered(client.putConcurrencyConfig(name, new M.PutConcurrencyConfigRequest({ body: { reservedConcurrency } }))),
    putScaling: (name: string, body: Input) => answered(client.putScalingConfig(name, new M.PutScalingConfigRequest({ body }))),
    getScaling: (name: string) => answered(client.getScalingConfig(name, new M.GetScalingConfigRequest({}))),
    deleteScaling: (name: string) => done(client.deleteScalingConfig(name, new M.DeleteScalingConfigRequest({}))),
    putAsyncInvokeConfig: (name: string, body: Input) =>
      answered(client.putAsyncInvokeConfig(name, new M.PutAsyncInvokeConfigRequest({ body }))),
    getAsyncTask: (name: string, id: string) => answered(client.getAsyncTask(name, id, new M.GetAsyncTaskRequest({}))),

    /** The answer streams as it comes. `failed` tells a function's own error from an answer: both have status 200. */
    invoke: (name: string, event: string | Uint8Array, options: { async?: boolean; headers?: Record<string, string> } = {}) =>
      invoke(invoker, name, event, options),
  };
}

async function invoke(
  client: M.default,
  name: string,
  event: string | Uint8Array,
  options: { async?: boolean; headers?: Record<string, string> },
) {
  const headers = new M.InvokeFunctionHeaders({
    commonHeaders: { ...options.headers },
    xFcInvocationType: options.async ? "Async" : "Sync",
  });
  const request = new M.InvokeFunctionRequest({});
  request.body = Readable.from([Buffer.from(event)]);
  const runtime = {} as Parameters<M.default["invokeFunctionWithOptions"]>[3];
  const answer = await done(client.invokeFunctionWithOptions(name, request, headers, runtime));
  const all = answer.headers ?? {};
  return { statusCode: answer.statusCode ?? 0, headers: all, body: answer.body, failed: "x-fc-error-type" in all };
}

function open({ endpoint, accessKeyId, accessKeySecret, securityToken }: FcAddress, timeoutMs: number): M.default {
  const [, protocol = "https", host = endpoint] = /^(https?):\/\/([^/]+)/.exec(endpoint) ?? [];
  const timeouts = { readTimeout: timeoutMs, connectTimeout: timeoutMs };
  return new M.default(
    new $OpenApiUtil.Config({
      accessKeyId,
      accessKeySecret,
      protocol,
      endpoint: host,
      ...timeouts,
      ...(securityToken ? { securityToken } : {}),
    }),
  );
}

async function answered<T>(call: Promise<{ body?: T; headers?: Record<string, string> }>): Promise<Answered<T>> {
  const { body, headers } = await done(call);
  return { body: body as T, headers: headers ?? {} };
}

async function done<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const { code, statusCode, requestId, message } = error as { code?: string; statusCode?: number; requestId?: string; message?: string };
    throw new FcError(code ?? "Unreachable", statusCode ?? 0, requestId ?? "", message ?? String(error), error);
  }
}
