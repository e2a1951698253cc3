import { Problem } from "./problem.ts";

const EVENT_LIMIT_CHARS = 64 * 1024 * 1024;
/** What a line or a piece of one costs to be held, however short it is: an event of empty lines must have an end too. */
const HOLDING_CHARS = 256;

/** One server-sent event: its name, `message` when it has none, and its data with lines joined. */
export interface ServerEvent {
  event: string;
  data: string;
}

/**
 * Events of a `text/event-stream` body, however its bytes are cut. Reading pulls: who stops asking stops the producer,
 * and leaving the loop ends the request.
 */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent, void> {
  let event = "";
  let data: string[] = [];
  let size = 0;
  for await (const line of readLines(body)) {
    if (line === "") {
      if (data.length > 0) yield { event: event || "message", data: data.join("\n") };
      event = "";
      data = [];
      size = 0;
      continue;
    }
    const [field, value] = fieldOf(line);
    if (field === "event") event = value;
    if (field !== "data") continue;
    data.push(value);
    size += value.length + HOLDING_CHARS;
    if (size > EVENT_LIMIT_CHARS) throw tooLarge();
  }
}

/** Lines end with LF, CR or CRLF; an unfinished line at the end belongs to an event that never was, and is dropped. */
async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let size = 0;
  let afterCr = false;
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true });
    let from = 0;
    for (const match of text.matchAll(/\r\n|\r|\n/g)) {
      const splitCrLf = afterCr && match.index === 0 && match[0] === "\n";
      afterCr = false;
      if (!splitCrLf) {
        pieces.push(text.slice(from, match.index));
        yield pieces.join("");
        pieces = [];
        size = 0;
      }
      from = match.index + match[0].length;
    }
    if (text !== "") afterCr = text.endsWith("\r");
    if (from === text.length) continue;
    pieces.push(text.slice(from));
    size += text.length - from + HOLDING_CHARS;
    if (size > EVENT_LIMIT_CHARS) throw tooLarge();
  }
}

function fieldOf(line: string): [string, string] {
  const colon = line.indexOf(":");
  if (colon < 0) return [line, ""];
  const value = line.slice(colon + 1);
  return [line.slice(0, colon), value.startsWith(" ") ? value.slice(1) : value];
}

function tooLarge(): Problem {
  return new Problem("body_too_large", {
    detail: "One event of the stream is larger than a client reads",
    next: "Write large results to a file and read that.",
  });
}
