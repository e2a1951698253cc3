import * as z from "zod";
import { Context, ExecutionItem, ExecutionStatus, Language, TimeoutSeconds } from "#contract/context.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { checkHealth } from "#contract/workspace.ts";
import { excerpt, newExcerpt } from "./excerpt.ts";
import { newImages } from "./images.ts";
import { CHANGES, DESTROYS, type Outcome, plain, READS, text, tool, type Work } from "./tool.ts";

const ContextId = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "must be 1 to 64 letters, digits, `_`, `.` or `-`");
const RESULTS_MAX = 50;
const ERROR_CHARS = LIMITS.mcpTextChars / 4;

const Ran = z.object({
  contextId: z.string().describe("Run the next code in this context to go on with its variables"),
  status: ExecutionStatus,
  stdout: z.string(),
  stderr: z.string(),
  results: z.array(z.object({ text: z.string(), mediaTypes: z.array(z.string()) })),
  error: z.object({ name: z.string(), value: z.string(), traceback: z.string() }).optional(),
  durationMs: z.number(),
  stateKept: z.boolean(),
  charactersLeftOut: z.object({ stdout: z.number(), stderr: z.number() }),
});
type Ran = z.output<typeof Ran>;

/** What to do after an execution that did not end well. */
const NEXT: Record<Exclude<z.output<typeof ExecutionStatus>, "ok">, string> = {
  error: "Correct the code and run it again; variables that were set before the error are still there.",
  timeout: "It took longer than `timeout` seconds and was stopped. Raise `timeout`, or do less at once.",
  interrupted: "It was interrupted; its variables are still there.",
  oom: "It used up the sandbox's memory. Work on less at once, or in pieces from a file.",
  killed: "Its interpreter ended. Run it again; files are still there.",
};

export const CODE_TOOLS = [
  tool({
    name: "health",
    title: "Check the sandbox",
    description: "Whether the sandbox answers, and for how long it has been up.",
    input: z.strictObject({}),
    output: checkHealth.returns,
    hints: READS,
    run: async (_input, work) => plain(await work.json(checkHealth.returns, "GET", "/health")),
  }),
  tool({
    name: "run_code",
    title: "Run code",
    description:
      "Runs Python or JavaScript in an interpreter that keeps its variables between calls. Answers what it printed, the value of its last expression, and figures as images. numpy, pandas and matplotlib are there; there is no network.",
    input: z.strictObject({
      code: z.string().describe("The code to run"),
      language: Language.optional().describe("python unless said otherwise"),
      contextId: ContextId.optional().describe("The interpreter to run in; an unknown id starts a new one. Left out: the language's own"),
      timeout: TimeoutSeconds.describe("Seconds after which it is stopped"),
    }),
    output: Ran,
    hints: { ...CHANGES, idempotentHint: false },
    run: runCode,
  }),
  tool({
    name: "list_contexts",
    title: "List the interpreters",
    description: "The interpreters that are running, each with variables of its own.",
    input: z.strictObject({}),
    output: z.object({ contexts: z.array(Context) }),
    hints: READS,
    run: async (_input, work) => plain({ contexts: await work.json(z.array(Context), "GET", "/contexts") }),
  }),
  tool({
    name: "create_context",
    title: "Start an interpreter",
    description: "Starts an interpreter with variables of its own; pass its id to run_code as contextId.",
    input: z.strictObject({
      language: Language.default("python"),
      cwd: z.string().default("/home/user").describe("Its working directory"),
    }),
    output: Context,
    hints: CHANGES,
    run: async (input, work) => plain(await work.json(Context, "POST", "/contexts", { json: input })),
  }),
  tool({
    name: "get_context",
    title: "Read an interpreter",
    description: "An interpreter's language and working directory.",
    input: z.strictObject({ contextId: ContextId }),
    output: Context,
    hints: READS,
    run: async ({ contextId }, work) => plain(await work.json(Context, "GET", `/contexts/${contextId}`)),
  }),
  tool({
    name: "delete_context",
    title: "End an interpreter",
    description: "Ends an interpreter and what it started; its variables are gone, files stay.",
    input: z.strictObject({ contextId: ContextId }),
    output: z.object({ deleted: z.literal(true), contextId: z.string() }),
    hints: DESTROYS,
    run: async ({ contextId }, work) => {
      await (await work.ask("DELETE", `/contexts/${contextId}`)).body?.cancel();
      return plain({ deleted: true, contextId });
    },
  }),
];

async function runCode(
  input: { code: string; language?: string | undefined; contextId?: string | undefined; timeout: number },
  work: Work,
) {
  const streams = { stdout: newExcerpt(LIMITS.mcpTextChars), stderr: newExcerpt(LIMITS.mcpTextChars) };
  const images = newImages();
  const ran: Pick<Ran, "results" | "error"> = { results: [] };
  for await (const item of work.events(ExecutionItem, "POST", "/contexts/execute", { json: input })) {
    if (item.type === "endOfExecution") {
      const { status, durationMs, stateKept, dropped } = item;
      const charactersLeftOut = {
        stdout: streams.stdout.leftOut() + dropped.stdout,
        stderr: streams.stderr.leftOut() + dropped.stderr,
      };
      const contextId = input.contextId ?? `default-${input.language ?? "python"}`;
      const [stdout, stderr] = [streams.stdout.text(), streams.stderr.text()];
      return outcomeOf({ contextId, status, stdout, stderr, ...ran, durationMs, stateKept, charactersLeftOut }, images.content);
    }
    if (item.type === "stdout" || item.type === "stderr") {
      streams[item.type].add(item.text);
      work.progress(item.text);
    } else if (item.type === "error") ran.error = boundedError(item);
    else if (ran.results.length < RESULTS_MAX) ran.results.push(shown(item, images));
  }
  throw new Problem("sandbox_lost", { detail: "The output ended before the code did" });
}

/** What a value is for a model: its text, and its image where it has one. */
function shown(
  { text: words, data }: Extract<ExecutionItem, { type: "result" }>,
  images: ReturnType<typeof newImages>,
): Ran["results"][number] {
  for (const [mediaType, value] of Object.entries(data)) if (mediaType.startsWith("image/")) images.add(value);
  return { text: excerpt(words, LIMITS.mcpTextChars), mediaTypes: Object.keys(data).slice(0, RESULTS_MAX) };
}

function boundedError({ name, value, traceback }: { name: string; value: string; traceback: string }): NonNullable<Ran["error"]> {
  return { name: excerpt(name, ERROR_CHARS), value: excerpt(value, ERROR_CHARS), traceback: excerpt(traceback, ERROR_CHARS) };
}

function outcomeOf(ran: Ran, images: Outcome["content"]): Outcome {
  const parts = [
    ran.stdout,
    ran.stderr === "" ? "" : `[stderr]\n${ran.stderr}`,
    ...ran.results.map((result) => result.text),
    ran.error ? ran.error.traceback || `${ran.error.name}: ${ran.error.value}` : "",
    ran.status === "ok" ? "" : `[${ran.status}] ${NEXT[ran.status]}`,
    ran.stateKept ? "" : "[The interpreter was replaced: its variables are gone, files stay.]",
  ].filter((part) => part !== "");
  const content = [text(parts.join("\n") || "(no output)"), ...images];
  return { value: ran, content, failed: ran.status !== "ok" };
}
