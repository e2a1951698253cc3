import { once } from "node:events";
import type { Duplex } from "node:stream";
import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { Terminal } from "#contract/terminal.ts";
import { CLOSE, frame, MessageReader, PING, PONG, TEXT } from "#gateway/devtools/frames.ts";
import { newExcerpt } from "./excerpt.ts";
import { CHANGES, DESTROYS, type Outcome, plain, READS, text, tool, type Work } from "./tool.ts";

/** What a terminal says of itself, by the names that its WebSocket has. */
const Said = z.union([
  z.looseObject({ type: z.literal("connectionEstablished"), terminalId: z.string(), offset: z.int() }),
  z.looseObject({ type: z.literal("output"), data: z.string(), next: z.int() }),
  z.looseObject({ type: z.literal("status"), status: z.string(), exitCode: z.int().nullish() }),
  z.looseObject({ type: z.string() }),
]);
const HOME = "/home/user";
/** Nobody's output is this long: who asks from here is told only what comes. */
const END = Number.MAX_SAFE_INTEGER;
const QUIET_MS = 400;
const WAIT_MAX = 600;
const SETTLED = "?id=";

const TerminalId = z.string().regex(/^[\w-]{1,64}$/, "is a terminal's id");
const Side = z.int().min(1).max(LIMITS.terminalSide);
const wait = z
  .number()
  .min(0)
  .max(WAIT_MAX)
  .default(5)
  .describe("Seconds to listen at most; it answers sooner when nothing more comes for a moment");
const until = z.string().min(1).max(200).optional().describe("Words to listen for: it answers once they are there, or when `wait` is over");

const Heard = z.object({
  terminalId: z.string(),
  output: z.string().describe("What it showed, without colours and moves of the cursor"),
  next: z.int().describe("Pass it as `from` to go on where this ends"),
  status: z.enum(["running", "exited"]),
  exitCode: z.int().optional(),
  charactersLeftOut: z.int(),
});
type Heard = z.output<typeof Heard>;

export const TERMINAL_TOOLS = [
  tool({
    name: "terminal_open",
    title: "Open a terminal",
    description:
      "Opens a terminal with a shell, or another program, that goes on between calls: write into it with terminal_write. For one command alone process_exec_cmd is shorter.",
    input: z.strictObject({
      command: z.string().min(1).optional().describe("What runs in it instead of a shell"),
      cwd: z.string().default(HOME),
      rows: Side.default(24),
      cols: Side.default(80),
      wait,
    }),
    output: Heard,
    hints: { ...DESTROYS, idempotentHint: false },
    run: ({ wait: seconds, command, ...place }, work) => {
      const query = new URLSearchParams({
        ...(command === undefined ? {} : { command }),
        cwd: place.cwd,
        rows: String(place.rows),
        cols: String(place.cols),
      });
      return listen(work, `?${query.toString()}`, { seconds });
    },
  }),
  tool({
    name: "terminal_write",
    title: "Type into a terminal",
    description: "Types into a terminal and answers what it shows then. \\n is the return key, \\u0003 is ctrl+c.",
    input: z.strictObject({ terminalId: TerminalId, input: z.string().max(LIMITS.mcpTextChars), wait, until }),
    output: Heard,
    hints: { ...DESTROYS, idempotentHint: false },
    run: ({ terminalId, input, wait: seconds, until: words }, work) =>
      listen(work, `${SETTLED}${terminalId}&from=${END}`, { seconds, words, first: { type: "input", data: input } }),
  }),
  tool({
    name: "terminal_read",
    title: "Read a terminal",
    description: "What a terminal has shown: all that is kept of it, or what came after `from`.",
    input: z.strictObject({ terminalId: TerminalId, from: z.int().min(0).default(0), wait: wait.default(0), until }),
    output: Heard,
    hints: READS,
    run: ({ terminalId, from, wait: seconds, until: words }, work) =>
      listen(work, `${SETTLED}${terminalId}&from=${from}`, { seconds, words }),
  }),
  tool({
    name: "terminal_resize",
    title: "Resize a terminal",
    description: "Tells a terminal's programs how large its screen is.",
    input: z.strictObject({ terminalId: TerminalId, rows: Side, cols: Side }),
    output: Heard,
    hints: { ...CHANGES, idempotentHint: true },
    run: ({ terminalId, rows, cols }, work) =>
      listen(work, `${SETTLED}${terminalId}&from=${END}`, { seconds: 1, first: { type: "resize", rows, cols } }),
  }),
  tool({
    name: "terminal_list",
    title: "List the terminals",
    description: "The terminals that run, and for a while those that have ended.",
    input: z.strictObject({}),
    output: z.object({ items: z.array(Terminal) }),
    hints: READS,
    run: async (_input, work) => plain(await work.json(z.object({ items: z.array(Terminal) }), "GET", "/terminals")),
  }),
  tool({
    name: "terminal_close",
    title: "Close a terminal",
    description: "Ends a terminal and all that it started.",
    input: z.strictObject({ terminalId: TerminalId }),
    output: z.object({ closed: z.literal(true), terminalId: z.string() }),
    hints: { ...DESTROYS, idempotentHint: true },
    run: async ({ terminalId }, work) => {
      await (await work.ask("DELETE", `/terminals/${terminalId}`)).body?.cancel();
      return plain({ closed: true, terminalId });
    },
  }),
];

interface Listening {
  seconds: number;
  words?: string | undefined;
  /** What is said first. */
  first?: object;
}

/** Looks at a terminal until it is quiet, says what was waited for, ends, or the time is over. It goes on without us. */
async function listen(work: Work, query: string, { seconds, words, first }: Listening): Promise<Outcome> {
  const { stream } = await work.connect(`/processes/tty${query}`);
  const leave = () => stream.destroy();
  stream.on("error", leave);
  work.signal.addEventListener("abort", leave, { once: true });
  const heard: Heard = { terminalId: "", output: "", next: 0, status: "running", charactersLeftOut: 0 };
  const shown = newExcerpt(LIMITS.mcpTextChars);
  let tail = "";
  const over = setTimeout(leave, seconds * 1000 + QUIET_MS);
  let quiet: NodeJS.Timeout | undefined;
  const hush = () => {
    clearTimeout(quiet);
    if (words === undefined) quiet = setTimeout(leave, QUIET_MS);
  };
  try {
    for await (const said of messages(stream)) {
      if (said.type === "connectionEstablished" && "terminalId" in said) {
        Object.assign(heard, { terminalId: said.terminalId, next: said.offset });
        if (first) stream.write(frame(TEXT, Buffer.from(JSON.stringify(first)), true));
        // A program has all the time there is for its first words, where somebody waits for them.
        if (seconds === 0) hush();
      } else if (said.type === "output" && "next" in said) {
        heard.next = Number(said.next);
        const data = String(said.data);
        shown.add(data);
        work.progress(data);
        tail = (tail + data).slice(-TAIL_CHARS);
        if (words !== undefined && plainText(tail).includes(words)) break;
        hush();
      } else if (said.type === "status" && said["status"] === "exited") {
        heard.status = "exited";
        if (typeof said["exitCode"] === "number") heard.exitCode = said["exitCode"];
        break;
      }
    }
  } finally {
    clearTimeout(over);
    clearTimeout(quiet);
    work.signal.removeEventListener("abort", leave);
    stream.destroy();
  }
  work.signal.throwIfAborted();
  if (heard.terminalId === "") throw new Problem("sandbox_lost", { detail: "The terminal did not answer" });
  heard.output = plainText(shown.text());
  heard.charactersLeftOut = shown.leftOut();
  const end =
    heard.status === "exited" ? `\n[exited with ${heard.exitCode ?? "no number"}]` : `\n[terminal ${heard.terminalId}, next ${heard.next}]`;
  return { value: { ...heard }, content: [text(heard.output + end)] };
}

const TAIL_CHARS = 4096;

async function* messages(stream: Duplex): AsyncGenerator<z.output<typeof Said>> {
  const reader = new MessageReader({ masked: false, maxBytes: LIMITS.backlogBytes * 8 });
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (const { opcode, data } of reader.read(chunk)) {
        if (opcode === PING && !stream.write(frame(PONG, data, true))) await once(stream, "drain");
        if (opcode === CLOSE) return;
        if (opcode === TEXT) yield Said.parse(JSON.parse(data.toString("utf8")));
      }
    }
  } catch (error) {
    // Who leaves in the middle has what came until then.
    if (!stream.destroyed || error instanceof SyntaxError || error instanceof z.ZodError) throw error;
  }
}

const ESCAPE = String.fromCharCode(27);
const BELL = String.fromCharCode(7);
/** What moves the cursor, colours, or names the window. */
const SEQUENCES = new RegExp(
  [
    `${ESCAPE}\\][^${BELL}${ESCAPE}]*(?:${BELL}|${ESCAPE}\\\\)?`,
    `${ESCAPE}[PX^_][^${ESCAPE}]*(?:${ESCAPE}\\\\)?`,
    `${ESCAPE}\\[[0-?]*[ -/]*[@-~]`,
    `${ESCAPE}[ -/]*[0-~]`,
  ].join("|"),
  "g",
);

/** What a person would read. A line that is written over is as it was left. */
export function plainText(said: string): string {
  const lines = said
    .replace(SEQUENCES, "")
    .replace(/\r+\n/g, "\n")
    .replace(/[^\n]*\r(?=[^\n])/g, "");
  return Array.from(lines)
    .filter((it) => it >= " " || it === "\n" || it === "\t")
    .join("")
    .replaceAll(String.fromCharCode(127), "");
}
