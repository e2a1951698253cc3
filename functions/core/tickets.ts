import { createHash, randomBytes } from "node:crypto";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateTicket, PageSession, Ticket, TicketPurpose, TicketUses } from "#contract/ticket.ts";
import { dueTime } from "./due.ts";
import type { Platform, Row } from "./ports.ts";
import { findProject, type Principal } from "./projects.ts";
import { ownRow, refuseUnlessReady, type SandboxRow, sandboxEnded, unlessConflict } from "./sandbox-rows.ts";
import { sameText } from "./vault.ts";

const TICKETS = "tickets";
const TICKETS_DUE = "tickets-due";
const PREFIX = "crk_";
const PORT = /^port:(\d+)$/;

/** A ticket as it is kept: only the hash of what opens the door. */
interface TicketRow {
  id: string;
  projectId: string;
  sandboxId: string;
  purpose: TicketPurpose;
  uses: TicketUses;
  secretSha256: string;
  createdAtMs: number;
  expiresAtMs: number;
  /** The page that it was made for. */
  pageId?: string;
}

/** What one ticket's text names, before anything of it is believed. */
export interface Named {
  projectId: string;
  sandboxId: string;
  id: string;
  secret: string;
}

interface Minted {
  row: TicketRow;
  text: string;
}

/** Makes a ticket for a project's own living sandbox. What has it collected once it has expired is written first. */
export async function createTicket(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  spec: CreateTicket,
): Promise<Ticket & { ticket: string; path: string }> {
  refuseUnlessLiving((await ownRow(platform, project, sandboxId)).value);
  const isPort = PORT.test(spec.purpose);
  const lifetimeMs = spec.lifetimeMs ?? (isPort ? LIMITS.ticketPortMs : LIMITS.ticketMs);
  await refuseBeyondMost(platform, project, sandboxId);
  const { row, text } = await mint(platform, {
    projectId: project.id,
    sandboxId,
    purpose: spec.purpose,
    uses: isPort ? "many" : "once",
    lifetimeMs,
  });
  platform.log.event("ticket.made", { ticketId: row.id, projectId: project.id, sandboxId, purpose: row.purpose });
  return { ...toTicket(row), ticket: text, path: pathOf(row, text) };
}

export async function listTickets(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<{ items: Ticket[] }> {
  await ownRow(platform, project, sandboxId);
  return { items: (await living(platform, project.id, sandboxId)).map((row) => toTicket(row.value)) };
}

/** Revokes a ticket; what it opened before stays open. */
export async function deleteTicket(platform: Platform, project: Pick<Project, "id">, sandboxId: string, id: string): Promise<void> {
  await ownRow(platform, project, sandboxId);
  await platform.tables.remove(TICKETS, keyOf({ projectId: project.id, sandboxId, id }));
}

/** Reads what a ticket's text names; undefined for what is no ticket. */
export function readTicket(text: string): Named | undefined {
  const [, projectId, sandboxId, id, secret] = /^crk_(\w{1,64})\.([\w-]{1,64})\.(\w{26})\.([\w-]{32})$/.exec(text) ?? [];
  if (projectId === undefined || sandboxId === undefined || id === undefined || secret === undefined) return undefined;
  return { projectId, sandboxId, id, secret };
}

/**
 * Lets somebody use a ticket for one of these purposes on this sandbox. One that is good once goes with its use, by one
 * conditional removal, so that of two who use it at the same time exactly one gets in.
 */
export async function useTicket(
  platform: Platform,
  text: string,
  wanted: { sandboxId: string; purposes: readonly TicketPurpose[] },
): Promise<Principal> {
  const row = await findTicket(platform, text, ["once", "many"]);
  const { sandboxId, purpose, uses } = row.value;
  if (sandboxId !== wanted.sandboxId || !wanted.purposes.includes(purpose)) throw notValid();
  if (uses === "once") await useUp(platform, row);
  return principalOf(platform, row.value);
}

/** The same for a ticket that is an address itself: it says where it leads. */
export async function usePortTicket(
  platform: Platform,
  text: string,
): Promise<{ principal: Principal; sandboxId: string; number: string }> {
  const { value } = await findTicket(platform, text, ["many"]);
  const number = PORT.exec(value.purpose)?.[1];
  if (number === undefined) throw notValid();
  return { principal: await principalOf(platform, value), sandboxId: value.sandboxId, number };
}

/** Turns a page's ticket into the session of that page, which renews its tickets and asks what its page shows; it is good for nothing else. */
export async function openPage(platform: Platform, text: string): Promise<PageSession> {
  const row = await findTicket(platform, text, ["once"]);
  const { projectId, sandboxId, purpose } = row.value;
  await useUp(platform, row);
  await ownLiving(platform, row.value);
  const session = await mint(platform, { projectId, sandboxId, purpose, uses: "page", lifetimeMs: LIMITS.pageSessionMs });
  return { session: session.text, ...(await pageTicket(platform, session.row)) };
}

/** Another ticket for a page's WebSocket. Each renewal moves the end of the session; of two at once, one does. */
export async function renewPage(platform: Platform, session: string): Promise<Omit<PageSession, "session">> {
  const row = await findTicket(platform, session, ["page"]);
  await ownLiving(platform, row.value);
  const moved = { ...row.value, expiresAtMs: platform.clock.now() + LIMITS.pageSessionMs };
  await platform.tables.put(TICKETS_DUE, dueKeyOf(moved), keyOf(moved));
  const written = await unlessConflict(platform.tables.put<TicketRow>(TICKETS, row.key, moved, { ifVersion: row.version }));
  if (!written && !(await platform.tables.get(TICKETS, row.key))) throw notValid();
  return pageTicket(platform, moved);
}

/** Whom a page's session acts for: the page, and what it was opened for. */
export async function findPage(platform: Platform, session: string): Promise<Principal> {
  return principalOf(platform, (await findTicket(platform, session, ["page"])).value);
}

/** Takes away what has expired: at most `limit` of it. Answers how much it was. */
export async function collectTickets(platform: Platform, limit: number): Promise<number> {
  const now = platform.clock.now();
  const rows = await platform.tables.range<string>(TICKETS_DUE, "", { limit });
  const due = rows.filter((row) => row.key < dueTime(now));
  for (const { key, value } of due) {
    const ticket = await platform.tables.get<TicketRow>(TICKETS, value);
    if (ticket && ticket.value.expiresAtMs <= now)
      await unlessConflict(platform.tables.remove(TICKETS, value, { ifVersion: ticket.version }));
    await platform.tables.remove(TICKETS_DUE, key);
  }
  return due.length;
}

async function mint(
  platform: Platform,
  spec: Pick<TicketRow, "projectId" | "sandboxId" | "purpose" | "uses" | "pageId"> & { lifetimeMs: number },
): Promise<Minted> {
  const { lifetimeMs, ...rest } = spec;
  const createdAtMs = platform.clock.now();
  const secret = randomBytes(24).toString("base64url");
  const row: TicketRow = {
    ...rest,
    id: newId(createdAtMs),
    secretSha256: sha256(secret),
    createdAtMs,
    expiresAtMs: createdAtMs + lifetimeMs,
  };
  await platform.tables.put(TICKETS_DUE, dueKeyOf(row), keyOf(row));
  await platform.tables.put(TICKETS, keyOf(row), row, { ifVersion: "absent" });
  return { row, text: `${PREFIX}${row.projectId}.${row.sandboxId}.${row.id}.${secret}` };
}

async function pageTicket(platform: Platform, session: TicketRow): Promise<Omit<PageSession, "session">> {
  const { projectId, sandboxId, purpose, expiresAtMs, id: pageId } = session;
  const { text } = await mint(platform, { projectId, sandboxId, purpose, pageId, uses: "once", lifetimeMs: LIMITS.pageTicketMs });
  return { ticket: text, sandboxId, purpose, expiresAt: new Date(expiresAtMs).toISOString() };
}

/** One answer for all that can be wrong, so that guessing learns nothing. */
async function findTicket(platform: Platform, text: string, uses: readonly TicketUses[]): Promise<Row<TicketRow>> {
  const named = readTicket(text);
  const table = uses.includes("many") ? platform.recent : platform.tables;
  const row = named && (await table.get<TicketRow>(TICKETS, keyOf(named)));
  const isRight = sameText(sha256(named?.secret ?? ""), row?.value.secretSha256 ?? sha256("-"));
  if (!row || !isRight || row.value.expiresAtMs <= platform.clock.now() || !uses.includes(row.value.uses)) throw notValid();
  return row;
}

async function useUp(platform: Platform, row: Row<TicketRow>): Promise<void> {
  const used = await unlessConflict(platform.tables.remove(TICKETS, row.key, { ifVersion: row.version }).then(() => true));
  if (!used) throw notValid();
}

async function ownLiving(platform: Platform, { projectId, sandboxId }: TicketRow): Promise<void> {
  const { value } = await ownRow(platform, { id: projectId }, sandboxId);
  if (value.state === "ending" || value.state === "ended") throw sandboxEnded(value);
}

async function principalOf(platform: Platform, { id, pageId = id, projectId, sandboxId, purpose }: TicketRow): Promise<Principal> {
  const project = await findProject(platform, projectId);
  if (!project) throw notValid();
  return { project, accessKeyId: "ticket", root: false, scope: { sandboxId }, purpose, bearer: pageId };
}

async function living(platform: Platform, projectId: string, sandboxId: string): Promise<Row<TicketRow>[]> {
  const rows = await platform.tables.range<TicketRow>(TICKETS, `${projectId}/${sandboxId}/`, { limit: 2 * LIMITS.ticketsPerSandbox });
  return rows.filter((row) => row.value.expiresAtMs > platform.clock.now());
}

/** Who makes many at once may pass the bound by as many; it is there to hold a loop, not to be met exactly. */
async function refuseBeyondMost(platform: Platform, project: Pick<Project, "id">, sandboxId: string): Promise<void> {
  const most = LIMITS.ticketsPerSandbox;
  if ((await living(platform, project.id, sandboxId)).length < most) return;
  throw new Problem("quota_exceeded", {
    detail: `A sandbox has at most ${most} tickets that are good`,
    next: "Revoke some, or wait until they expire.",
    limit: most,
    retryAfterMs: 1000,
  });
}

function refuseUnlessLiving(row: SandboxRow): void {
  if (row.state !== "paused") refuseUnlessReady(row);
}

function toTicket({ id, sandboxId, purpose, uses, createdAtMs, expiresAtMs }: TicketRow): Ticket {
  return { id, sandboxId, purpose, uses, createdAt: new Date(createdAtMs).toISOString(), expiresAt: new Date(expiresAtMs).toISOString() };
}

/** Where a ticket is good. What follows a `#` reaches no server, no log and no other site; its page takes it from there. */
function pathOf({ sandboxId, purpose }: TicketRow, text: string): string {
  if (PORT.test(purpose)) return `/p/${text}/`;
  return `/sandboxes/${sandboxId}/${purpose === "terminal" ? "terminal" : "view"}#ticket=${text}`;
}

function keyOf({ projectId, sandboxId, id }: Pick<Named, "projectId" | "sandboxId" | "id">): string {
  return `${projectId}/${sandboxId}/${id}`;
}

function dueKeyOf(row: TicketRow): string {
  return `${dueTime(row.expiresAtMs)}/${row.id}`;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function notValid(): Problem {
  return new Problem("ticket_not_valid");
}
