import { randomBytes } from "node:crypto";
import type { Clock, Log, Tables } from "./ports.ts";
import { bounded, minuteKey, segmentPrefix, SPAN_TIMES, type SpanPlace, type SpanRow, SPANS, type Segment, timeText } from "./span-rows.ts";

/** A span that was recorded, on its way into the tables. `settle` does what can wait until nobody does. */
interface Waiting extends SpanPlace {
  span: SpanRow;
  control: boolean;
  settle?: ((span: SpanRow) => void) | undefined;
}

/** Told of every span that was written by this process, after it was. */
export type SpanListener = (place: SpanPlace, spans: readonly SpanRow[]) => void;

/**
 * Where spans go. `record` costs the caller no wait: spans are kept in memory for a moment and written together, off the
 * path. `keep` answers once its span is written. A flood of one task is thinned out, by count and never of control spans.
 */
export interface Traces {
  record(place: SpanPlace, span: SpanRow, settle?: (span: SpanRow) => void): void;
  /** The same for what is control: it is never dropped. */
  recordControl(place: SpanPlace, span: SpanRow): void;
  /** The same for what a sandbox says of itself, which takes nothing of what is measured: it is admitted by a measure of its own. */
  recordSaid(place: SpanPlace, span: SpanRow): void;
  /** Counts spans that were lost before they came here. */
  drop(place: SpanPlace, count: number): void;
  keep(place: SpanPlace, span: SpanRow): Promise<void>;
  /** Answers once all that was recorded so far is written; what ends an invocation waits for it where instances are frozen between two. */
  flush(): Promise<void>;
  listen(listener: SpanListener): () => void;
  /** The time, which never goes back: a wall clock that is set back is followed again once it has caught up. */
  now(): number;
}

const FLUSH_MS = 100;
const FLUSH_AT = 500;
const WAITING_MOST = 20_000;
const SEGMENT_SPANS = 100;
const SEGMENT_CHARS = 1_000_000;
const TASKS_REMEMBERED = 10_000;
const JUMP_MS = 1000;
const SPANS_TRIED = 3;

/** How many spans of one task are admitted in a second, and in a burst. */
interface Pace {
  perSecond: number;
  burst: number;
}
const MEASURED: Pace = { perSecond: 1000, burst: 4000 };
const SAID: Pace = { perSecond: 500, burst: 4000 };

interface Meter {
  left: number;
  atMs: number;
  dropped: number;
  place: SpanPlace;
}

export function openTraces(tables: Tables, clock: Clock, log: Log, monotonic: () => number = () => performance.now()): Traces {
  const instance = randomBytes(3).toString("hex");
  const meters = new Map<string, Meter>();
  const minutes = new Set<string>();
  const listeners = new Set<SpanListener>();
  let waiting: Waiting[] = [];
  let dropping = false;
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> = Promise.resolve();
  let segments = 0;
  let anchor = { wallMs: clock.now(), atMs: monotonic() };

  function now(): number {
    const steadyMs = anchor.wallMs + (monotonic() - anchor.atMs);
    const wallMs = clock.now();
    if (wallMs > steadyMs + JUMP_MS) anchor = { wallMs, atMs: monotonic() };
    return Math.max(steadyMs, anchor.wallMs);
  }

  function meterOf(place: SpanPlace, pace: Pace): Meter {
    const key = `${pace === SAID ? "said " : ""}${segmentPrefix(place)}`;
    let meter = meters.get(key);
    if (meter) return meter;
    meters.set(key, (meter = { left: pace.burst, atMs: monotonic(), dropped: 0, place }));
    // The oldest that has nothing to say goes; one that dropped something says so first.
    for (const [old, { dropped }] of meters) {
      if (meters.size <= TASKS_REMEMBERED) break;
      if (dropped === 0) meters.delete(old);
    }
    return meter;
  }

  function admits(place: SpanPlace, pace: Pace): boolean {
    const meter = meterOf(place, pace);
    const atMs = monotonic();
    meter.left = Math.min(pace.burst, meter.left + (Math.max(0, atMs - meter.atMs) / 1000) * pace.perSecond);
    meter.atMs = atMs;
    if (meter.left >= 1 && waiting.length < WAITING_MOST) {
      meter.left -= 1;
      return true;
    }
    meter.dropped += 1;
    dropping = true;
    return false;
  }

  function put(one: Waiting): void {
    waiting.push(one);
    if (waiting.length === FLUSH_AT) void flush();
    else timer ??= setTimeout(() => void flush(), FLUSH_MS).unref();
  }

  function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const batch = waiting;
    waiting = [];
    const drops = takeDrops();
    if (batch.length === 0 && drops.length === 0) return writing;
    writing = writing.then(() => write(batch, drops));
    return writing;
  }

  function takeDrops(): Meter[] {
    if (!dropping) return [];
    dropping = false;
    const told = [...meters.values()].filter(({ dropped }) => dropped > 0).map((meter) => ({ ...meter }));
    for (const meter of meters.values()) meter.dropped = 0;
    return told;
  }

  async function write(batch: readonly Waiting[], drops: readonly Meter[]): Promise<void> {
    const groups = new Map<string, { place: SpanPlace; spans: SpanRow[]; dropped: number; control: boolean }>();
    const groupOf = (place: SpanPlace) => {
      const key = segmentPrefix(place);
      let group = groups.get(key);
      if (!group) groups.set(key, (group = { place, spans: [], dropped: 0, control: false }));
      return group;
    };
    for (const { span, settle, control, ...place } of batch) {
      settle?.(span);
      const group = groupOf(place);
      group.spans.push(bounded(span));
      group.control ||= control;
    }
    for (const { place, dropped } of drops) groupOf(place).dropped += dropped;
    await Promise.all([...groups.values()].map((group) => writeGroup(group)));
  }

  async function writeGroup({ place, spans, dropped, control }: { place: SpanPlace; spans: SpanRow[]; dropped: number; control: boolean }) {
    try {
      for (let tried = 1; ; tried += 1) {
        try {
          await Promise.all(writesOf(place, spans, dropped));
          break;
        } catch (error) {
          if (!control || tried === SPANS_TRIED) throw error;
        }
      }
      for (const listener of listeners) listener(place, spans);
    } catch (error) {
      log.event("spans.lost", { ...place, spans: spans.length, dropped, error: String(error) });
    }
  }

  /** The rows of a group, all asked for in one turn. */
  function writesOf(place: SpanPlace, spans: SpanRow[], dropped: number): Promise<unknown>[] {
    const atMs = now();
    const minute = minuteKey(place, atMs);
    const writes: Promise<unknown>[] = [];
    if (!minutes.has(minute)) {
      if (minutes.size > TASKS_REMEMBERED) minutes.clear();
      minutes.add(minute);
      writes.push(
        tables.put(SPAN_TIMES, minute, { taskId: place.taskId }).catch((error: unknown) => {
          minutes.delete(minute);
          throw error;
        }),
      );
    }
    for (const segment of cut(spans, dropped)) {
      segments += 1;
      const key = `${segmentPrefix(place)}${timeText(atMs)}/${instance}${String(segments).padStart(10, "0")}`;
      writes.push(tables.put<Segment>(SPANS, key, segment));
    }
    return writes;
  }

  return {
    record(place, span, settle) {
      if (admits(place, MEASURED)) put({ ...place, span, control: false, settle });
    },
    recordSaid(place, span) {
      if (admits(place, SAID)) put({ ...place, span, control: false });
    },
    drop(place, count) {
      meterOf(place, SAID).dropped += count;
      dropping = true;
      timer ??= setTimeout(() => void flush(), FLUSH_MS).unref();
    },
    recordControl: (place, span) => put({ ...place, span, control: true }),
    keep(place, span) {
      put({ ...place, span, control: true });
      return flush();
    },
    flush,
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    now,
  };
}

/** Segments that fit into a row. */
function cut(spans: readonly SpanRow[], dropped: number): Segment[] {
  const segments: Segment[] = [{ spans: [], ...(dropped > 0 ? { dropped } : {}) }];
  let chars = 0;
  for (const span of spans) {
    const size = sizeOf(span);
    let last = segments.at(-1);
    if (!last || last.spans.length === SEGMENT_SPANS || chars + size > SEGMENT_CHARS) {
      segments.push((last = { spans: [] }));
      chars = 0;
    }
    last.spans.push(span);
    chars += size;
  }
  return segments;
}

/** About how long a span is as JSON; hostile text may take six characters for one. */
function sizeOf({ attributes = {}, input, output, name, statusMessage = "" }: SpanRow): number {
  let chars = 500 + 6 * (name.length + statusMessage.length + (input?.text?.length ?? 0) + (output?.text?.length ?? 0));
  for (const key in attributes) chars += 20 + 6 * (key.length + (typeof attributes[key] === "string" ? attributes[key].length : 8));
  return chars;
}
