/** The header of W3C Trace Context that names a trace and the span in it that something is caused by. */
export const TRACEPARENT_HEADER = "traceparent";

/** A place in a trace. `sampled` is the caller's wish, which is passed on; what passes here is recorded in any case. */
export interface TraceContext {
  traceId: string;
  spanId: string;
  sampled: boolean;
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NOTHING = /^0+$/;

/** Reads a `traceparent`; one that W3C Trace Context calls invalid is as good as none. */
export function parseTraceparent(text: string | null | undefined): TraceContext | undefined {
  const [, version = "", traceId = "", spanId = "", flags = "", more] = FORM.exec(text ?? "") ?? [];
  if (version === "" || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  if (NOTHING.test(traceId) || NOTHING.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}
