import { createTicket, deleteTicket, listTickets, openPage, renewPage, type TicketPurpose } from "#contract/ticket.ts";
import * as core from "#core/tickets.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";

export function mountTickets(app: App): void {
  const { platform, publicOrigin } = app.gateway;
  mount(app, createTicket).to(async ({ principal, params, body }) => {
    const { path, ...ticket } = await core.createTicket(platform, principal.project, params.sandboxId, body);
    return { ...ticket, url: publicOrigin + path };
  });
  mount(app, listTickets).to(({ principal, params }) => core.listTickets(platform, principal.project, params.sandboxId));
  mount(app, deleteTicket).to(({ principal, params }) => core.deleteTicket(platform, principal.project, params.sandboxId, params.ticketId));
  mount(app, openPage).toAnyone(({ body }) => core.openPage(platform, body.ticket));
  mount(app, renewPage).toAnyone(({ body }) => core.renewPage(platform, body.session));
}

/** The purposes that open a path inside a sandbox; none for most. What is spelled otherwise is opened by none. */
export function purposesOf(path: string): TicketPurpose[] {
  const [plain = ""] = path.split("?", 1);
  if (plain === "/processes/tty") return ["terminal"];
  if (plain === "/ws/liveview" || plain === "/ws/livestream") return ["view:watch", "view:control"];
  const port = /^\/ports\/([1-9]\d{0,4})(?:\/|$)/.exec(plain)?.[1];
  return port === undefined ? [] : [`port:${port}`];
}
