import type { SeenAction } from "#contract/action.ts";
import type { Control } from "#contract/control.ts";
import type { PageSession } from "#contract/ticket.ts";

/** What the door answered instead of what a page asked for. */
export class Refusal extends Error {
  readonly code: string;
  readonly next: string;

  constructor({ code, detail, next }: { code: string; detail: string; next: string }) {
    super(detail);
    this.code = code;
    this.next = next;
  }
}

/** A page's right to go on: it gets a fresh ticket for each connection. */
export interface Session {
  sandboxId: string;
  purpose: string;
  /** A ticket for the next connection. Throws a Refusal when there will be none any more, another error when the door is out of reach. */
  ticket(): Promise<string>;
  /** Who has control of the sandbox's screen, after it was taken or given back where that is asked for. */
  control(turn: "read" | "take" | "give"): Promise<Control>;
  /** The newest of what was done in the sandbox, newest first. */
  actions(limit: number): Promise<SeenAction[]>;
}

const KEY = `session:${location.pathname}`;
const RENEW_MS = 20 * 60_000;

/**
 * Trades the ticket in the page's address for a session, which is kept for this tab alone, so that a reload goes on. The
 * address is cleaned at once: what was in it is used up by then, and stays in no history.
 */
export async function openSession(): Promise<Session> {
  const given = new URLSearchParams(location.hash.slice(1)).get("ticket") ?? new URLSearchParams(location.search).get("ticket");
  history.replaceState(null, "", location.pathname);
  let first: string | undefined;
  let about: Omit<PageSession, "session" | "ticket">;
  if (given === null) {
    const kept = sessionStorage.getItem(KEY);
    if (kept === null) throw new Refusal({ code: "ticket_not_valid", detail: "This address opens nothing by itself", next: askForLink() });
    const renewed = await renew(kept);
    ({ ticket: first, ...about } = renewed);
  } else {
    const opened = await post<PageSession>("/api/page/open", { ticket: given });
    sessionStorage.setItem(KEY, opened.session);
    ({ ticket: first, ...about } = opened);
  }
  // A page that is open for hours without losing its connection keeps its session all the same.
  setInterval(() => void renew(sessionStorage.getItem(KEY) ?? "").catch(() => {}), RENEW_MS);
  return {
    sandboxId: about.sandboxId,
    purpose: about.purpose,
    async ticket() {
      const ready = first;
      first = undefined;
      return ready ?? (await renew(sessionStorage.getItem(KEY) ?? "")).ticket;
    },
    control: (turn) => post<Control>("/api/page/control", { session: sessionStorage.getItem(KEY) ?? "", turn }),
    actions: async (limit) =>
      (await post<{ items: SeenAction[] }>("/api/page/actions", { session: sessionStorage.getItem(KEY) ?? "", limit })).items,
  };
}

function renew(session: string): Promise<Omit<PageSession, "session">> {
  return post("/api/page/renew", { session });
}

function askForLink(): string {
  return "Ask for a new link: POST /api/sandboxes/{id}/tickets.";
}

async function post<T>(path: string, body: object): Promise<T> {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  if (answer.ok) return (await answer.json()) as T;
  if (answer.status >= 500) throw new Error(`The door answered ${answer.status}`);
  throw new Refusal((await answer.json()) as { code: string; detail: string; next: string });
}
