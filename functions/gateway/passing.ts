import { Readable } from "node:stream";
import { WORKSPACE_OPERATIONS } from "#contract/operations.ts";
import type { Project } from "#contract/project.ts";
import type { SpanContent, SpanKind } from "#contract/span.ts";
import { formatTraceparent, parseTraceparent, TRACEPARENT_HEADER } from "#contract/traceparent.ts";
import type { Caller } from "#core/caller.ts";
import type { Principal } from "#core/projects.ts";
import type { Passed, Platform } from "#core/ports.ts";
import { rowKey, SANDBOXES, type SandboxRow } from "#core/sandbox-rows.ts";
import { contentDigest, type SpanRow, TEXT_CHARS } from "#core/span-rows.ts";
import { placeOf, spanContext } from "#core/span.ts";
import { TASKS, taskKey, type TaskRow } from "#core/task-rows.ts";
import { auditPassage, type PassageAudit } from "./passage-audit.ts";

/** One request that passes into a sandbox, as its span sees it. Every method is called at most once. */
export interface Passing {
  /** Watches the body on its way in, without asking for any of it. */
  watchInput(body: Readable | null, sizeBytes: number | undefined): void;
  /** Ends with an answer, once its body has passed. */
  answered(passed: Passed): void;
  /** Ends without one. */
  refused(code: string): void;
}

/** What bodies are looked at whole: larger ones pass with their size alone, because hashing a gigabyte is not free. */
const DIGESTED_BYTES = 1024 * 1024;
/** What is digested only when nobody waits any more. */
const SMALL_BYTES = 16 * 1024;
const TAIL_BYTES = 4096;
const MADE = /^(text\/event-stream|application\/json)\b/i;
/** What changes nothing inside. */
const READS = new Set(["GET", "HEAD", "OPTIONS"]);
/** What runs code, which may then have something to say of itself. */
const RUNS: ReadonlySet<SpanKind> = new Set(["execute", "command", "terminal", "port"]);
/** Asked to see whether a sandbox is there, again and again. */
const UNSEEN = new Set(["checkHealth", "readActivity"]);

/** Begins the span of a request into a sandbox and names it in the headers that travel on; undefined for what leaves none. */
export async function beginPassing(
  platform: Platform,
  principal: Principal,
  asked: { sandboxId: string; method: string; path: string; caller: Caller },
  headers: Headers,
): Promise<Passing | undefined> {
  const begun = await beginSpan(platform, principal.project, asked, headers);
  if (!begun) return undefined;
  const { sandbox, span } = begun;
  const audit = await auditPassage(platform, principal, span, { caller: asked.caller, writes: !READS.has(asked.method) });
  const task = await platform.recent.get<TaskRow>(TASKS, taskKey(sandbox.projectId, sandbox.taskId));
  const keepsText = task?.value.policy.content === "text";
  return passing(platform, { sandbox, span, keepsText, audit });
}

/** What is being asked of which sandbox, as a span that has not ended, and named in the headers that travel on. */
export async function beginSpan(
  platform: Platform,
  project: Pick<Project, "id">,
  { sandboxId, method, path }: { sandboxId: string; method: string; path: string },
  headers: Headers,
): Promise<{ sandbox: SandboxRow; span: SpanRow } | undefined> {
  const what = whatIs(method, path);
  if (UNSEEN.has(what.name)) return undefined;
  const row = await platform.recent.get<SandboxRow>(SANDBOXES, rowKey(project.id, sandboxId));
  if (!row) return undefined;
  const { row: place, next } = spanContext(row.value, parseTraceparent(headers.get(TRACEPARENT_HEADER)));
  headers.set(TRACEPARENT_HEADER, formatTraceparent(next));
  const span: SpanRow = { ...place, ...what, startMs: platform.traces.now(), status: "ok", attributes: attributesOf(what, path) };
  return { sandbox: row.value, span };
}

interface Begun {
  sandbox: SandboxRow;
  span: SpanRow;
  keepsText: boolean;
  audit: PassageAudit | undefined;
}

function passing(platform: Platform, { sandbox, span, keepsText, audit }: Begun): Passing {
  const begunMs = performance.now();
  const digest = (bytes: Uint8Array) => contentDigest(platform, sandbox.projectId, bytes);
  const input = newWatch();
  const output = newWatch();

  function end(how: Partial<SpanRow>): void {
    Object.assign(span, how, { durationMs: performance.now() - begunMs });
    platform.counts.count(sandbox, { requests: 1, ...(isRun(span.kind) ? { executes: 1 } : {}) });
    const settle = () => {
      const tail = tailOf(output);
      Object.assign(
        span,
        contentOf("input", input, keepsText, digest),
        contentOf("output", output, keepsText, digest),
        outcomeOf(span, tail),
      );
    };
    if (RUNS.has(span.kind)) platform.said.soon(sandbox, span.traceId);
    const early = audit !== undefined || input.seen > SMALL_BYTES || output.seen > SMALL_BYTES;
    if (early) settle();
    audit?.ended(span);
    platform.traces.record(placeOf(sandbox), span, early ? undefined : settle);
  }

  return {
    watchInput(body, sizeBytes) {
      input.bytes = sizeBytes ?? (body ? undefined : 0);
      if (!body || sizeBytes === undefined || sizeBytes > DIGESTED_BYTES) return;
      body.on("data", (chunk: Buffer) => see(input, chunk));
      // Whoever it goes to lets it flow; listening must not.
      body.pause();
    },
    answered({ status, headers, body }) {
      if (status >= 400) Object.assign(span, { status: "error", statusMessage: `HTTP ${status}` });
      span.attributes = { ...span.attributes, "http.response.status_code": status };
      if (!(body instanceof Readable)) {
        if (body) see(output, body);
        output.bytes = body?.byteLength ?? 0;
        end({});
        return;
      }
      const length = headers.get("content-length");
      output.bytes = length === null ? undefined : Number(length);
      const isMade = MADE.test(headers.get("content-type") ?? "");
      // Whoever it goes to lets it flow; listening must not.
      if (isMade || (output.bytes ?? Infinity) <= DIGESTED_BYTES) body.on("data", (chunk: Buffer) => see(output, chunk)).pause();
      body.once("close", () => end(body.readableEnded ? {} : { status: "error", statusMessage: "cut" }));
    },
    refused: (code) => end({ status: "error", statusMessage: code }),
  };
}

function isRun(kind: SpanKind): boolean {
  return kind === "execute" || kind === "command";
}

/** What has passed of a body. `chunks` is there while it is small enough to be digested. */
interface Watch {
  seen: number;
  bytes: number | undefined;
  chunks: Uint8Array[] | undefined;
  tail: Uint8Array | undefined;
}

function newWatch(): Watch {
  return { seen: 0, bytes: undefined, chunks: [], tail: undefined };
}

function see(watch: Watch, chunk: Uint8Array): void {
  watch.seen += chunk.byteLength;
  watch.tail = chunk;
  if (watch.seen > DIGESTED_BYTES) watch.chunks = undefined;
  watch.chunks?.push(chunk);
}

function tailOf({ chunks, tail }: Watch): string {
  const bytes = chunks ? Buffer.concat(chunks.slice(-2)) : Buffer.from(tail ?? new Uint8Array());
  return bytes.subarray(-TAIL_BYTES).toString("latin1");
}

function contentOf(
  side: "input" | "output",
  { seen, bytes = seen, chunks }: Watch,
  keepsText: boolean,
  digest: (bytes: Uint8Array) => string,
): Record<string, SpanContent> {
  const whole = chunks && seen === bytes && seen > 0 ? Buffer.concat(chunks) : undefined;
  const text = whole && keepsText ? { text: whole.subarray(0, 4 * TEXT_CHARS).toString("utf8") } : {};
  return { [side]: { bytes, ...(whole ? { digest: digest(whole) } : {}), ...text } };
}

/** How an execution or a command ended, from the workspace's own last words: what user code prints is escaped in them. */
function outcomeOf(span: SpanRow, tail: string): Partial<SpanRow> {
  if (span.status === "error") return {};
  if (span.kind === "execute") {
    const status = /.*(?<!\\)"type":"endOfExecution","status":"(\w+)"/s.exec(tail)?.[1];
    if (status === undefined) return {};
    return status === "ok" ? { statusMessage: "ok" } : { status: "error", statusMessage: status };
  }
  if (span.kind !== "command") return {};
  const code = /.*(?<!\\)"exitCode":(-?\d+)/s.exec(tail)?.[1];
  if (code === undefined) return {};
  return { status: code === "0" ? "ok" : "error", statusMessage: `exit ${code}` };
}

interface What {
  kind: SpanKind;
  name: string;
}

const KINDS: Readonly<Record<string, SpanKind>> = {
  contexts: "execute",
  processes: "command",
  files: "file",
  filesystem: "file",
  display: "desktop",
  browser: "browser",
  ports: "port",
  mcp: "tool",
  terminals: "terminal",
  devtools: "browser",
  json: "browser",
};
const KIND_OF: Readonly<Record<string, SpanKind>> = {
  attachTerminal: "terminal",
  openLiveview: "desktop",
  openLivestream: "desktop",
  automateBrowser: "browser",
};
const SEGMENTS = WORKSPACE_OPERATIONS.map((op) => ({ id: op.id, method: op.method.toUpperCase(), parts: op.path.split("/").slice(1) }));
const EXACT = new Map(
  SEGMENTS.filter(({ parts }) => parts.every((part) => !part.startsWith(":"))).map(({ id, method, parts }) => [
    `${method} /${parts.join("/")}`,
    id,
  ]),
);

/** The operation that a path is, and its kind; what is no operation of the contract goes by its first segment. */
function whatIs(method: string, path: string): What {
  const query = path.indexOf("?");
  const bare = query < 0 ? path : path.slice(0, query);
  const given = bare.split("/").slice(1);
  const exact = EXACT.get(`${method} ${bare}`);
  const name =
    exact ??
    SEGMENTS.find(
      (op) =>
        op.method === method &&
        op.parts.length === given.length &&
        op.parts.every((part, at) => part.startsWith(":") || part === given[at]),
    )?.id;
  return { kind: KIND_OF[name ?? ""] ?? KINDS[given[0] ?? ""] ?? "program", name: name ?? `${method} /${given[0] ?? ""}` };
}

const PATH_CHARS = 512;

function attributesOf({ kind }: What, path: string): Record<string, string> {
  if (kind !== "file") return {};
  const at = path.indexOf("?");
  const named = at < 0 ? null : new URLSearchParams(path.slice(at)).get("path");
  return named === null ? {} : { path: named.slice(0, PATH_CHARS) };
}
