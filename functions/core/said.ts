import { Said, SaidSpan } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { readBytes } from "#contract/operation.ts";
import { Problem } from "#contract/problem.ts";
import type { SpanAttributes } from "#contract/span.ts";
import { inward } from "./passage.ts";
import type { Platform } from "./ports.ts";
import { rowKey, SANDBOXES, type SandboxRow } from "./sandbox-rows.ts";
import { segmentPrefix, type SpanRow } from "./span-rows.ts";
import { placeOf } from "./span.ts";
import { traceIdOf } from "./task-rows.ts";

/** How many spans of a sandbox's own word are kept: `<project>/<task>/<sandbox>`. */
export const SAID_COUNTS = "said-counts";

const AFTER_MS = 500;
const FETCH_MS = 5000;
const ROUNDS = 8;
/** The workspace says at most 1 MiB of spans; what it becomes as JSON is larger. */
const ANSWER_BYTES = 8 * 1024 * 1024;
const SANDBOXES_REMEMBERED = 5000;
const TRACES_REMEMBERED = 64;
const SKEW_MS = 1000;
/** What is ours to say of a span. */
const OWN = /^cleanroom\./;

/**
 * What programs inside say of themselves waits in their workspaces, whose network is closed: it is fetched from there, a
 * moment after something has passed into one, when its task's trace is read, and before it ends.
 */
export interface Sayings {
  /** Fetches what waits, once for all who ask at the same time. Fetching never fails: what cannot be had is not said. */
  fetch(sandbox: SandboxRow): Promise<void>;
  /** Fetches in a moment, however often it is asked until then. `traceId` is what was passed in, and may come back. */
  soon(sandbox: SandboxRow, traceId: string): void;
}

type Parts = Pick<Platform, "engine" | "tables" | "recent" | "clock" | "log" | "vault" | "traces" | "shared">;

export function openSayings(platform: Parts): Sayings {
  const waiting = new Set<string>();
  const handed = new Map<string, Set<string>>();
  /** The batch of each sandbox that was kept last. */
  const received = new Map<string, number>();

  function fetch(sandbox: SandboxRow): Promise<void> {
    if (sandbox.type === "CustomImage") return Promise.resolve();
    return platform.shared(`said/${sandbox.projectId}/${sandbox.id}`, async () => {
      const signal = AbortSignal.timeout(FETCH_MS);
      for (let round = 0; round < ROUNDS; round += 1) {
        const said = await ask(platform, sandbox, received.get(sandbox.id) ?? 0, signal);
        if (!said) return;
        // Another gateway has received others: the next asking is by what the workspace says.
        if (said.batch !== received.get(sandbox.id)) await keep(platform, sandbox, said, handed.get(sandbox.id) ?? new Set());
        received.delete(sandbox.id);
        received.set(sandbox.id, said.batch);
        for (const oldest of received.keys()) if (received.size > SANDBOXES_REMEMBERED) received.delete(oldest);
        if (!said.more) return;
      }
    });
  }

  async function fetchLater({ projectId, id }: SandboxRow): Promise<void> {
    waiting.delete(id);
    const row = await platform.recent.get<SandboxRow>(SANDBOXES, rowKey(projectId, id));
    // One that rests is not woken for it, and one that ends is asked by who ends it.
    if (row?.value.state === "ready") await fetch(row.value);
  }

  function remember(sandbox: SandboxRow, traceId: string): void {
    if (traceId === sandbox.traceId) return;
    const known = handed.get(sandbox.id) ?? new Set();
    handed.delete(sandbox.id);
    handed.set(sandbox.id, known.add(traceId));
    for (const oldest of known) if (known.size > TRACES_REMEMBERED) known.delete(oldest);
    for (const oldest of handed.keys()) if (handed.size > SANDBOXES_REMEMBERED) handed.delete(oldest);
  }

  return {
    fetch,
    soon(sandbox, traceId) {
      remember(sandbox, traceId);
      if (waiting.has(sandbox.id) || sandbox.type === "CustomImage") return;
      waiting.add(sandbox.id);
      const later = () => fetchLater(sandbox).catch((error: unknown) => platform.log.event("said.not_fetched", { error: String(error) }));
      setTimeout(() => void later(), AFTER_MS).unref();
    },
  };
}

async function ask(platform: Parts, sandbox: SandboxRow, received: number, signal: AbortSignal): Promise<Said | undefined> {
  const { id, projectId, ref } = sandbox;
  const url = `http://workspace/said?received=${received}`;
  const passage = { method: "POST", url, headers: new Headers(), body: null, inner: true } as const;
  try {
    const response = await platform.engine.request(ref, inward(platform, ref.sessionId, passage), signal);
    if (!response.ok) {
      await response.body?.cancel();
      return undefined;
    }
    const bytes = await readBytes({ url: "", headers: response.headers, body: response.body }, ANSWER_BYTES);
    return Said.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch (error) {
    // One that was paused, or is gone, says nothing; that is somebody else's to notice.
    if (!(error instanceof Problem) && !signal.aborted)
      platform.log.event("said.not_read", { sandboxId: id, projectId, error: String(error) });
    return undefined;
  }
}

/** Keeps what was said, as far as there is room for it; the rest is counted. */
async function keep(platform: Parts, sandbox: SandboxRow, said: Said, handed: ReadonlySet<string>): Promise<void> {
  const place = placeOf(sandbox);
  const spans = said.spans.flatMap((one) => SaidSpan.safeParse(one).data ?? []);
  const room = spans.length === 0 || (await takeRoom(platform, sandbox, spans.length));
  const lost = said.dropped + said.spans.length - (room ? spans.length : 0);
  if (lost > 0) platform.traces.drop(place, lost);
  if (!room) return;
  const own = sandbox.traceId ?? traceIdOf(sandbox.projectId, sandbox.taskId, sandbox.createdAtMs);
  const nowMs = platform.traces.now();
  for (const span of spans)
    platform.traces.recordSaid(place, saidRow(sandbox, span, { nowMs, own, isHanded: handed.has(span.traceId) || span.traceId === own }));
}

async function takeRoom(platform: Parts, sandbox: SandboxRow, count: number): Promise<boolean> {
  try {
    await platform.tables.add(SAID_COUNTS, segmentPrefix(placeOf(sandbox)) + sandbox.id, count, { ceiling: LIMITS.saidSpansPerSandbox });
    return true;
  } catch (error) {
    if (error instanceof Problem && error.code === "quota_exceeded") return false;
    throw error;
  }
}

/**
 * A span of a sandbox's own word. It is of the trace that it was given, whichever it names, and of a time in which its
 * sandbox lived; where either is not so it says what it said. Its parent is judged where the tree is made.
 */
export function saidRow(
  sandbox: Pick<SandboxRow, "id" | "createdAtMs">,
  said: SaidSpan,
  { nowMs, own, isHanded }: { nowMs: number; own: string; isHanded: boolean },
): SpanRow {
  const startMs = Math.min(Math.max(said.startMs, sandbox.createdAtMs), nowMs);
  const durationMs = Math.min(said.durationMs, nowMs - startMs);
  const moved = Math.abs(startMs - said.startMs) > SKEW_MS || said.durationMs - durationMs > SKEW_MS;
  const notes = [...(isHanded ? [] : ["trace_foreign"]), ...(moved ? ["time_moved"] : [])];
  const attributes: SpanAttributes = Object.fromEntries(
    Object.entries(said.attributes).map(([key, value]) => [OWN.test(key) ? `said.${key}` : key, value]),
  );
  if (!isHanded) attributes["said.trace_id"] = said.traceId;
  if (moved) Object.assign(attributes, { "said.start_ms": said.startMs, "said.duration_ms": said.durationMs });
  const { spanId, parentSpanId, name, status, statusMessage } = said;
  return {
    spanId,
    traceId: isHanded ? said.traceId : own,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    sandboxId: sandbox.id,
    kind: "program",
    name,
    source: "sandbox",
    startMs,
    durationMs,
    status,
    ...(statusMessage === undefined ? {} : { statusMessage }),
    attributes,
    ...(notes.length > 0 ? { notes } : {}),
  };
}
