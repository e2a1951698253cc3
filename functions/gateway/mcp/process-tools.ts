import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { CommandAnswer, CommandEvent, CommandStatus, Process, ProcessDetail } from "#contract/process.ts";
import { type Excerpt, newExcerpt } from "./excerpt.ts";
import { DESTROYS, type Outcome, plain, READS, text, tool, type Work } from "./tool.ts";

const ProcessId = z.string().regex(/^\d{1,10}$/, "must be a process's number");
const Cwd = z.string().default("/home/user").describe("Its working directory");
const Seconds = z
  .number()
  .positive()
  .max(LIMITS.timeoutMaxMs / 1000);

const Ran = z.object({
  processId: z.string(),
  status: CommandStatus,
  exitCode: z.int().optional().describe("Absent while it runs; 124 after a time-out"),
  stdout: z.string(),
  stderr: z.string(),
  durationMs: z.number(),
  charactersLeftOut: z.object({ stdout: z.number(), stderr: z.number() }),
});
type Ran = z.output<typeof Ran>;

const Stopped = z.object({ pid: z.string(), stopped: z.boolean(), stopped_at: z.string(), message: z.string() });

const NEXT: Partial<Record<Ran["status"], string>> = {
  timeout:
    "It took longer than `timeout` seconds and was stopped. Raise `timeout`, or run it with `background` and read it by process_stat.",
  oom: "It used up the sandbox's memory. Do less at once.",
  killed: "A signal ended it.",
  running: "It goes on in the background: read it by process_stat, end it by process_kill.",
};

export const PROCESS_TOOLS = [
  tool({
    name: "process_exec_cmd",
    title: "Run a shell command",
    description:
      "Runs a command line by bash and answers its output and exit code. With `background` it answers at once and the command goes on.",
    input: z.strictObject({
      command: z.string().min(1),
      cwd: Cwd,
      timeout: Seconds.optional().describe("Seconds after which it is stopped: 30 unless said otherwise, none in the background"),
      environment: z.record(z.string(), z.string()).default({}),
      stdin: z.string().optional().describe("Text for its standard input"),
      background: z.boolean().default(false),
    }),
    output: Ran,
    hints: { ...DESTROYS, idempotentHint: false },
    run: (input, work) => (input.background ? startCommand(input, work) : runCommand(input, work)),
  }),
  tool({
    name: "process_tty",
    title: "Run in a terminal",
    description:
      "Runs a command line in a terminal of its own, for programs that behave differently without one, and answers what it showed. `input` is typed into it.",
    input: z.strictObject({
      command: z.string().min(1),
      cwd: Cwd,
      input: z.string().default("").describe("What is typed; \\n is the return key"),
      rows: z.int().min(2).max(500).default(24),
      cols: z.int().min(10).max(500).default(80),
      timeout: Seconds.default(LIMITS.timeoutDefaultMs / 1000),
    }),
    output: Ran,
    hints: { ...DESTROYS, idempotentHint: false },
    run: runInTerminal,
  }),
  tool({
    name: "process_list",
    title: "List the processes",
    description: "The processes that run in the sandbox, and commands that ended lately.",
    input: z.strictObject({}),
    output: z.object({ items: z.array(Process), total: z.int() }),
    hints: READS,
    run: async (_input, work) => plain(await work.json(z.object({ items: z.array(Process), total: z.int() }), "GET", "/processes")),
  }),
  tool({
    name: "process_stat",
    title: "Read a process",
    description: "A process's state and use, and what a background command has printed so far.",
    input: z.strictObject({ processId: ProcessId }),
    output: ProcessDetail.omit({ environment: true }).extend({ stdout: z.string().optional(), stderr: z.string().optional() }),
    hints: READS,
    run: statProcess,
  }),
  tool({
    name: "process_kill",
    title: "End a process",
    description: "Ends a process and what it started: asked first, then killed.",
    input: z.strictObject({ processId: ProcessId }),
    output: Stopped,
    hints: { ...DESTROYS, idempotentHint: true },
    run: async ({ processId }, work) => plain(await work.json(Stopped, "DELETE", `/processes/${processId}`)),
  }),
];

/** Runs a command to its end. Who stops listening stops the command: that is how a cancelled call ends it. */
async function runCommand(input: object, work: Work): Promise<Outcome> {
  const streams = newStreams();
  let processId = "";
  for await (const event of work.events(CommandEvent, "POST", "/processes/cmd", { json: input })) {
    if (event.type === "start") processId = event.processId;
    else if (event.type === "end") {
      const { status, exitCode, executionTimeMs: durationMs, dropped } = event;
      return outcomeOf({ processId, status, exitCode, ...textsOf(streams, dropped), durationMs });
    } else {
      streams[event.type].add(event.text);
      work.progress(event.text);
    }
  }
  throw new Problem("sandbox_lost", { detail: "The output ended before the command did" });
}

async function runInTerminal(
  {
    command,
    cwd,
    input,
    rows,
    cols,
    timeout,
  }: { command: string; cwd: string; input: string; rows: number; cols: number; timeout: number },
  work: Work,
): Promise<Outcome> {
  const environment = { TERM: "xterm-256color", COMMAND: `stty rows ${rows} cols ${cols}; ${command}` };
  const line = `exec script --quiet --return --flush --echo never --command 'exec bash -c "$COMMAND"' /dev/null`;
  return runCommand({ command: line, cwd, timeout, environment, ...(input === "" ? {} : { stdin: input }) }, work);
}

async function startCommand(input: object, work: Work): Promise<Outcome> {
  const { processId, status, executionTimeMs } = await work.json(CommandAnswer, "POST", "/processes/cmd", { json: input });
  return outcomeOf({ processId, status, ...textsOf(newStreams(), { stdout: 0, stderr: 0 }), durationMs: executionTimeMs });
}

async function statProcess({ processId }: { processId: string }, work: Work): Promise<Outcome> {
  const { environment: _environment, ...detail } = await work.json(ProcessDetail, "GET", `/processes/${processId}`);
  const output = await keptOutput(processId, work);
  const value = { ...detail, ...output };
  const words = output && (output.stdout !== "" || output.stderr !== "") ? [text(wordsOf(output))] : [];
  return { value, content: [text(JSON.stringify(detail)), ...words] };
}

/** What a background command has printed; nothing is kept of other processes. */
async function keptOutput(processId: string, work: Work): Promise<{ stdout: string; stderr: string } | undefined> {
  const streams = newStreams();
  try {
    for await (const event of work.events(CommandEvent, "GET", `/processes/${processId}/output`, { query: { follow: false } }))
      if (event.type === "stdout" || event.type === "stderr") streams[event.type].add(event.text);
  } catch (error) {
    if (error instanceof Problem && error.code === "process_not_found") return undefined;
    throw error;
  }
  return { stdout: streams.stdout.text(), stderr: streams.stderr.text() };
}

type Streams = Record<"stdout" | "stderr", Excerpt>;

function newStreams(): Streams {
  return { stdout: newExcerpt(LIMITS.mcpTextChars), stderr: newExcerpt(LIMITS.mcpTextChars) };
}

function textsOf({ stdout, stderr }: Streams, dropped: { stdout: number; stderr: number }) {
  const charactersLeftOut = { stdout: stdout.leftOut() + dropped.stdout, stderr: stderr.leftOut() + dropped.stderr };
  return { stdout: stdout.text(), stderr: stderr.text(), charactersLeftOut };
}

function wordsOf({ stdout, stderr }: { stdout: string; stderr: string }): string {
  return [stdout, stderr === "" ? "" : `[stderr]\n${stderr}`].filter((part) => part !== "").join("\n");
}

/** A command that answers a number other than 0 has done what it does; only one that was stopped has failed. */
function outcomeOf(ran: Ran): Outcome {
  const end =
    ran.status === "completed"
      ? `[exit code ${ran.exitCode ?? "unknown"}]`
      : `[${ran.status}, process ${ran.processId}] ${NEXT[ran.status] ?? ""}`;
  const parts = [wordsOf(ran), ran.status === "completed" && ran.exitCode === 0 ? "" : end].filter((part) => part !== "");
  const failed = ran.status !== "completed" && ran.status !== "running";
  return { value: ran, content: [text(parts.join("\n") || "(no output)")], failed };
}
