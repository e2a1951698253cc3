import { McpServer, type ServerContext } from "@modelcontextprotocol/server";
import * as z from "zod";
import { asProblem, Problem } from "#contract/problem.ts";
import { VERSION } from "#contract/version.ts";
import { offeredTools } from "#core/mcp.ts";
import type { Gateway } from "#gateway/gateway.ts";
import { BROWSER_TOOLS } from "./browser-tools.ts";
import { CODE_TOOLS } from "./code-tools.ts";
import { DESKTOP_TOOLS } from "./desktop-tools.ts";
import { FILE_TOOLS } from "./file-tools.ts";
import { openInside } from "./inside.ts";
import { HANDLE_TOOLS, SandboxArgument, sandboxOf, type Speaker } from "./place.ts";
import { PROCESS_TOOLS } from "./process-tools.ts";
import { openProgress } from "./progress.ts";
import { TERMINAL_TOOLS } from "./terminal-tools.ts";
import { traced } from "./traced.ts";
import type { Outcome, Tool } from "./tool.ts";

const TOOLS: ReadonlyMap<string, Tool> = new Map(
  [...CODE_TOOLS, ...FILE_TOOLS, ...PROCESS_TOOLS, ...TERMINAL_TOOLS, ...BROWSER_TOOLS, ...DESKTOP_TOOLS].map((one) => [one.name, one]),
);
/** Arguments with more parts than that are no call of a tool. */
const ARGUMENT_PARTS_MAX = 10_000;
/** The lists are the same until a template's owner changes them. */
const LIST_TTL_MS = 60_000;

type Result = ReturnType<typeof succeeded> | ReturnType<typeof refused>;

/** A server for one speaker: the tools that its template offers, in the place where they work. */
export function buildServer(gateway: Gateway, speaker: Speaker): McpServer {
  const { template, place } = speaker;
  const hint = { ttlMs: LIST_TTL_MS, cacheScope: "private" } as const;
  const server = new McpServer(
    { name: "cleanroom", title: `Cleanroom: ${template.name}`, version: VERSION },
    {
      capabilities: { tools: { listChanged: false } },
      instructions: instructionsFor(speaker),
      maxToolInputElements: ARGUMENT_PARTS_MAX,
      cacheHints: { "tools/list": hint, "server/discover": hint },
      ...gateway.mcpExtension?.options,
    },
  );
  const named = place.kind === "named";
  if (named) {
    for (const one of HANDLE_TOOLS)
      register(server, gateway, one, one.input, (input, ctx) => one.run(gateway, speaker, input, ctx.mcpReq.signal));
  }
  for (const name of offeredTools(template, speaker.settings)) {
    const one = TOOLS.get(name);
    if (!one) continue;
    const input = named ? one.input.extend({ sandbox: SandboxArgument }) : one.input;
    register(server, gateway, one, input, (given, ctx) => useTool(gateway, speaker, one, given, ctx));
  }
  gateway.mcpExtension?.extend(server);
  return server;
}

type Registered = Pick<Tool, "name" | "title" | "description" | "output" | "hints">;

function register(
  server: McpServer,
  gateway: Gateway,
  { name, title, description, output, hints }: Registered,
  inputSchema: z.ZodObject,
  run: (input: Record<string, unknown>, ctx: ServerContext) => Promise<Outcome>,
): void {
  const annotations = { title, openWorldHint: false, ...hints };
  server.registerTool(name, { title, description, inputSchema, outputSchema: output, annotations }, (input, ctx) =>
    answer(gateway, name, ctx, () => run(input, ctx)),
  );
}

/** What a tool did, or why not, as a result: a model reads it and goes on. */
async function answer(gateway: Gateway, tool: string, ctx: ServerContext, run: () => Promise<Outcome>): Promise<Result> {
  const startedAtMs = performance.now();
  const note = (outcome: string) =>
    gateway.platform.log.event("mcp.tool", { tool, outcome, tookMs: Math.round(performance.now() - startedAtMs) });
  try {
    const outcome = await run();
    note(outcome.failed ? "failed" : "ok");
    return succeeded(outcome);
  } catch (error) {
    const problem = ctx.mcpReq.signal.aborted ? new Problem("timeout", { detail: "The call was cancelled" }, error) : problemOf(error);
    note(problem.code);
    if (problem.code === "internal") gateway.platform.log.event("mcp.tool_failed", { tool, error: String(problem.cause) });
    return refused(problem);
  }
}

async function useTool(
  gateway: Gateway,
  speaker: Speaker,
  tool: Tool,
  given: Record<string, unknown>,
  ctx: ServerContext,
): Promise<Outcome> {
  const { sandbox: named, ...input } = given;
  const { signal, id } = ctx.mcpReq;
  using progress = openProgress(ctx);
  const sandboxId = await sandboxOf(gateway, speaker, named, signal);
  gateway.platform.counts.count({ projectId: speaker.principal.project.id, id: sandboxId }, { tool_calls: 1 });
  const { principal } = speaker;
  return await traced(gateway, principal, { sandboxId, tool: tool.name, input }, async (trace) => {
    using inside = openInside(gateway, principal.project, { sandboxId, requestId: `mcp-${id}`, signal, trace });
    return await tool.run(input, { ...inside, sandboxId, signal, progress: (words) => progress.say(words) });
  });
}

function succeeded({ value, content, failed }: Outcome) {
  return { content, structuredContent: value, ...(failed ? { isError: true } : {}) };
}

function refused(problem: Problem) {
  const { detail: _detail, next: _next, ...details } = problem.facts;
  const words = `${problem.message}. ${problem.next}`.replace(/\.\. /, ". ");
  const about = { code: problem.code, details, next: problem.next };
  return { content: [{ type: "text" as const, text: words }], isError: true, _meta: { "cleanroom/problem": about } };
}

/** An event of the sandbox that is not what it should be is the sandbox's fault. */
function problemOf(error: unknown): Problem {
  if (error instanceof z.ZodError || error instanceof SyntaxError)
    return new Problem("sandbox_lost", { detail: "The sandbox's answer could not be read" }, error);
  return asProblem(error);
}

function instructionsFor({ place, template }: Speaker): string {
  const what = `Tools that work in a sealed, disposable sandbox of template ${template.name}: no network, nothing of it outlives it.`;
  const where = {
    named: "Begin with create_sandbox and pass the `sandbox` that it answers to every other tool.",
    session: "The sandbox is this session's own and is made when it is first needed; files and variables stay between calls.",
    key: "The sandbox is made when it is first needed; files and variables stay between calls.",
    sandbox: "The sandbox is there already; files and variables stay between calls.",
  };
  return `${what} ${where[place.kind]} Paths are relative to /home/user.`;
}
