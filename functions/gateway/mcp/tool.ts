import type * as z from "zod";
import type { PageAbout, Which } from "#contract/browsing.ts";
import type { DesktopAction, DesktopResult } from "#contract/desktop.ts";
import type { Upgraded } from "#core/ports.ts";
import type { Doing } from "#gateway/browsing/browse.ts";
import type { Page } from "#gateway/browsing/page.ts";

/** A part of a tool's answer, in the protocol's own form. */
export type Content =
  | { type: "text"; text: string }
  | { type: "image"; data: string; mimeType: string }
  | { type: "resource"; resource: { uri: string; mimeType: string; blob: string } };

/** What a tool did: `value` for programs, `content` for models. `failed` says that the work went wrong, in a way that the content explains. */
export interface Outcome {
  value: Record<string, unknown>;
  content: Content[];
  failed?: boolean;
}

/** What one call works with. */
export interface Work {
  sandboxId: string;
  signal: AbortSignal;
  /** Asks the sandbox's workspace; an answer that is a Problem is thrown. */
  ask(method: string, path: string, asked?: Asked): Promise<Response>;
  /** The same for a short answer, read by its schema: what the sandbox says beyond that is dropped. */
  json<S extends z.ZodType>(schema: S, method: string, path: string, asked?: Asked): Promise<z.output<S>>;
  /** The same for an answer that comes event by event, at the pace of who reads it. */
  events<S extends z.ZodType>(schema: S, method: string, path: string, asked?: Asked): AsyncIterable<z.output<S>>;
  /** Does something on a page of the sandbox's browser. */
  browse<T>(which: Which, doing: Doing<T>): Promise<{ about: PageAbout; done: T; page: Page }>;
  /** Does one thing on the sandbox's desktop. */
  desktop(action: DesktopAction): Promise<DesktopResult>;
  /** Connects with a WebSocket of the workspace. */
  connect(path: string): Promise<Upgraded>;
  /** Tells the client what is under way, if it wants to know; nothing waits for it. */
  progress(message: string): void;
}

export interface Asked {
  query?: Record<string, string | number | boolean | undefined>;
  json?: unknown;
  bytes?: Uint8Array;
  headers?: Record<string, string>;
}

/** Hints for who decides what an agent may do unasked. All tools act in a closed sandbox. */
export interface Hints {
  readOnlyHint?: boolean;
  destructiveHint?: boolean;
  idempotentHint?: boolean;
}

/** A tool as data: its words are written here and nowhere else, so that nothing a sandbox says can become one of them. */
export interface Tool<I extends z.ZodObject = z.ZodObject, O extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: I;
  readonly output: O;
  readonly hints: Hints;
  run(input: z.output<I>, work: Work): Promise<Outcome>;
}

/** Declares a tool, keeping the types of its input for its own code. */
export function tool<I extends z.ZodObject, O extends z.ZodObject>(spec: Tool<I, O>): Tool {
  return spec;
}

export function text(words: string): Content {
  return { type: "text", text: words };
}

/** An outcome whose words are its value as JSON. */
export function plain(value: Record<string, unknown>): Outcome {
  return { value, content: [text(JSON.stringify(value))] };
}

export const READS: Hints = { readOnlyHint: true };
export const CHANGES: Hints = { readOnlyHint: false, destructiveHint: false };
export const DESTROYS: Hints = { readOnlyHint: false, destructiveHint: true };
