import type { Duplex } from "node:stream";
import type { Caller } from "#core/caller.ts";
import type { Platform } from "#core/ports.ts";
import type { Principal } from "#core/projects.ts";
import { placeOf } from "#core/span.ts";
import { CLOSE, headSize, lengthOf } from "./devtools/frames.ts";
import { auditPassage } from "./passage-audit.ts";
import { beginSpan } from "./passing.ts";

/** One WebSocket into a sandbox, as its span sees it. */
export interface Connection {
  /** Begins to count what goes by a client's socket, of which `head` came with its request. */
  opened(socket: Duplex, head: Buffer): void;
  /** Ends with the code that the client was told, if it was told one. Ending twice is one end. */
  closed(code: number | undefined): void;
  /** Ends before there was a connection. */
  refused(problem: string): void;
}

/** A close without a code, and a connection that ended without a word (RFC 6455, 7.4.1). */
const NO_CODE = 1005;
const CUT = 1006;
const WELL_CLOSED: ReadonlySet<number> = new Set([1000, 1001, NO_CODE]);

/**
 * Begins the span of a connection and names it in the headers that travel on. It is written when it begins, so that a
 * terminal that somebody looks at for an hour is seen meanwhile, and again when it ends.
 */
export async function beginConnection(
  platform: Platform,
  principal: Principal,
  { sandboxId, path, caller }: { sandboxId: string; path: string; caller: Caller },
  headers: Headers,
): Promise<Connection | undefined> {
  const begun = await beginSpan(platform, principal.project, { sandboxId, method: "GET", path }, headers);
  if (!begun) return undefined;
  const { sandbox, span } = begun;
  // Whoever is connected may do whatever goes by it.
  const audit = await auditPassage(platform, principal, span, { caller, writes: true });
  const begunMs = performance.now();
  let counted: { socket: Counted; in: number; out: number } | undefined;
  let isOver = false;

  function end(status: "ok" | "error", statusMessage: string, attributes: Record<string, number>): void {
    if (isOver) return;
    isOver = true;
    const durationMs = performance.now() - begunMs;
    const ended = { ...span, status, statusMessage, durationMs, attributes: { ...span.attributes, ...attributes } };
    platform.traces.record(placeOf(sandbox), ended);
    audit?.ended(ended);
    platform.said.soon(sandbox, span.traceId);
  }

  return {
    opened(socket, head) {
      const of: Counted = socket;
      counted = { socket: of, in: (of.bytesRead ?? 0) - head.length, out: of.bytesWritten ?? 0 };
      platform.traces.record(placeOf(sandbox), { ...span, status: "unknown" });
    },
    closed(code = CUT) {
      const { socket, in: read = 0, out: written = 0 } = counted ?? {};
      const bytes = {
        "websocket.bytes_in": Math.max(0, (socket?.bytesRead ?? read) - read),
        "websocket.bytes_out": Math.max(0, (socket?.bytesWritten ?? written) - written),
      };
      end(WELL_CLOSED.has(code) ? "ok" : "error", code === CUT ? "cut" : `closed ${code}`, { ...bytes, "websocket.close_code": code });
    },
    refused: (problem) => end("error", problem, {}),
  };
}

/** What a socket of Node's counts; another stream does not. */
type Counted = Duplex & { bytesRead?: number; bytesWritten?: number };

/** Walks along what is sent to a client and notices with which code it is closed; what is no WebSocket has none. */
export function closeWatcher(): { see(chunk: Buffer): void; code(): number | undefined } {
  let rest: Buffer = Buffer.alloc(0);
  let skipped = 0;
  let code: number | undefined;

  function walk(chunk: Buffer): void {
    let bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    rest = Buffer.alloc(0);
    while (bytes.length > 0) {
      const passing = Math.min(skipped, bytes.length);
      skipped -= passing;
      bytes = bytes.subarray(passing);
      const size = headSize(bytes);
      const opcode = (bytes[0] ?? 0) & 0x0f;
      const needed = (size ?? Infinity) + (opcode === CLOSE && bytes.length >= 2 ? Math.min(2, lengthOf(bytes)) : 0);
      if (size === undefined || bytes.length < needed) {
        rest = bytes;
        return;
      }
      const length = lengthOf(bytes);
      if (opcode === CLOSE) {
        code = length >= 2 ? bytes.readUInt16BE(size) : NO_CODE;
        return;
      }
      skipped = length;
      bytes = bytes.subarray(size);
    }
  }

  let isLost = false;
  return {
    see(chunk) {
      if (code !== undefined || isLost) return;
      try {
        walk(chunk);
      } catch {
        isLost = true;
      }
    },
    code: () => code,
  };
}
