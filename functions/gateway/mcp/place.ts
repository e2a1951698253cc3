import * as z from "zod";
import { SandboxId } from "#contract/id.ts";
import { Problem } from "#contract/problem.ts";
import type { Template } from "#contract/template.ts";
import { findSession, sandboxOfSession, sessionOfKey } from "#core/mcp-sessions.ts";
import type { McpSettings } from "#core/mcp.ts";
import type { Principal } from "#core/projects.ts";
import { createSandbox, endSandbox, getSandbox } from "#core/sandboxes.ts";
import { permitSandbox } from "#gateway/auth.ts";
import type { Gateway } from "#gateway/gateway.ts";
import { CHANGES, DESTROYS, type Hints, type Outcome, text } from "./tool.ts";

/** Where a client's tools work: in one sandbox, in the one of its session or of its key, or in those that it names in each call. */
export type Place =
  | { kind: "sandbox"; sandboxId: string }
  | { kind: "session"; id: string }
  | { kind: "key"; key: string }
  | { kind: "named" };

/** Who speaks to which template's server. */
export interface Speaker {
  principal: Principal;
  template: Pick<Template, "name" | "type" | "createdAt">;
  settings: McpSettings;
  place: Place;
}

export const SandboxArgument = SandboxId.describe("The sandbox to work in, as create_sandbox answered it");

/** The sandbox that a call works in. */
export async function sandboxOf(gateway: Gateway, speaker: Speaker, named: unknown, signal: AbortSignal): Promise<string> {
  const { platform, limits } = gateway;
  const { project } = speaker.principal;
  const { place } = speaker;
  if (place.kind === "sandbox") return place.sandboxId;
  if (place.kind === "session") return sandboxOfSession(platform, limits, project, await findSession(platform, project, place.id), signal);
  if (place.kind === "key") {
    const session = await sessionOfKey(platform, project, speaker.template.name, place.key);
    return sandboxOfSession(platform, limits, project, session, signal);
  }
  return ownSandbox(gateway, speaker, String(named));
}

/** A tool that makes or ends what the others work in. */
interface HandleTool<I extends z.ZodObject = z.ZodObject> {
  name: string;
  title: string;
  description: string;
  input: I;
  output: z.ZodObject;
  hints: Hints;
  run(gateway: Gateway, speaker: Speaker, input: z.output<I>, signal: AbortSignal): Promise<Outcome>;
}

const Made = z.object({ sandbox: z.string(), template: z.string(), endsAt: z.string(), idleTimeoutSeconds: z.number() });

export const HANDLE_TOOLS: readonly HandleTool[] = [
  {
    name: "create_sandbox",
    title: "Make a sandbox",
    description:
      "Makes a fresh sandbox. Pass the `sandbox` that it answers to every other tool: files, variables and processes stay there until it ends.",
    input: z.strictObject({}),
    output: Made,
    hints: { ...CHANGES, idempotentHint: false },
    async run({ platform, limits }, { principal, template }, _input, signal) {
      const spec = { template: template.name, metadata: { mcpSession: "named" }, environment: {} };
      const { sandbox } = await createSandbox(platform, limits, principal.project, spec, signal);
      const value = {
        sandbox: sandbox.id,
        template: template.name,
        endsAt: sandbox.endsAt,
        idleTimeoutSeconds: sandbox.idleTimeoutMs / 1000,
      };
      return { value, content: [text(`Made sandbox ${sandbox.id}. Pass it as \`sandbox\` to the other tools; end it with end_sandbox.`)] };
    },
  },
  {
    name: "end_sandbox",
    title: "End a sandbox",
    description: "Ends a sandbox and destroys everything in it. One that nobody uses ends by itself.",
    input: z.strictObject({ sandbox: SandboxArgument }),
    output: z.object({ sandbox: z.string(), state: z.string() }),
    hints: { ...DESTROYS, idempotentHint: true },
    async run(gateway, speaker, input) {
      const sandbox = await ownSandbox(gateway, speaker, String(input["sandbox"]));
      const { state } = await endSandbox(gateway.platform, speaker.principal.project, sandbox, "deleted");
      return { value: { sandbox, state }, content: [text(`Sandbox ${sandbox} has ended.`)] };
    },
  },
];

/** A sandbox of this very template: what another template's owner withheld is not to be had by this one's server. */
async function ownSandbox({ platform, ...gateway }: Gateway, { principal, template }: Speaker, id: string): Promise<string> {
  await permitSandbox({ platform, ...gateway }, principal, id);
  const sandbox = await getSandbox(platform, principal.project, id);
  if (sandbox.template === template.name) return id;
  const next = "Make one with create_sandbox.";
  throw new Problem("sandbox_not_found", { detail: `${id} is no sandbox of template ${template.name}`, sandboxId: id, next });
}
