import { setTimeout as delay } from "node:timers/promises";
import { toOtlp } from "#contract/otlp.ts";
import type { Project } from "#contract/project.ts";
import type { Span } from "#contract/span.ts";
import type { SetTraceExport, TraceExport } from "#contract/trace-export.ts";
import type { Platform } from "./ports.ts";
import { toSpan } from "./span-rows.ts";

type Owner = Pick<Project, "id">;

/** An address to send to. One that a project chose is not trusted to be outside. */
export interface Collector {
  endpoint: string;
  headers: Record<string, string>;
  trusted: boolean;
}

/** Sends one body; answers the status, throws when nobody answers. */
export type SendTraces = (collector: Collector, body: string) => Promise<number>;

interface ExportRow {
  endpoint: string;
  names: string[];
  sealedHeaders: string;
}

const EXPORTS = "trace-exports";
const EVERY_MS = 500;
const BATCH = 500;
const HELD = 5000;
const TRIES = 5;
const FIRST_WAIT_MS = 500;

export async function setTraceExport(platform: Platform, project: Owner, spec: SetTraceExport): Promise<TraceExport> {
  const sealedHeaders = platform.vault.seal(JSON.stringify(spec.headers), `trace-export/${project.id}`);
  const names = Object.keys(spec.headers);
  await platform.tables.put<ExportRow>(EXPORTS, project.id, { endpoint: spec.endpoint, names, sealedHeaders });
  return { endpoint: spec.endpoint, headers: names };
}

export async function getTraceExport(platform: Platform, project: Owner): Promise<{ export?: TraceExport }> {
  const row = await platform.tables.get<ExportRow>(EXPORTS, project.id);
  return row ? { export: { endpoint: row.value.endpoint, headers: row.value.names } } : {};
}

export async function deleteTraceExport(platform: Platform, project: Owner): Promise<void> {
  await platform.tables.remove(EXPORTS, project.id);
}

/**
 * Sends what is recorded in this process to the operator's collector and to the project's own, in batches and beside the
 * path. A collector that is away is tried again for a while; then, or when too much waits for it, spans are dropped and
 * counted in the log. They are in our own tables all the same.
 */
export function exportTraces(platform: Platform, operator: Collector | undefined, send: SendTraces): AsyncDisposable {
  const held = new Map<string, { spans: Span[]; dropped: number; sending: Promise<void> | undefined }>();
  const gone = new AbortController();

  async function collectorsOf(projectId: string): Promise<Collector[]> {
    const own = await platform.recent.get<ExportRow>(EXPORTS, projectId);
    const headers =
      own && (JSON.parse(platform.vault.open(own.value.sealedHeaders, `trace-export/${projectId}`)) as Record<string, string>);
    return [...(operator ? [operator] : []), ...(own && headers ? [{ endpoint: own.value.endpoint, headers, trusted: false }] : [])];
  }

  async function drain(projectId: string): Promise<void> {
    const mine = held.get(projectId);
    if (!mine) return;
    while (mine.spans.length > 0) {
      const batch = mine.spans.splice(0, BATCH);
      const body = JSON.stringify(toOtlp(projectId, batch));
      for (const collector of await collectorsOf(projectId)) await sendPatiently(projectId, collector, body, batch.length);
    }
    if (mine.dropped > 0) platform.log.event("spans.not_exported", { projectId, spans: mine.dropped, reason: "too many waited" });
    held.delete(projectId);
  }

  async function sendPatiently(projectId: string, collector: Collector, body: string, spans: number): Promise<void> {
    let reason = "";
    for (let tried = 0; tried < TRIES; tried += 1) {
      if (tried > 0) await delay(FIRST_WAIT_MS * 2 ** (tried - 1), undefined, { signal: gone.signal }).catch(() => {});
      const status = await send(collector, body).catch((error: unknown) => (reason = String(error)));
      if (typeof status === "number" && status < 300) return;
      if (typeof status === "number") reason = `HTTP ${status}`;
      // What the collector does not want will not be wanted later.
      if (gone.signal.aborted || (typeof status === "number" && status < 500 && status !== 429)) break;
    }
    platform.log.event("spans.not_exported", { projectId, spans, reason });
  }

  const timer = setInterval(() => {
    for (const [projectId, mine] of held) mine.sending ??= drain(projectId);
  }, EVERY_MS).unref();
  const stop = platform.traces.listen(({ projectId, taskId }, rows) => {
    let mine = held.get(projectId);
    if (!mine) held.set(projectId, (mine = { spans: [], dropped: 0, sending: undefined }));
    for (const row of rows) {
      if (row.durationMs === undefined) continue;
      if (mine.spans.length < HELD) mine.spans.push(toSpan(taskId, row));
      else mine.dropped += 1;
    }
  });

  return {
    async [Symbol.asyncDispose]() {
      stop();
      clearInterval(timer);
      gone.abort();
      await Promise.all([...held].map(([projectId, mine]) => mine.sending ?? drain(projectId)));
    },
  };
}
