import { Readable, Transform, type TransformCallback } from "node:stream";
import { asProblem, Problem, problemBody } from "#contract/problem.ts";
import type { Passed } from "./ports.ts";

const EVENT_STREAM = /^text\/event-stream\b/;
const LINE_FEED = 10;

/**
 * An event stream that breaks ends with one more event that says why, as a Problem. Other answers stay as they are: a
 * cut is all that they can be told by, and so is one in the middle of an event.
 */
export function withLastWord(passed: Passed, requestId: string, explain: (lost: Problem) => Promise<unknown>): Passed {
  const { body, headers } = passed;
  if (!(body instanceof Readable) || !EVENT_STREAM.test(headers.get("content-type") ?? "")) return passed;
  const events = new Events();
  body.once("error", (error) => void endExplained(events, error, requestId, explain));
  // Whoever reads it may leave first, and takes its source along.
  events.once("close", () => body.destroy());
  body.pipe(events);
  return { ...passed, body: events };
}

async function endExplained(events: Events, error: Error, requestId: string, explain: (lost: Problem) => Promise<unknown>): Promise<void> {
  if (events.destroyed) return;
  const lost = new Problem("sandbox_lost", { detail: "The connection to the sandbox broke" }, error);
  try {
    events.say(asProblem(await explain(lost)), requestId);
  } catch {
    events.say(lost, requestId);
  }
}

/** Events on their way, which knows whether one is only half through. */
class Events extends Transform {
  #last = Buffer.from("\n\n");

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#last = Buffer.concat([this.#last, chunk.subarray(-2)]).subarray(-2);
    done(null, chunk);
  }

  say(problem: Problem, requestId: string): void {
    if (!this.#last.every((byte) => byte === LINE_FEED)) this.destroy(problem);
    else if (!this.destroyed) this.end(`event: error\ndata: ${JSON.stringify(problemBody(problem, requestId))}\n\n`);
  }
}
