import * as z from "zod";
import { Moment, SandboxId } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

/** The one thing that a ticket is for. */
export const TicketPurpose = z
  .string()
  .regex(
    /^(view:watch|view:control|terminal|port:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5]))$/,
    "is `view:watch`, `view:control`, `terminal` or `port:` with a number",
  );
export type TicketPurpose = z.output<typeof TicketPurpose>;

/** `once` is gone with its first use, `many` is good until it expires, a `page` gets its page new tickets and what it shows beside them. */
export const TicketUses = z.enum(["once", "many", "page"]);
export type TicketUses = z.output<typeof TicketUses>;

/** A ticket as its project sees it; what opens the door is told once, to who made it. */
export const Ticket = z.object({
  id: z.string(),
  sandboxId: SandboxId,
  purpose: TicketPurpose,
  uses: TicketUses,
  createdAt: Moment,
  expiresAt: Moment,
});
export type Ticket = z.output<typeof Ticket>;

/** A ticket itself, and the address where it is good: a page, or the port's own. */
export const MintedTicket = Ticket.extend({ ticket: z.string(), url: z.string() });
export type MintedTicket = z.output<typeof MintedTicket>;

export const CreateTicket = z.strictObject({
  purpose: TicketPurpose,
  /** Five minutes unless told, an hour for a port. */
  lifetimeMs: z.int().min(1000).max(LIMITS.ticketMaxMs).optional(),
});
export type CreateTicket = z.output<typeof CreateTicket>;

const params = z.object({ sandboxId: z.string() });

export const createTicket = operation({
  id: "createTicket",
  method: "post",
  path: "/api/sandboxes/:sandboxId/tickets",
  summary: "Make a ticket for one purpose on one sandbox: good once for a page or a WebSocket, until it expires for a port",
  params,
  body: CreateTicket,
  status: 201,
  returns: MintedTicket,
  errors: ["sandbox_not_found", "sandbox_ended", "quota_exceeded", "invalid_request"],
});

export const listTickets = operation({
  id: "listTickets",
  method: "get",
  path: "/api/sandboxes/:sandboxId/tickets",
  summary: "List a sandbox's tickets that are good still",
  params,
  status: 200,
  returns: z.object({ items: z.array(Ticket) }),
  errors: ["sandbox_not_found"],
});

export const deleteTicket = operation({
  id: "deleteTicket",
  method: "delete",
  path: "/api/sandboxes/:sandboxId/tickets/:ticketId",
  summary: "Revoke a ticket; one that is gone is revoked already",
  params: z.object({ sandboxId: z.string(), ticketId: z.string() }),
  status: 204,
  errors: ["sandbox_not_found"],
});

/** What a page holds instead of the ticket that it was opened with, and a first ticket for its WebSocket. */
export const PageSession = z.object({
  session: z.string(),
  ticket: z.string(),
  sandboxId: SandboxId,
  purpose: TicketPurpose,
  expiresAt: Moment,
});
export type PageSession = z.output<typeof PageSession>;

export const openPage = operation({
  id: "openPage",
  method: "post",
  path: "/api/page/open",
  summary: "Use up a page's ticket for a session that gets it tickets for its WebSocket and, for a view, who has control and what was done",
  body: z.strictObject({ ticket: z.string().max(512) }),
  status: 200,
  returns: PageSession,
  errors: ["ticket_not_valid", "sandbox_ended", "invalid_request"],
});

export const renewPage = operation({
  id: "renewPage",
  method: "post",
  path: "/api/page/renew",
  summary: "Another ticket for the WebSocket of a page; its session lives an hour longer",
  body: z.strictObject({ session: z.string().max(512) }),
  status: 200,
  returns: PageSession.omit({ session: true }),
  errors: ["ticket_not_valid", "sandbox_ended", "invalid_request"],
});
