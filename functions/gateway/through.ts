import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { asProblem } from "#contract/problem.ts";
import type { Passed } from "#core/ports.ts";
import { passIntoSandbox } from "#core/sandboxes.ts";
import { answered } from "./answered.ts";
import { arrivalOf, shownPath } from "./arrival.ts";
import { isAcs3 } from "./auth.ts";
import { DEVTOOLS_LISTS } from "./browser.ts";
import { isBodyless } from "./data.ts";
import { isDesktop } from "./desktop.ts";
import { paced } from "./flow.ts";
import type { Gateway } from "./gateway.ts";
import { beginPassing } from "./passing.ts";
import { isPage } from "./pages.ts";
import { enter, isByTicket, isPreflight, preflight } from "./ports.ts";
import { answerProblem, LIFECYCLE, MCP } from "./problems.ts";
import { asServed, servedPlace } from "./served.ts";
import { countWire } from "./wire.ts";

const UNWANTED_BODY_MS = 30_000;
const INSIDE = /^(?:\/k\/[^/?]*)?\/sandboxes\/[^/?\\]+\/[^?\\]/;
const LEFT = new Error("The client left");

/** Whether a request goes into a sandbox as it is: no route of the door has it, and no signature covers its body. */
export function goesThrough(incoming: IncomingMessage): boolean {
  const { method = "GET", url = "/" } = incoming;
  if (isByTicket(url)) return true;
  if (!INSIDE.test(url) || isPage(method, url) || isAcs3(arrivalOf(incoming))) return false;
  const path = shownPath(url);
  return [LIFECYCLE, MCP, DEVTOOLS_LISTS].every((own) => !own.test(path)) && !isDesktop(path);
}

/**
 * Passes a request into its sandbox and the answer back on the sockets' own streams: these requests are most of all, and
 * some carry gigabytes. Whoever leaves first takes the other side along.
 */
export async function goThrough(gateway: Gateway, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { method = "GET", url = "/" } = incoming;
  const asked = { requestId: randomUUID(), method, path: shownPath(url), startedAtMs: performance.now() };
  const gone = new AbortController();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished || !incoming.complete) gone.abort(LEFT);
    if (!incoming.complete) letPass(incoming);
  });
  try {
    const passed = await pass(gateway, incoming, outgoing, asked.requestId, gone.signal);
    answered(gateway, asked, passed.status, passed.headers);
    answer(outgoing, passed);
  } catch (error) {
    if (gone.signal.aborted) return;
    const { status, headers, body } = await refusal(gateway, error, asked);
    answered(gateway, asked, status, headers);
    answer(outgoing, { status, headers, body });
  }
}

async function pass(
  gateway: Gateway,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  requestId: string,
  signal: AbortSignal,
): Promise<Passed> {
  const arrival = arrivalOf(incoming);
  const entry = await enter(gateway, arrival);
  if (isPreflight(arrival, entry)) return preflight();
  const { principal, target } = entry;
  const flow = gateway.turnstile.enter(principal.project.id, target.sandboxId, outgoing);
  const headers = new Headers();
  const { rawHeaders } = incoming;
  for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? "", rawHeaders[at + 1] ?? "");
  // A Problem of the workspace names the same request as the door does.
  headers.set("x-request-id", requestId);
  const body = isBodyless(arrival.method, headers) ? null : incoming;
  const asked = { sandboxId: target.sandboxId, method: arrival.method, path: target.path };
  const passing = await beginPassing(gateway.platform, principal, asked, headers);
  const length = headers.get("content-length");
  passing?.watchInput(body, length === null ? undefined : Number(length));
  // Of a sandbox that there is; by the socket, as it may be gone from the answer by then.
  if (passing) {
    const { socket } = incoming;
    const source = { projectId: principal.project.id, id: target.sandboxId };
    outgoing.once("close", () => countWire(gateway.platform, source, socket));
  }
  const passage = { method: arrival.method, url: target.path, headers, body, client: true as const };
  const passed = await passIntoSandbox(gateway.platform, principal.project, target.sandboxId, passage, signal).catch((error: unknown) => {
    passing?.refused(signal.aborted ? "left" : asProblem(error).code);
    throw error;
  });
  passing?.answered(passed);
  const port = entry.port ?? servedPlace(target.sandboxId, passed.served);
  if (port) asServed(passed, port);
  passed.body = paced(passed.body, passed.headers.get("content-type"), flow);
  return passed;
}

function answer(outgoing: ServerResponse, { status, headers, body }: Passed): void {
  if (outgoing.destroyed) {
    if (body instanceof Readable) body.destroy();
    return;
  }
  outgoing.writeHead(status, [...headers].flat());
  if (!(body instanceof Readable)) {
    outgoing.end(body);
    return;
  }
  body.once("error", () => outgoing.destroy());
  outgoing.once("close", () => body.destroy());
  // What comes bit by bit is waited for; its head goes ahead.
  if (!headers.has("content-length")) outgoing.flushHeaders();
  body.pipe(outgoing);
}

async function refusal({ platform }: Gateway, error: unknown, { path, requestId }: { path: string; requestId: string }): Promise<Passed> {
  const response = answerProblem(platform, error, path, requestId);
  return { status: response.status, headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
}

/** Reads off what an early answer made pointless: the client's next request waits behind it on the same connection. */
function letPass(incoming: IncomingMessage): void {
  const { socket } = incoming;
  const timer = setTimeout(() => incoming.destroy(), UNWANTED_BODY_MS);
  const done = () => {
    clearTimeout(timer);
    socket.off("close", done);
  };
  // A request that has been answered is not told when its connection ends.
  socket.once("close", done);
  incoming.once("end", done);
  // Whoever it was going to pauses it when it learns that nothing more comes.
  incoming.on("pause", () => incoming.resume());
  incoming.unpipe().resume();
}
