import * as action from "./action.ts";
import * as agentrunMemory from "./agentrun-memory.ts";
import * as agentrunSandbox from "./agentrun-sandbox.ts";
import * as agentrunTemplate from "./agentrun-template.ts";
import * as agentrun from "./agentrun.ts";
import * as artifactContent from "./artifact-content.ts";
import * as artifact from "./artifact.ts";
import * as audit from "./audit.ts";
import * as browserProfile from "./browser-profile.ts";
import * as browser from "./browser.ts";
import * as browsing from "./browsing.ts";
import * as context from "./context.ts";
import * as control from "./control.ts";
import * as desktop from "./desktop.ts";
import * as display from "./display.ts";
import * as file from "./file.ts";
import * as inner from "./inner.ts";
import * as mcp from "./mcp.ts";
import * as mem0 from "./mem0.ts";
import * as memory from "./memory-operations.ts";
import type { Operation } from "./operation.ts";
import * as port from "./port.ts";
import * as process from "./process.ts";
import * as program from "./program.ts";
import * as project from "./project.ts";
import * as recording from "./recording.ts";
import * as records from "./records.ts";
import * as sandbox from "./sandbox.ts";
import * as snapshot from "./snapshot.ts";
import * as task from "./task.ts";
import * as span from "./span.ts";
import * as template from "./template.ts";
import * as terminal from "./terminal.ts";
import * as ticket from "./ticket.ts";
import * as usage from "./usage.ts";
import * as cost from "./cost.ts";
import * as budget from "./budget.ts";
import * as webhook from "./webhook.ts";
import * as view from "./view.ts";
import * as traceExport from "./trace-export.ts";
import * as upload from "./upload.ts";
import * as workspace from "./workspace.ts";

/** What the door answers itself. */
export const DOOR_OPERATIONS = [
  project,
  sandbox,
  program,
  template,
  artifact,
  artifactContent,
  upload,
  snapshot,
  task,
  ticket,
  span,
  action,
  browsing,
  browserProfile,
  mcp,
  audit,
  control,
  traceExport,
  records,
  memory,
  usage,
  cost,
  budget,
  webhook,
].flatMap(operationsOf);

/** What a sandbox's workspace answers, under `/sandboxes/:sandboxId` at the door. What names most of a path comes first. */
export const WORKSPACE_OPERATIONS = [workspace, context, terminal, process, file, display, view, desktop, browser, port].flatMap(
  operationsOf,
);

/** What a workspace answers to the core alone; the door passes on no request that could ask for it. */
export const INNER_OPERATIONS = [inner].flatMap(operationsOf);

/** AgentRun's own control plane, and what of its data plane the door answers itself. */
export const AGENTRUN_OPERATIONS = [agentrun, agentrunTemplate, agentrunSandbox, agentrunMemory, recording].flatMap(operationsOf);

/** What mem0's own client asks of its hosted service. */
export const MEM0_OPERATIONS = operationsOf(mem0);

/** Every operation, as a client of the door addresses it. */
export const OPERATIONS: readonly Operation[] = [
  ...DOOR_OPERATIONS,
  ...WORKSPACE_OPERATIONS.map((op) => ({ ...op, path: `/sandboxes/:sandboxId${op.path}` })),
  ...AGENTRUN_OPERATIONS,
  ...MEM0_OPERATIONS,
];

function operationsOf(words: Record<string, unknown>): Operation[] {
  return Object.values(words).filter(isOperation);
}

function isOperation(word: unknown): word is Operation {
  return typeof word === "object" && word !== null && "id" in word && "method" in word && "path" in word && "errors" in word;
}
