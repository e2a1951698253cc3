import "./view.css";
import RFB from "@novnc/novnc";
import type { Control } from "#contract/control.ts";
import { showActions } from "./actions.ts";
import { openSession, Refusal, type Session } from "./session.ts";
import { element, RETRY_MS, show } from "./state.ts";

const LOOK_MS = 2000;
let view: RFB | undefined;
let failures = 0;
let over = false;

function notice(title: string, text: string, next: string): void {
  over = true;
  show("over", "Closed");
  element("notice-title").textContent = title;
  element("notice-text").textContent = text;
  element("notice-next").textContent = next;
  (element("notice") as HTMLDialogElement).showModal();
}

/** Opens the view by a fresh ticket, and again whenever it breaks. */
async function connect(session: Session): Promise<void> {
  let ticket: string;
  try {
    ticket = await session.ticket();
  } catch (error) {
    refuseOrRetry(session, error);
    return;
  }
  const url = new URL(`/sandboxes/${session.sandboxId}/ws/liveview?${new URLSearchParams({ ticket }).toString()}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const opened = new RFB(element("screen"), url.href, { shared: true, wsProtocols: ["binary"] });
  opened.viewOnly = true;
  opened.scaleViewport = true;
  opened.background = "transparent";
  view = opened;
  opened.addEventListener("connect", () => {
    failures = 0;
    show("open", "Connected");
    void look(session);
  });
  opened.addEventListener("disconnect", () => {
    if (view !== opened || over) return;
    view = undefined;
    retry(session);
  });
}

function retry(session: Session): void {
  const waitMs = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  show("connecting", "Reconnecting");
  setTimeout(() => void connect(session), waitMs);
}

function refuseOrRetry(session: Session | undefined, error: unknown): void {
  if (error instanceof Refusal) {
    const title = error.code === "sandbox_ended" ? "The sandbox has ended" : "This link is not good any more";
    notice(title, error.message, error.next);
  } else if (session) retry(session);
  else setTimeout(() => location.reload(), RETRY_MS.at(-1));
}

/** Who has control is what the door says; this page only sends input while it is its own. */
function tell(session: Session, { held, holder }: Control): void {
  const mine = held && holder?.you === true;
  const mayTake = session.purpose === "view:control";
  element("holder").textContent = !holder
    ? "The agent is in control"
    : mine
      ? "You have control; the agent waits"
      : `${holder.name} has control`;
  element("holder").dataset["held"] = mine ? "mine" : held ? "other" : "nobody";
  element("take").hidden = !mayTake || held;
  element("give").hidden = !mine;
  if (!view) return;
  view.viewOnly = !mine;
  if (mine) view.focus();
}

async function look(session: Session): Promise<void> {
  if (over) return;
  await turn(session, "read");
}

async function turn(session: Session, what: "read" | "take" | "give"): Promise<void> {
  try {
    tell(session, await session.control(what));
  } catch (error) {
    if (!(error instanceof Refusal)) return;
    if (error.code === "ticket_not_valid" || error.code === "sandbox_ended") refuseOrRetry(session, error);
    else element("holder").textContent = error.message;
  }
}

async function main(): Promise<void> {
  try {
    const session = await openSession();
    element("sandbox").textContent = session.sandboxId;
    element("take").addEventListener("click", () => void turn(session, "take"));
    element("give").addEventListener("click", () => void turn(session, "give"));
    setInterval(() => void look(session), LOOK_MS);
    showActions(session, () => view && !view.viewOnly && view.focus());
    await connect(session);
  } catch (error) {
    refuseOrRetry(undefined, error);
  }
}

void main();
