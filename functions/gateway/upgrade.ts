import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex, Transform } from "node:stream";
import { asProblem, Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { ISOLATION_HEADER } from "#contract/sandbox.ts";
import { BROWSER_TYPES } from "#contract/template.ts";
import type { Upgraded } from "#core/ports.ts";
import { ownRow } from "#core/sandbox-rows.ts";
import { connectSandbox } from "#core/sandboxes.ts";
import { answered } from "./answered.ts";
import { arrivalOf, shownPath } from "./arrival.ts";
import { automate, isDevtools } from "./devtools/automation.ts";
import type { Opened } from "./devtools/policy.ts";
import { beginConnection, closeWatcher, type Connection } from "./connections.ts";
import { type Flow, pacer } from "./flow.ts";
import type { Gateway } from "./gateway.ts";
import { callerOf } from "./mount.ts";
import { enter, refuseForeignOrigin } from "./ports.ts";
import { answerProblem } from "./problems.ts";
import { recordWhereAsked } from "./recordings.ts";
import { countWire } from "./wire.ts";
import { isView, mayControl, openView, viewFilter } from "./views.ts";

const NOT_PASSED = new Set(["connection", "upgrade", "set-cookie", "server", "date", ISOLATION_HEADER]);

/** Both ends, and what stands between them on the way in. */
interface Joined extends Upgraded {
  flow: Flow;
  filter: Transform | undefined;
  /** Whether it is DevTools, which are read message by message. */
  isDevtools: boolean;
  opened: Opened;
  project: Pick<Project, "id">;
  sandboxId: string;
  /** Its span; missing where its sandbox is none that is known. */
  connection: Connection | undefined;
}

/** Connects a WebSocket with its sandbox, or refuses it in one HTTP answer. Whoever leaves first takes the other end along. */
export async function passUpgrade(gateway: Gateway, incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
  const path = shownPath(incoming.url ?? "/");
  const asked = { requestId: randomUUID(), method: incoming.method ?? "GET", path, startedAtMs: performance.now() };
  const gone = new AbortController();
  socket.on("error", () => socket.destroy());
  socket.once("close", () => gone.abort());
  try {
    const upgraded = await connect(gateway, incoming, socket, { requestId: asked.requestId, signal: gone.signal });
    answered(gateway, asked, upgraded.status, new Headers());
    const { connection } = upgraded;
    if (!begin(socket, upgraded, gateway.isolation.strength)) {
      connection?.closed(undefined);
      return;
    }
    connection?.opened(socket, head);
    if (upgraded.isDevtools) connection?.closed(await automate(gateway, { ...upgraded, client: socket, head, browser: upgraded.stream }));
    else join(socket, head, upgraded);
  } catch (error) {
    if (gone.signal.aborted) return;
    const answer = answerProblem(gateway.platform, error, path, asked.requestId);
    answered(gateway, asked, answer.status, answer.headers);
    await refuse(socket, answer);
  }
}

async function connect(
  gateway: Gateway,
  incoming: IncomingMessage,
  socket: Duplex,
  { requestId, signal }: { requestId: string; signal: AbortSignal },
): Promise<Joined> {
  const arrival = arrivalOf(incoming, true);
  // A page of another site could connect with what the browser holds.
  refuseForeignOrigin(arrival);
  if (arrival.method !== "GET" || incoming.headers.upgrade?.toLowerCase() !== "websocket")
    throw new Problem("invalid_request", { detail: "Only WebSocket upgrades are passed on" });
  const { principal, target } = await enter(gateway, arrival);
  const flow = gateway.turnstile.enter(principal.project.id, target.sandboxId, socket);
  const headers = headersOf(incoming);
  headers.set("x-request-id", requestId);
  const { platform } = gateway;
  const { project } = principal;
  const { sandboxId } = target;
  const isDisplay = isView(target.path);
  const isAutomation = isDevtools(target.path);
  const sandbox = isAutomation || isDisplay ? await ownRow(platform, project, sandboxId) : undefined;
  // In an image of somebody's own the same path is somebody's own.
  const hasBrowser = sandbox !== undefined && BROWSER_TYPES.has(sandbox.value.type);
  const devtools = isAutomation && hasBrowser;
  if (isDisplay || devtools) {
    const release = await recordWhereAsked(gateway, principal, target);
    socket.once("close", () => release?.());
    if (signal.aborted) release?.();
  }
  // What is read on its way is not compressed.
  if (devtools) headers.delete("sec-websocket-extensions");
  // A view is opened by the door alone, which reads what comes through it.
  const passage = {
    method: "GET",
    url: target.path,
    headers,
    body: null,
    client: true as const,
    ...(isDisplay ? { inner: true as const } : {}),
  };
  const caller = callerOf(arrival, principal, requestId);
  const connection = await beginConnection(platform, principal, { ...target, caller }, headers);
  const upgraded = await connectSandbox(platform, project, sandboxId, passage, signal).catch((error: unknown) => {
    connection?.refused(signal.aborted ? "left" : asProblem(error).code);
    throw error;
  });
  const source = { projectId: project.id, id: sandboxId };
  platform.counts.count(source, { requests: 1 });
  socket.once("close", () => countWire(platform, source, socket));
  const filter = isDisplay ? viewFilter(openView(gateway, principal, sandboxId)) : undefined;
  if (isDisplay && mayControl(principal) && hasBrowser) {
    // What a person does in the browser is written down like what an agent does.
    const presence = gateway.witnesses.join(project.id, sandboxId);
    socket.once("close", () => presence.leave());
    if (socket.destroyed) presence.leave();
  }
  return { ...upgraded, flow, filter, isDevtools: devtools, opened: sandbox?.value.browserPages ?? [], project, sandboxId, connection };
}

/** Tells the client that it is connected; false when it has left. */
function begin(socket: Duplex, { status, headers, stream, filter }: Joined, strength: string): boolean {
  const lines = [`HTTP/1.1 ${status} Switching Protocols`, "connection: Upgrade", "upgrade: websocket", `${ISOLATION_HEADER}: ${strength}`];
  for (const [name, value] of Object.entries(headers)) {
    if (!NOT_PASSED.has(name) && !name.startsWith("x-fc-") && !name.startsWith("access-control-")) lines.push(`${name}: ${value}`);
  }
  stream.on("error", () => stream.destroy());
  if (socket.destroyed) {
    stream.destroy();
    filter?.destroy();
    return false;
  }
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  return true;
}

function join(socket: Duplex, head: Buffer, { stream, flow, filter, connection }: Joined): void {
  const watcher = closeWatcher();
  stream.on("data", (chunk: Buffer) => watcher.see(chunk));
  stream.once("close", () => socket.destroy());
  socket.once("close", () => {
    stream.destroy();
    connection?.closed(watcher.code());
  });
  stream.pipe(pacer(flow)).pipe(socket);
  const inward = filter ?? stream;
  if (head.length > 0) inward.write(head);
  socket.pipe(inward);
  if (!filter) return;
  filter.once("error", () => socket.destroy());
  socket.once("close", () => filter.destroy());
  filter.pipe(stream);
}

async function refuse(socket: Duplex, answer: Response): Promise<void> {
  const text = await answer.text();
  const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  socket.end(
    `HTTP/1.1 ${answer.status} Refused\r\n${headers}content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}

function headersOf(incoming: IncomingMessage): Headers {
  const headers = new Headers();
  for (let at = 0; at < incoming.rawHeaders.length; at += 2)
    headers.append(incoming.rawHeaders[at] ?? "", incoming.rawHeaders[at + 1] ?? "");
  return headers;
}
