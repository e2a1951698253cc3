import { Duplex, Readable, Transform } from "node:stream";

/** How many bytes may flow in a second; a burst is what half of one brings. */
export type BytesPerSecond = number;

/** One sandbox's share of the way out, which all that it streams has together. */
export interface Flow {
  /** Takes so many bytes and answers how long to wait before the next ones. */
  take(bytes: number): number;
  isRested(): boolean;
}

const MS = 1000;
const BURST_SECONDS = 0.5;
/** Shorter waits would only wake the process more often. */
const LEAST_WAIT_MS = 10;
/** What a sandbox makes as fast as its code writes. Files go as fast as they can be read. */
const MADE = /^(text\/event-stream|application\/json)\b/i;

export function openFlow(perSecond: BytesPerSecond, now: () => number): Flow {
  const most = perSecond * BURST_SECONDS;
  let left = most;
  let atMs = now();

  function refill(): void {
    const nowMs = now();
    left = Math.min(most, left + (Math.max(0, nowMs - atMs) / MS) * perSecond);
    atMs = nowMs;
  }

  return {
    take(bytes) {
      refill();
      left -= bytes;
      return left >= 0 ? 0 : Math.max(LEAST_WAIT_MS, (-left / perSecond) * MS);
    },
    isRested() {
      refill();
      return left >= most;
    },
  };
}

/** A body held to its sandbox's flow by not being read on; whoever writes it waits. Files pass as they are. */
export function paced<Body>(body: Body, mediaType: string | null, flow: Flow): Body {
  if (!MADE.test(mediaType ?? "")) return body;
  if (body instanceof Readable) return between(body, pacer(flow)) as Body;
  if (body instanceof ReadableStream) return body.pipeThrough(Duplex.toWeb(pacer(flow)) as never) as Body;
  return body;
}

/** What breaks on one side ends the other, as if nothing were between. */
function between(source: Readable, held: Transform): Transform {
  source.once("error", (error) => held.destroy(error));
  held.once("close", () => source.destroy());
  return source.pipe(held);
}

/** Passes bytes on no faster than the flow allows. */
export function pacer(flow: Flow): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const waitMs = flow.take(chunk.length);
      if (waitMs === 0) done(null, chunk);
      else setTimeout(done, waitMs, null, chunk);
    },
  });
}
