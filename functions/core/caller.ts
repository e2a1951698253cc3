import { AsyncLocalStorage } from "node:async_hooks";
import type { TraceContext } from "#contract/traceparent.ts";

/** Who is behind what the core does right now, as the door found out. Nobody is behind what a timer or a queue asks for. */
export interface Caller {
  accessKeyId: string;
  /** What a caller's own header says of whom it acts for. */
  onBehalfOf?: string;
  remoteAddress?: string;
  requestId: string;
  /** The span of the caller's that the request came from. */
  trace?: TraceContext;
}

/** Carries the caller beside the arguments, through every step that a request leads to. */
export interface Callers {
  current(): Caller | undefined;
  run<T>(caller: Caller, work: () => T): T;
}

export function openCallers(): Callers {
  const storage = new AsyncLocalStorage<Caller>();
  return { current: () => storage.getStore(), run: (caller, work) => storage.run(caller, work) };
}
