import { type Control, type ControlFromPage, controlFromPage, getControl, giveControl, takeControl } from "#contract/control.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import * as core from "#core/control.ts";
import { type Principal } from "#core/projects.ts";
import { findPage } from "#core/tickets.ts";
import { permitSandbox, requireProject } from "./auth.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountControl(app: App): void {
  const { gateway } = app;
  const { platform } = gateway;
  mount(app, getControl).toScoped(async ({ principal, params }) => {
    await permitSandbox(gateway, principal, params.sandboxId);
    return told(await core.readControl(platform, principal.project, params.sandboxId), principal);
  });
  mount(app, takeControl).toScoped(async ({ principal, params, body }) => {
    await permitSandbox(gateway, principal, params.sandboxId);
    if (body.force) requireProject(principal);
    const taker = { ...takerOf(principal), ...(body.name === undefined ? {} : { name: body.name }) };
    const { holdMs, force } = body;
    return told(await core.takeControl(platform, principal.project, params.sandboxId, taker, { holdMs, force, asked: true }), principal);
  });
  mount(app, giveControl).toScoped(async ({ principal, params }) => {
    await permitSandbox(gateway, principal, params.sandboxId);
    await core.giveControl(platform, principal.project, params.sandboxId, takerOf(principal).id, principal.scope === undefined);
    return told(undefined, principal);
  });
  mount(app, controlFromPage).toAnyone(({ body }) => fromPage(app, body));
}

async function fromPage({ gateway: { platform } }: App, { session, turn, name }: ControlFromPage): Promise<Control> {
  const page = await findPage(platform, session);
  const sandboxId = sandboxOf(page);
  if (turn === "read") return told(await core.readControl(platform, page.project, sandboxId), page);
  if (page.purpose !== "view:control")
    throw new Problem("forbidden", {
      detail: "This page was opened to watch",
      permission: "view:control",
      next: "Ask for a ticket for `view:control`.",
    });
  const taker = { ...takerOf(page), ...(name === undefined ? {} : { name }) };
  if (turn === "give") await core.giveControl(platform, page.project, sandboxId, taker.id);
  if (turn === "give") return told(undefined, page);
  const held = { holdMs: LIMITS.controlGraceMs, asked: true };
  return told(await core.takeControl(platform, page.project, sandboxId, taker, held), page);
}

/** The sandbox that a page was opened for. */
export function sandboxOf({ scope }: Principal): string {
  if (!scope || !("sandboxId" in scope)) throw new Problem("ticket_not_valid");
  return scope.sandboxId;
}

/** Whom a credential is as one who may have control: all that comes by one key is one person, and so is each page. */
export function takerOf({ accessKeyId, bearer }: Principal): core.Taker {
  return bearer === undefined ? { id: `key:${accessKeyId}`, name: `the key ${accessKeyId}` } : { id: `ticket:${bearer}`, name: "a viewer" };
}

function told(holder: core.HolderNow | undefined, principal: Principal): Control {
  if (!holder) return { held: false };
  const { name, sinceMs, untilMs, id } = holder;
  const [since, until] = [new Date(sinceMs).toISOString(), new Date(untilMs).toISOString()];
  return { held: true, holder: { name, since, until, you: id === takerOf(principal).id } };
}
