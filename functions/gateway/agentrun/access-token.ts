import type { AccessTokenQuery } from "#contract/agentrun.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { mintToken } from "#core/tokens.ts";
import { readSandbox } from "./sandboxes.ts";
import { type Agentrun, readTemplate } from "./templates.ts";

/**
 * A token for the data plane, good for one sandbox or for one template and the sandboxes made of it. Clients keep it as
 * long as they keep the sandbox, so it lasts as long as any sandbox may.
 */
export async function accessToken(agentrun: Agentrun, project: Project, query: AccessTokenQuery): Promise<{ accessToken: string }> {
  const { resourceType } = query;
  if (resourceType !== "sandbox" && resourceType !== "template") {
    throw new Problem("not_supported", {
      detail: `Access tokens for a ${resourceType} are not supported yet`,
      supported: ["sandbox", "template"],
    });
  }
  const name = query.resourceId ?? query.resourceName;
  if (name === undefined) throw new Problem("invalid_request", { detail: "query.resourceId or query.resourceName is required" });
  const { platform, limits } = agentrun;
  if (resourceType === "sandbox") {
    const { sandboxId } = await readSandbox(agentrun, "control", project, name);
    return { accessToken: mintToken(platform, project, { sandboxId }, limits.lifeMaxMs).token };
  }
  const { templateName } = await readTemplate(agentrun, project, name);
  return { accessToken: mintToken(platform, project, { template: templateName }, limits.lifeMaxMs).token };
}
