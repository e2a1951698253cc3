import type { FunctionRecord } from "./functions.ts";
import type { Isolation, InstanceUsage } from "#infra/local/sealed/maker.ts";
import { isolationOf } from "#infra/local/sealed/profile.ts";
import type { ScalingConfig } from "./scaling.ts";
import type { SessionRow } from "./session-rows.ts";
import type { TaskRow } from "./tasks.ts";
import type { TriggerRecord } from "./triggers.ts";

export interface Place {
  region: string;
  accountId: string;
}

const iso = (ms: number) => new Date(ms).toISOString();
const arnOf = ({ region, accountId }: Place, name: string) => `acs:fc:${region}:${accountId}:functions/${name}`;

/** A function as Function Compute shows it. */
export function functionReply(record: FunctionRecord, place: Place): Record<string, unknown> {
  return {
    ...record.definition,
    functionId: record.id,
    functionArn: arnOf(place, record.name),
    codeSize: record.codeSize,
    codeChecksum: record.checksum,
    createdTime: iso(record.createdAt),
    lastModifiedTime: iso(record.modifiedAt),
    state: "Active",
    lastUpdateStatus: "Successful",
  };
}

/** A session as Function Compute shows it. */
export function sessionReply(row: SessionRow): Record<string, unknown> {
  return {
    sessionId: row.id,
    functionName: row.function,
    qualifier: "LATEST",
    containerId: row.instanceId,
    sessionAffinityType: "HEADER_FIELD",
    sessionStatus: row.status,
    sessionTTLInSeconds: row.ttlS,
    sessionIdleTimeoutInSeconds: row.idleS,
    disableSessionIdReuse: row.reusable === 0,
    createdTime: iso(row.createdAt),
    lastModifiedTime: iso(row.modifiedAt),
  };
}

/** What Function Compute's model of a session has no field for, in a header beside it. */
export function sessionHeader(row: SessionRow, usage: InstanceUsage | undefined, isolation: Isolation): Record<string, string> {
  const facts = {
    ...(row.endReason === null ? {} : { endReason: row.endReason }),
    ...(row.endedAt === null ? {} : { endedAt: iso(row.endedAt) }),
    ...(usage ? { usage } : {}),
    isolation,
  };
  return { "x-cleanroom-session": headerJson(facts) };
}

/** How instances of this engine are isolated, in a header beside the list of functions: Function Compute says nothing of it. */
export function isolationHeader(isolation: Isolation): Record<string, string> {
  return {
    "x-cleanroom-isolation": headerJson(isolation),
    "x-cleanroom-isolation-browser": headerJson(isolationOf(isolation, "browser")),
  };
}

/** Header values are Latin-1; whatever is not is escaped as JSON allows. */
function headerJson(facts: object): string {
  return JSON.stringify(facts).replaceAll(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** How a function is scaled as Function Compute shows it, and in a header beside it what its model has no field for. */
export function scalingReply(
  name: string,
  config: ScalingConfig,
  prepared: { ready: number; making: number; wanted: number; error: string | undefined },
  place: Place,
): [Record<string, unknown>, Record<string, string>] {
  const body = {
    functionArn: arnOf(place, name),
    ...config,
    currentInstances: prepared.ready,
    targetInstances: prepared.wanted,
    ...(prepared.error === undefined ? {} : { currentError: prepared.error }),
  };
  return [body, { "x-cleanroom-scaling": JSON.stringify({ making: prepared.making }) }];
}

/** A trigger as Function Compute shows it; its address is the loopback door, which needs no names. */
export function triggerReply(record: TriggerRecord, place: Place, origin: string): Record<string, unknown> {
  const host = `${record.id}.${place.region}`;
  return {
    triggerId: record.id,
    triggerName: record.name,
    triggerType: record.type,
    triggerConfig: record.configText,
    description: record.description,
    qualifier: "LATEST",
    targetArn: arnOf(place, record.function),
    status: "Active",
    createdTime: iso(record.createdAt),
    lastModifiedTime: iso(record.modifiedAt),
    ...(record.http ? { httpTrigger: { urlInternet: `${origin}/door/${record.function}`, urlIntranet: `http://${host}.fcapp.run` } } : {}),
  };
}

/** An asynchronous task as Function Compute shows it. */
export function taskReply(task: TaskRow, withPayload: boolean): Record<string, unknown> {
  return {
    taskId: task.id,
    requestId: task.requestId,
    status: task.status,
    startedTime: task.startedAt ?? task.createdAt,
    endTime: task.endedAt ?? 0,
    durationMs: task.endedAt === null || task.startedAt === null ? 0 : task.endedAt - task.startedAt,
    alreadyRetriedTimes: task.retries,
    taskErrorMessage: task.error ?? "",
    events: JSON.parse(task.events) as unknown,
    ...(withPayload ? { taskPayload: Buffer.from(task.payload).toString("utf8") } : {}),
  };
}
