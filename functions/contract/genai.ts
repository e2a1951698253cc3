/**
 * OpenTelemetry's names for what agents do, of one revision. Every `gen_ai.*` name is still in development there: this
 * is the only place of ours that knows them, and what is exported says which revision it means.
 */
export const GENAI_REVISION = "9f1b0bb4320aba1797371a60f19ab07bad938932";
export const GENAI_SCHEMA_URL = `https://github.com/open-telemetry/semantic-conventions-genai/tree/${GENAI_REVISION}`;

export const GENAI = {
  operation: "gen_ai.operation.name",
  conversation: "gen_ai.conversation.id",
  toolName: "gen_ai.tool.name",
  toolArguments: "gen_ai.tool.call.arguments",
  toolResult: "gen_ai.tool.call.result",
} as const;

/** `gen_ai.operation.name`: what passes a sandbox's door is a tool that an agent executes. */
export const EXECUTE_TOOL = "execute_tool";
export const INVOKE_AGENT = "invoke_agent";
