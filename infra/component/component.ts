import { join } from "node:path";
import { createFcClient } from "#infra/aliyun/fc.ts";
import { applyFunction, removeFunction, zipFolder } from "#infra/apply.ts";
import { deployConfig } from "#infra/config.ts";
import { readFunction } from "#infra/manifest.ts";

/** What Serverless Devs hands to a component's methods. */
interface Inputs {
  cwd: string;
  props: Record<string, unknown>;
}

/** Deploys functions through Function Compute's API wherever it answers, so that `s deploy` works without its registry. */
export class Component {
  async deploy({ cwd, props }: Inputs): Promise<Record<string, unknown>> {
    const it = readFunction(props);
    const zip = it.codeDir === undefined ? undefined : await zipFolder(join(cwd, it.codeDir));
    const { url } = await applyFunction(createFcClient(deployConfig()), it, zip);
    return { region: it.region, functionName: it.name, ...(url ? { url } : {}) };
  }

  async remove({ props }: Inputs): Promise<Record<string, unknown>> {
    const it = readFunction(props);
    await removeFunction(createFcClient(deployConfig()), it.name);
    return { functionName: it.name };
  }
}
