import type { Isolation } from "#contract/sandbox.ts";
import type { Agentrun } from "#gateway/agentrun/templates.ts";
import { CORE_LIMITS, openCore, projectOf } from "./core.ts";

export const PROJECT = projectOf("p1");

/** AgentRun's dialect on the core in memory. */
export function openAgentrun() {
  const { platform, engine, clock } = openCore();
  const isolation: Isolation = { strength: "weak", layers: [] };
  const agentrun: Agentrun = {
    platform,
    limits: CORE_LIMITS,
    region: "cn-hangzhou",
    publicOrigin: "http://127.0.0.1:7070",
    accountId: "1000000000000000",
    isolation,
  };
  return { agentrun, engine, clock };
}
