import * as contract from "#contract/mem0.ts";
import { Problem } from "#contract/problem.ts";
import type { Principal } from "#core/projects.ts";
import type { App } from "#gateway/gateway.ts";
import { mount } from "#gateway/mount.ts";
import {
  addMemories,
  everyMemory,
  forgetEntities,
  forgetIds,
  historyOf,
  pageEntities,
  pageMemories,
  readMemory,
  searchMemories,
  updateMemory,
} from "./memories.ts";

const EXPORT = "mem0-export";
const EXPORT_LIFE_MS = 24 * 60 * 60_000;

/** The part of mem0's hosted API that its own client calls, at the root of the door, so that `host` alone leads here. */
export function mountMem0(app: App): void {
  const { platform } = app.gateway;
  const of = (principal: Principal) => ({ platform, project: principal.project });
  mount(app, contract.mem0Ping).to(({ principal }) => ({
    status: "ok",
    org_id: "cleanroom",
    project_id: principal.project.id,
    user_email: null,
  }));
  mount(app, contract.mem0Add).to(({ principal, body, signal }) => addMemories(of(principal), body, signal));
  mount(app, contract.mem0Search).to(({ principal, body, signal }) => searchMemories(of(principal), body, signal));
  mount(app, contract.mem0List).to(({ principal, query, body }) => pageMemories(of(principal), body.filters, query));
  mount(app, contract.mem0Get).to(({ principal, params }) => readMemory(of(principal), params.memoryId));
  mount(app, contract.mem0Update).to(({ principal, params, body }) => updateMemory(of(principal), params.memoryId, body));
  mount(app, contract.mem0Delete).to(({ principal, params }) => forgetIds(of(principal), [params.memoryId]));
  mount(app, contract.mem0History).to(({ principal, params }) => historyOf(of(principal), params.memoryId));
  mount(app, contract.mem0DeleteAll).to(({ principal, query }) => forgetEntities(of(principal), query));
  mount(app, contract.mem0BatchUpdate).to(async ({ principal, body }) => {
    for (const { memory_id: id, text } of body.memories) await updateMemory(of(principal), id, { text });
    return { message: `Successfully updated ${body.memories.length} memories` };
  });
  mount(app, contract.mem0BatchDelete).to(({ principal, body }) =>
    forgetIds(
      of(principal),
      body.memories.map(({ memory_id: id }) => id),
    ),
  );
  mount(app, contract.mem0Entities).to(({ principal, query }) => pageEntities(of(principal), query));
  for (const op of [contract.mem0DeleteEntity, contract.mem0DeleteEntityV1])
    mount(app, op).to(({ principal, params }) => forgetEntities(of(principal), { [`${params.type}_id`]: params.name }));
  mountExports(app, of);
}

/** An export is its filters, sealed for their project: nothing is copied before it is read. */
function mountExports(app: App, of: (principal: Principal) => Parameters<typeof everyMemory>[0]): void {
  const { platform } = app.gateway;
  mount(app, contract.mem0Export).to(async ({ principal, body }) => {
    const until = platform.clock.now() + EXPORT_LIFE_MS;
    const id = platform.vault.seal(JSON.stringify({ filters: body.filters ?? null, until }), `${EXPORT}/${principal.project.id}`);
    return {
      message: "Memory export request received. The export will be ready in a few seconds.",
      id: Buffer.from(id, "base64").toString("base64url"),
    };
  });
  mount(app, contract.mem0GetExport).to(async ({ principal, body }) => {
    const id = body.memory_export_id;
    if (!id) return everyMemory(of(principal), body.filters);
    return everyMemory(of(principal), opened(app, id, principal.project.id));
  });
}

function opened({ gateway }: App, id: string, projectId: string): Record<string, unknown> | null {
  try {
    const text = gateway.platform.vault.open(Buffer.from(id, "base64url").toString("base64"), `${EXPORT}/${projectId}`);
    const { filters, until } = JSON.parse(text) as { filters: Record<string, unknown> | null; until: number };
    if (until > gateway.platform.clock.now()) return filters;
  } catch (error) {
    throw new Problem("link_not_valid", { detail: "No such export" }, error);
  }
  throw new Problem("link_not_valid", { detail: "The export has expired" });
}
