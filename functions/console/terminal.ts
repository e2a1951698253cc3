import "./terminal.css";
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import { openSession, Refusal, type Session } from "./session.ts";
import { element, RETRY_MS, show } from "./state.ts";

const TERMINAL_KEY = `terminal:${location.pathname}`;
const PING_MS = 30_000;
/** What the screen may be behind by; beyond that the connection is made anew, and what was missed is left out. */
const BEHIND_BYTES = 8 * 1024 * 1024;
/** What is typed while there is no connection, and kept for when there is one. */
const TYPED_AHEAD_CHARS = 16 * 1024;

/** What the workspace says. */
type Said =
  | { type: "connectionEstablished"; terminalId: string; processId: string; offset: number }
  | { type: "output"; data: string; offset: number; next: number }
  | { type: "status"; status: string; exitCode?: number }
  | { type: "connectionClosing"; reason: string }
  | { type: "pong" | "timeoutWarning" };

const screen = new Terminal({
  cursorBlink: true,
  fontFamily: "ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', 'Liberation Mono', monospace",
  fontSize: 14,
  scrollback: 10_000,
  theme: { background: "#0f1216", foreground: "#d7dde5", cursor: "#5fd38d", selectionBackground: "#33415580" },
  // What a sandbox prints is hostile: no links that are something else than they show, no title, no window reports.
  linkHandler: { activate: () => {} },
  windowOptions: {},
});
const fit = new FitAddon();
let socket: WebSocket | undefined;
let at = 0;
let behind = 0;
let typedAhead = "";
let established = false;
let failures = 0;
let over = false;

function notice(title: string, text: string, next: string, again: boolean): void {
  over = true;
  element("notice-title").textContent = title;
  element("notice-text").textContent = text;
  element("notice-next").textContent = next;
  element("notice-again").hidden = !again;
  (element("notice") as HTMLDialogElement).showModal();
}

function say(message: object): void {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

/** Nothing that is typed is lost because the terminal is on its way. */
function type(data: string): void {
  if (established) say({ type: "input", data });
  else typedAhead = (typedAhead + data).slice(0, TYPED_AHEAD_CHARS);
}

async function connect(session: Session): Promise<void> {
  let ticket: string;
  try {
    ticket = await session.ticket();
  } catch (error) {
    refuseOrRetry(session, error);
    return;
  }
  const known = sessionStorage.getItem(TERMINAL_KEY);
  const query = new URLSearchParams({ protocol: "json", ticket, rows: String(screen.rows), cols: String(screen.cols) });
  if (known !== null) query.set("id", known);
  if (known !== null && at > 0) query.set("from", String(at));
  const url = new URL(`/sandboxes/${session.sandboxId}/processes/tty?${query.toString()}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const opened = new WebSocket(url);
  socket = opened;
  behind = 0;
  established = false;
  opened.addEventListener("message", ({ data }: MessageEvent<string>) => hear(opened, JSON.parse(data) as Said));
  opened.addEventListener("close", ({ code }) => {
    if (socket === opened) established = false;
    if (socket !== opened || over) return;
    // A terminal that is no more is asked for once: the next one is new.
    if (failures > 1 && code === 1006 && known !== null) forget();
    retry(session);
  });
}

function hear(from: WebSocket, said: Said): void {
  if (from !== socket) return;
  if (said.type === "connectionEstablished") {
    failures = 0;
    if (sessionStorage.getItem(TERMINAL_KEY) !== said.terminalId) screen.reset();
    sessionStorage.setItem(TERMINAL_KEY, said.terminalId);
    show("open", "Connected");
    say({ type: "resize", rows: screen.rows, cols: screen.cols });
    established = true;
    if (typedAhead !== "") say({ type: "input", data: typedAhead });
    typedAhead = "";
    screen.focus();
  } else if (said.type === "output") {
    at = said.next;
    behind += said.data.length;
    screen.write(said.data, () => (behind -= said.data.length));
    if (behind > BEHIND_BYTES) from.close();
  } else if (said.type === "status" && said.status !== "running") {
    forget();
    show("over", "Ended");
    notice("The terminal has ended", `Its shell exited with ${said.exitCode ?? 0}.`, "The sandbox goes on.", true);
  }
}

function forget(): void {
  sessionStorage.removeItem(TERMINAL_KEY);
  at = 0;
}

function refuseOrRetry(session: Session | undefined, error: unknown): void {
  if (error instanceof Refusal) {
    show("over", "Closed");
    const title = error.code === "sandbox_ended" ? "The sandbox has ended" : "This link is not good any more";
    notice(title, error.message, error.next, false);
  } else if (session) retry(session);
  else setTimeout(() => location.reload(), RETRY_MS.at(-1));
}

function retry(session: Session): void {
  const waitMs = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
  failures += 1;
  show("connecting", "Reconnecting");
  setTimeout(() => void connect(session), waitMs);
}

function prepareScreen(): void {
  screen.loadAddon(fit);
  screen.open(element("terminal"));
  fit.fit();
  screen.onData(type);
  screen.onBinary(type);
  screen.onResize(({ rows, cols }) => say({ type: "resize", rows, cols }));
  // A browser's own keys for it are taken by programs, so those of terminals stand beside them.
  screen.attachCustomKeyEventHandler((event) => {
    const chord = event.ctrlKey && event.shiftKey && event.type === "keydown";
    if (!chord || event.code !== "KeyC" || !screen.hasSelection()) return true;
    event.preventDefault();
    void navigator.clipboard.writeText(screen.getSelection());
    return false;
  });
  new ResizeObserver(() => fit.fit()).observe(element("terminal"));
  setInterval(() => say({ type: "ping" }), PING_MS);
}

async function main(): Promise<void> {
  prepareScreen();
  try {
    const session = await openSession();
    element("sandbox").textContent = session.sandboxId;
    element("notice-again").addEventListener("click", () => {
      over = false;
      failures = 0;
      (element("notice") as HTMLDialogElement).close();
      screen.reset();
      void connect(session);
    });
    await connect(session);
  } catch (error) {
    refuseOrRetry(undefined, error);
  }
}

void main();
