import { once } from "node:events";
import type { Writable } from "node:stream";
import { TerminalFilter } from "./filter.ts";
import { newStyle, type Style } from "./style.ts";

/** A stream that may be a terminal, as process.stdout is. */
export type Out = Writable & { isTTY?: boolean };

/**
 * Where the command line speaks. Answers and what programs write go to `stdout`, everything about them to `stderr`:
 * a pipe gets the program's output and nothing else.
 */
export interface Screen {
  readonly style: Style;
  readonly stderrStyle: Style;
  answer(text: string): Promise<void>;
  note(text: string): void;
  /** What a sandbox wrote: filtered for a terminal, as it came for a pipe. Waits while the reader is behind. */
  output(stream: "stdout" | "stderr", text: string): Promise<void>;
  /** Leaves the terminal as it was found after a sandbox's output. */
  endOutput(): Promise<void>;
  /** Shows what goes on and for how long, once it takes more than two seconds. Ends by itself at the next output. */
  waiting(what: string): Disposable;
}

const SHOW_AFTER_MS = 2000;
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** A screen on two streams; `noColor` keeps colours out of terminals too. */
export function newScreen(stdout: Out, stderr: Out, noColor: boolean): Screen {
  const outs = {
    stdout: { out: stdout, filter: new TerminalFilter(!noColor) },
    stderr: { out: stderr, filter: new TerminalFilter(!noColor) },
  };
  let spinner: (() => void) | undefined;
  let column = 0;

  const clear = () => {
    spinner?.();
    spinner = undefined;
  };
  const write = async (out: Out, text: string) => {
    if (text === "") return;
    clear();
    if (out.isTTY) column = text.endsWith("\n") ? 0 : 1;
    if (!out.write(text)) await once(out, "drain");
  };
  return {
    style: newStyle(stdout.isTTY === true && !noColor),
    stderrStyle: newStyle(stderr.isTTY === true && !noColor),
    answer: (text) => write(stdout, text),
    note(text) {
      clear();
      stderr.write(text);
    },
    async output(stream, text) {
      const { out, filter } = outs[stream];
      await write(out, out.isTTY ? filter.pass(text) : text);
    },
    async endOutput() {
      for (const one of Object.values(outs)) {
        if (one.out.isTTY) await write(one.out, one.filter.end());
        one.filter = new TerminalFilter(!noColor);
      }
      if (column > 0) await write(stderr.isTTY ? stderr : stdout, "\n");
    },
    waiting(what) {
      clear();
      if (stderr.isTTY) spinner = spin(stderr, what);
      return { [Symbol.dispose]: clear };
    },
  };
}

function spin(out: Out, what: string): () => void {
  const startedAt = performance.now();
  let frame = 0;
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - startedAt;
    if (elapsedMs < SHOW_AFTER_MS) return;
    frame += 1;
    out.write(`\r\x1b[2K${FRAMES[frame % FRAMES.length]} ${what}… ${Math.floor(elapsedMs / 1000)} s`);
  }, 120);
  timer.unref();
  return () => {
    clearInterval(timer);
    if (frame > 0) out.write("\r\x1b[2K");
  };
}
