import type { AgentrunCreateSandbox, AgentrunSandbox, AgentrunSandboxQuery, AgentrunSandboxStatus } from "#contract/agentrun-sandbox.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateSandbox, Sandbox, SandboxQuery, SandboxState } from "#contract/sandbox.ts";
import { pauseSandbox, resumeSandbox } from "#core/pauses.ts";
import { createSandbox, endSandbox, getSandbox, listSandboxes } from "#core/sandboxes.ts";
import { absent, moment, naming, type Plane } from "./envelope.ts";
import { type Agentrun, templateUuid } from "./templates.ts";

/** Marks of sandboxes that ended by themselves and were deleted afterwards: ended says the core, gone says AgentRun. */
const DELETIONS = "agentrun_deletions";
const PAGES_READ = 20;

/** Makes a sandbox of AgentRun's fields; a client's own id twice is one sandbox. */
export async function makeSandbox(
  agentrun: Agentrun,
  plane: Plane,
  project: Project,
  body: AgentrunCreateSandbox,
  signal?: AbortSignal,
): Promise<AgentrunSandbox> {
  refuseMounts(body);
  const idleS = body.sandboxIdleTimeoutSeconds ?? body.sandboxIdleTimeoutInSeconds;
  const spec: CreateSandbox = {
    template: body.templateName,
    metadata: {},
    environment: {},
    ...(body.sandboxId === undefined || body.sandboxId === null ? {} : { id: body.sandboxId }),
    ...(idleS === undefined || idleS === null ? {} : { idleTimeoutMs: idleS * 1000 }),
  };
  const { sandbox } = await naming(
    plane,
    "Template",
    body.templateName,
    createSandbox(agentrun.platform, agentrun.limits, project, spec, signal),
  );
  return sandboxAnswer(agentrun, project, sandbox);
}

/** Reads a sandbox, asking the engine whether it still lives. */
export async function readSandbox(agentrun: Agentrun, plane: Plane, project: Project, id: string): Promise<AgentrunSandbox> {
  return sandboxAnswer(agentrun, project, await present(agentrun, plane, project, id));
}

/** Ends a sandbox; it stays readable and on the list. Stopping twice is one stop. */
export async function stopSandbox(agentrun: Agentrun, plane: Plane, project: Project, id: string): Promise<AgentrunSandbox> {
  await present(agentrun, plane, project, id);
  return sandboxAnswer(agentrun, project, await endSandbox(agentrun.platform, project, id, "stopped"));
}

/**
 * Ends a sandbox and takes it off the list. A second deletion is one deletion on the control plane; on the data plane
 * the sandbox is then gone, as AgentRun's own tests want it.
 */
export async function removeSandbox(agentrun: Agentrun, plane: Plane, project: Project, id: string): Promise<AgentrunSandbox> {
  const known = await naming(plane, "Sandbox", id, getSandbox(agentrun.platform, project, id));
  if (await isDeleted(agentrun, project, known)) {
    if (plane === "data") throw absent(plane, "Sandbox", id);
    return sandboxAnswer(agentrun, project, known);
  }
  const ended = await endSandbox(agentrun.platform, project, id, "deleted");
  if (ended.endReason !== "deleted") {
    await agentrun.platform.tables.put(DELETIONS, deletionKey(project, id), { atMs: agentrun.platform.clock.now() });
  }
  return sandboxAnswer(agentrun, project, ended);
}

/** Pauses a sandbox; one that was taken off the list is not there any more. */
export async function holdSandbox(agentrun: Agentrun, plane: Plane, project: Project, id: string): Promise<AgentrunSandbox> {
  await present(agentrun, plane, project, id);
  return sandboxAnswer(agentrun, project, await pauseSandbox(agentrun.platform, project, id));
}

export async function wakeSandbox(agentrun: Agentrun, plane: Plane, project: Project, id: string): Promise<AgentrunSandbox> {
  await present(agentrun, plane, project, id);
  return sandboxAnswer(agentrun, project, await resumeSandbox(agentrun.platform, project, id));
}

/** A page of the sandboxes that nobody deleted. What a filter leaves out is made up for by reading on. */
export async function pageSandboxes(
  agentrun: Agentrun,
  project: Project,
  query: AgentrunSandboxQuery,
): Promise<{ items: AgentrunSandbox[]; nextToken?: string }> {
  if (query.sandboxId !== undefined) return one(agentrun, project, query, query.sandboxId);
  const items: AgentrunSandbox[] = [];
  let after = query.nextToken;
  for (let pages = 0; pages < PAGES_READ; pages += 1) {
    const page = await listSandboxes(agentrun.platform, project, coreQuery(query, query.maxResults - items.length, after));
    items.push(...(await shown(agentrun, project, query, page.items)));
    after = page.next;
    if (after === undefined || items.length >= query.maxResults) break;
  }
  return after === undefined ? { items } : { items, nextToken: after };
}

/** A sandbox in AgentRun's fields, with the Function Compute session that it is. */
export function sandboxAnswer(agentrun: Agentrun, project: Project, sandbox: Sandbox): AgentrunSandbox {
  const idleS = Math.round(sandbox.idleTimeoutMs / 1000);
  const createdAt = moment(sandbox.createdAt);
  const lastUpdatedAt = moment(sandbox.endedAt ?? sandbox.pausedAt ?? sandbox.createdAt);
  return {
    sandboxId: sandbox.id,
    sandboxArn: `acs:agentrun:${agentrun.region}:${agentrun.accountId}:sandboxes/${sandbox.id}`,
    templateId: templateUuid(project, sandbox.template),
    templateName: sandbox.template,
    templateType: sandbox.type,
    status: STATUS[sandbox.state],
    sandboxIdleTimeoutSeconds: idleS,
    sandboxIdleTimeoutInSeconds: idleS,
    createdAt,
    lastUpdatedAt,
    ...(sandbox.endedAt === undefined ? {} : { endedAt: moment(sandbox.endedAt) }),
    metadata: {
      ...sandbox.metadata,
      fcSessionDetails: {
        sessionId: sandbox.id,
        sessionStatus: SESSION_STATUS[STATUS[sandbox.state]],
        sessionIdleTimeoutInSeconds: idleS,
        createdTime: createdAt,
        lastModifiedTime: lastUpdatedAt,
        ...(sandbox.endReason === undefined ? {} : { endReason: sandbox.endReason }),
        isolation: (sandbox.isolation ?? agentrun.isolation).strength,
      },
    },
  };
}

const STATUS: Readonly<Record<SandboxState, AgentrunSandboxStatus>> = {
  creating: "CREATING",
  ready: "READY",
  paused: "PAUSED",
  ending: "TERMINATED",
  ended: "TERMINATED",
};

const SESSION_STATUS: Readonly<Record<AgentrunSandboxStatus, string>> = {
  CREATING: "Active",
  READY: "Active",
  PAUSED: "Paused",
  TERMINATED: "Expired",
};

async function present(agentrun: Agentrun, plane: Plane, project: Project, id: string): Promise<Sandbox> {
  const sandbox = await naming(plane, "Sandbox", id, getSandbox(agentrun.platform, project, id, { withUsage: true }));
  if (await isDeleted(agentrun, project, sandbox)) throw absent(plane, "Sandbox", id);
  return sandbox;
}

async function isDeleted(agentrun: Agentrun, project: Project, sandbox: Sandbox): Promise<boolean> {
  if (STATUS[sandbox.state] !== "TERMINATED") return false;
  if (sandbox.endReason === "deleted") return true;
  return (await agentrun.platform.tables.get(DELETIONS, deletionKey(project, sandbox.id))) !== undefined;
}

async function one(agentrun: Agentrun, project: Project, query: AgentrunSandboxQuery, id: string): Promise<{ items: AgentrunSandbox[] }> {
  try {
    return { items: await shown(agentrun, project, query, [await getSandbox(agentrun.platform, project, id)]) };
  } catch (error) {
    if (error instanceof Problem && error.code === "sandbox_not_found") return { items: [] };
    throw error;
  }
}

async function shown(
  agentrun: Agentrun,
  project: Project,
  query: AgentrunSandboxQuery,
  sandboxes: readonly Sandbox[],
): Promise<AgentrunSandbox[]> {
  const asked = sandboxes
    .filter((sandbox) => query.templateName === undefined || sandbox.template === query.templateName)
    .filter((sandbox) => query.templateType === undefined || sandbox.type === query.templateType)
    .filter((sandbox) => query.status === undefined || STATUS[sandbox.state] === query.status);
  const deleted = await Promise.all(asked.map((sandbox) => isDeleted(agentrun, project, sandbox)));
  return asked.filter((_, at) => !deleted[at]).map((sandbox) => sandboxAnswer(agentrun, project, sandbox));
}

const OWN_STATES: Readonly<Record<string, SandboxState>> = { CREATING: "creating", READY: "ready", PAUSED: "paused" };

// A status that two states share, or that AgentRun has and we do not, is left to the filter above.
function coreQuery(query: AgentrunSandboxQuery, limit: number, after: string | undefined): SandboxQuery {
  const state = OWN_STATES[query.status ?? ""];
  return {
    limit,
    ...(after === undefined ? {} : { after }),
    ...(query.templateName === undefined ? {} : { template: query.templateName }),
    ...(state === undefined ? {} : { state }),
  };
}

function refuseMounts(body: AgentrunCreateSandbox): void {
  const asked = (["nasConfig", "ossMountConfig", "polarFsConfig"] as const).filter((name) => (body[name]?.mountPoints ?? []).length > 0);
  if (asked.length === 0) return;
  throw new Problem("not_supported", { detail: `Mounts are not supported yet: ${asked.join(", ")}`, fields: asked });
}

function deletionKey(project: Pick<Project, "id">, id: string): string {
  return `${project.id}/${id}`;
}
