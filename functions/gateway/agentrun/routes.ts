import { AGENTRUN, agentrunGetAccessToken } from "#contract/agentrun.ts";
import {
  agentrunCreateMemory,
  agentrunDeleteMemory,
  agentrunGetMemory,
  agentrunListMemories,
  agentrunUpdateMemory,
} from "#contract/agentrun-memory.ts";
import {
  agentrunCreateSandbox,
  agentrunDataCreateSandbox,
  agentrunDataDeleteSandbox,
  agentrunDataGetSandbox,
  agentrunDataStopSandbox,
  agentrunDeleteSandbox,
  agentrunGetSandbox,
  agentrunListSandboxes,
  agentrunPauseSandbox,
  agentrunResumeSandbox,
  agentrunStopSandbox,
} from "#contract/agentrun-sandbox.ts";
import {
  agentrunActivateMcp,
  agentrunCreateTemplate,
  agentrunDeleteTemplate,
  agentrunGetTemplate,
  agentrunListTemplates,
  agentrunStopMcp,
  agentrunUpdateTemplate,
} from "#contract/agentrun-template.ts";
import { Problem } from "#contract/problem.ts";
import type { Principal } from "#core/projects.ts";
import { permitSandbox } from "#gateway/auth.ts";
import type { App, Gateway } from "#gateway/gateway.ts";
import { mount } from "#gateway/mount.ts";
import { accessToken } from "./access-token.ts";
import { naming, succeeded, unserved } from "./envelope.ts";
import { changeMemory, makeMemory, pageMemories, readMemory, removeMemory } from "./memories.ts";
import { holdSandbox, makeSandbox, pageSandboxes, readSandbox, removeSandbox, stopSandbox, wakeSandbox } from "./sandboxes.ts";
import { changeMcp, changeTemplate, makeTemplate, pageTemplates, readTemplate, removeTemplate } from "./templates.ts";

/** AgentRun's two planes on the door, before the routes that pass everything under a sandbox into it. */
export function mountAgentrun(app: App): void {
  mountTemplates(app);
  mountSandboxes(app);
  mountDataSandboxes(app);
  mountMemories(app);
  const { gateway, hono } = app;
  mount(app, agentrunGetAccessToken).to(async ({ principal, query, requestId }) =>
    succeeded(requestId, await accessToken(gateway, principal.project, query)),
  );
  hono.all(`${AGENTRUN}/*`, (c) => {
    const pending = unserved(c.req.method, c.req.path);
    if (pending) throw pending;
    return c.notFound();
  });
}

function mountTemplates(app: App): void {
  const { gateway } = app;
  mount(app, agentrunCreateTemplate).to(async ({ principal, body, requestId }) =>
    succeeded(requestId, await makeTemplate(gateway, principal.project, body)),
  );
  mount(app, agentrunListTemplates).to(async ({ principal, query, requestId }) =>
    succeeded(requestId, await pageTemplates(gateway, principal.project, query)),
  );
  mount(app, agentrunGetTemplate).to(async ({ principal, params, requestId }) =>
    succeeded(requestId, await readTemplate(gateway, principal.project, params.templateName)),
  );
  mount(app, agentrunUpdateTemplate).to(async ({ principal, params, body, requestId }) =>
    succeeded(requestId, await changeTemplate(gateway, principal.project, params.templateName, body)),
  );
  mount(app, agentrunDeleteTemplate).to(async ({ principal, params, requestId }) =>
    succeeded(requestId, await removeTemplate(gateway, principal.project, params.templateName)),
  );
  mount(app, agentrunActivateMcp).to(async ({ principal, params, body, requestId }) => {
    const enabledTools = body.enabledTools?.length ? body.enabledTools : null;
    return succeeded(requestId, await changeMcp(gateway, principal.project, params.templateName, { active: true, enabledTools }));
  });
  mount(app, agentrunStopMcp).to(async ({ principal, params, requestId }) =>
    succeeded(requestId, await changeMcp(gateway, principal.project, params.templateName, { active: false })),
  );
}

function mountMemories(app: App): void {
  const { gateway } = app;
  mount(app, agentrunCreateMemory).to(async ({ principal, body, requestId }) =>
    succeeded(requestId, await makeMemory(gateway, principal.project, body)),
  );
  mount(app, agentrunListMemories).to(async ({ principal, query, requestId }) =>
    succeeded(requestId, await pageMemories(gateway, principal.project, query)),
  );
  mount(app, agentrunGetMemory).to(async ({ principal, params, requestId }) =>
    succeeded(requestId, await readMemory(gateway, principal.project, params.memoryCollectionName)),
  );
  mount(app, agentrunUpdateMemory).to(async ({ principal, params, body, requestId }) =>
    succeeded(requestId, await changeMemory(gateway, principal.project, params.memoryCollectionName, body)),
  );
  mount(app, agentrunDeleteMemory).to(async ({ principal, params, requestId }) =>
    succeeded(requestId, await removeMemory(gateway, principal.project, params.memoryCollectionName)),
  );
}

function mountSandboxes(app: App): void {
  const { gateway } = app;
  mount(app, agentrunCreateSandbox).to(async ({ principal, body, requestId, signal }) =>
    succeeded(requestId, await makeSandbox(gateway, "control", principal.project, body, signal)),
  );
  mount(app, agentrunListSandboxes).to(async ({ principal, query, requestId }) =>
    succeeded(requestId, await pageSandboxes(gateway, principal.project, query)),
  );
  for (const [op, answer] of [
    [agentrunGetSandbox, readSandbox],
    [agentrunStopSandbox, stopSandbox],
    [agentrunDeleteSandbox, removeSandbox],
    [agentrunPauseSandbox, holdSandbox],
    [agentrunResumeSandbox, wakeSandbox],
  ] as const) {
    mount(app, op).to(async ({ principal, params, requestId }) =>
      succeeded(requestId, await answer(gateway, "control", principal.project, params.sandboxId)),
    );
  }
}

/** The data plane takes tokens that are good for less than a project, and paths with a slash at their end. */
function mountDataSandboxes(app: App): void {
  const { gateway } = app;
  for (const op of slashed(agentrunDataCreateSandbox)) {
    mount(app, op).toScoped(async ({ principal, body, requestId, signal }) => {
      permitTemplate(principal, body.templateName);
      return succeeded(requestId, await makeSandbox(gateway, "data", principal.project, body, signal));
    });
  }
  for (const [base, answer] of [
    [agentrunDataGetSandbox, readSandbox],
    [agentrunDataStopSandbox, stopSandbox],
    [agentrunDataDeleteSandbox, removeSandbox],
  ] as const) {
    for (const op of slashed(base)) {
      mount(app, op).toScoped(async ({ principal, params, requestId }) => {
        await permit(gateway, principal, params.sandboxId);
        return succeeded(requestId, await answer(gateway, "data", principal.project, params.sandboxId));
      });
    }
  }
}

function slashed<O extends { path: string }>(op: O): O[] {
  return [op, { ...op, path: `${op.path}/` }];
}

function permit(gateway: Gateway, principal: Principal, sandboxId: string): Promise<void> {
  return naming("data", "Sandbox", sandboxId, permitSandbox(gateway, principal, sandboxId));
}

function permitTemplate({ scope }: Principal, template: string): void {
  if (!scope || ("template" in scope && scope.template === template)) return;
  throw new Problem("forbidden", { detail: "This token does not make sandboxes of that template", permission: "project" });
}
