import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { asProblem, Problem, problemBody } from "#contract/problem.ts";
import type { Limits } from "#core/limits.ts";
import type { Platform } from "#core/ports.ts";
import { jobsOf, work } from "./work.ts";

const EVENT_BYTES = 32 * 1024 * 1024;

/** Answers events as Function Compute delivers them: `POST /invoke` with the event as its body. */
export function createWorker(platform: Platform, limits: Limits, stopping: AbortSignal): Server {
  return createServer((request, response) => {
    void answer(platform, limits, request, stopping).then(
      (result) => send(response, 200, result),
      (error: unknown) => refuse(platform, response, error, String(request.headers["x-fc-request-id"] ?? "")),
    );
  });
}

async function answer(platform: Platform, limits: Limits, request: IncomingMessage, stopping: AbortSignal): Promise<object> {
  if (request.method === "GET" && request.url === "/health") return { status: "ok" };
  if (request.method !== "POST" || request.url !== "/invoke") throw new Problem("route_not_found");
  const results: object[] = [];
  const failures: unknown[] = [];
  for (const job of jobsOf(JSON.parse(await readText(request)))) {
    try {
      results.push(await work(platform, limits, job(), stopping));
    } catch (error) {
      failures.push(error);
    }
  }
  // Between two invocations an instance may be frozen: what was recorded is written before this one ends.
  await Promise.all([platform.traces.flush(), platform.audit.flush(), platform.counts.flush()]);
  // A batch fails as a whole and comes again; what was done is done then, and does no harm twice.
  if (failures.length > 0) throw failures[0];
  return { results };
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > EVENT_BYTES) throw new Problem("body_too_large", { limitBytes: EVENT_BYTES });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function refuse(platform: Platform, response: ServerResponse, error: unknown, requestId: string): void {
  platform.log.event("job.failed", { requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  const problem = asProblem(error);
  send(response, problem.status, problemBody(problem, requestId));
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}
