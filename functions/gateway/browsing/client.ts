import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { Platform } from "#core/ports.ts";
import { connectSandbox } from "#core/sandboxes.ts";
import { Broken, CLOSE, frame, MessageReader, PING, PONG, TEXT } from "#gateway/devtools/frames.ts";

/** What the browser says: whatever listens there may be anybody's program, so that all of it is parsed and bounded. */
const Said = z.looseObject({
  id: z.int().optional(),
  method: z.string().optional(),
  sessionId: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z.looseObject({ message: z.string() }).optional(),
});
const REASON_CHARS = 500;

export interface Happened {
  method: string;
  sessionId: string | undefined;
  params: unknown;
}

/** A client of the sandbox's DevTools at the door's own side; it leaves with the block that opened it. */
export interface Devtools extends Disposable {
  /** Sends a command and answers its result as its schema has it. A refusal is a Problem. */
  send<S extends z.ZodType>(schema: S, method: string, params?: object, sessionId?: string): Promise<z.output<S>>;
  /** Hears what happens from now on; answers how to stop. */
  hear(listener: (happened: Happened) => void): () => void;
}

/** Told of a command before it is sent; what it answers is waited for. */
export type Asking = (method: string) => Promise<void>;

interface Waiting {
  method: string;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** Connects with the sandbox's browser, which starts if it does not run. */
export async function openDevtools(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  { requestId, signal, asking }: { requestId: string; signal: AbortSignal; asking: Asking },
): Promise<Devtools> {
  const passage = { method: "GET", url: "/ws/automation", headers: socketHeaders(requestId), body: null };
  const { stream } = await connectSandbox(platform, project, sandboxId, passage, signal);
  return speak(stream, signal, asking);
}

/** The head of a WebSocket that the door opens itself. */
export function socketHeaders(requestId: string): Headers {
  return new Headers({
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": randomBytes(16).toString("base64"),
    "x-request-id": requestId,
  });
}

function speak(stream: Duplex, signal: AbortSignal, asking: Asking): Devtools {
  const reader = new MessageReader({ masked: false, maxBytes: LIMITS.pageAnswerBytes });
  const waiting = new Map<number, Waiting>();
  const listeners = new Set<(happened: Happened) => void>();
  let ids = 0;
  let leftBytes = 2 * LIMITS.pageAnswerBytes;
  let over: unknown;

  function end(why: unknown): void {
    over ??= why;
    for (const one of waiting.values()) one.reject(over);
    waiting.clear();
    stream.destroy();
  }

  function take(text: string): void {
    const said = Said.safeParse(parsed(text));
    if (!said.success) throw nonsense();
    const { id, method, sessionId, params, result, error } = said.data;
    if (id === undefined) {
      if (method !== undefined) for (const listener of listeners) listener({ method, sessionId, params });
      return;
    }
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error) asked?.reject(refused(asked.method, error.message));
    else asked?.resolve(result);
  }

  function read(chunk: Buffer): void {
    leftBytes -= chunk.length;
    if (leftBytes < 0) throw tooMuch();
    for (const { opcode, data } of reader.read(chunk)) {
      if (opcode === PING) stream.write(frame(PONG, data, true));
      else if (opcode === CLOSE) end(gone());
      else if (opcode === TEXT) take(data.toString("utf8"));
    }
  }

  const abort = () => end(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  stream.on("error", () => end(gone()));
  stream.once("close", () => {
    signal.removeEventListener("abort", abort);
    end(gone());
  });
  stream.on("data", (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      end(error instanceof Broken ? (error.code === TOO_BIG ? tooMuch() : nonsense()) : error);
    }
  });
  if (signal.aborted) abort();

  return {
    async send(schema, method, params = {}, sessionId) {
      await asking(method);
      if (over !== undefined) throw over;
      const id = (ids += 1);
      const answer = new Promise<unknown>((resolve, reject) => waiting.set(id, { method, resolve, reject }));
      const command = { id, method, params, ...(sessionId === undefined ? {} : { sessionId }) };
      stream.write(frame(TEXT, Buffer.from(JSON.stringify(command)), true));
      const result = schema.safeParse(await answer);
      if (!result.success) throw nonsense();
      return result.data;
    },
    hear(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    [Symbol.dispose]() {
      end(gone());
    },
  };
}

const TOO_BIG = 1009;

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw nonsense();
  }
}

function gone(): Problem {
  return new Problem("browser_unavailable", { detail: "The browser or its page ended in the middle", next: "Try once more." });
}

function nonsense(): Problem {
  return new Problem("browser_unavailable", { detail: "What the browser says is not DevTools", next: "Stop it by DELETE …/browser." });
}

function tooMuch(): Problem {
  return new Problem("body_too_large", {
    detail: "The page is more than one answer holds",
    limitBytes: LIMITS.pageAnswerBytes,
    next: "Ask for less of it: one element, another format, or its text.",
  });
}

function refused(method: string, message: string): Problem {
  return new Problem("page_failed", { detail: `The browser refused ${method}: ${message.slice(0, REASON_CHARS)}`, method });
}
