import { type ApiDeps, NONE, ok, type Reply, type Routes } from "./calls.ts";
import { readJson } from "./paging.ts";
import { refusal } from "./refusals.ts";
import { scalingReply } from "./replies.ts";
import { readScalingConfig, type ScalingConfig } from "./scaling.ts";

/** How many instances of a function are prepared ahead of its sessions. */
export function scalingRoutes({ functions, scalings, pools, place }: ApiDeps): Routes {
  const reply = (name: string, config: ScalingConfig): Reply => ok(...scalingReply(name, config, pools.status(name), place));
  return [
    [
      "PUT",
      "/functions/*/scaling-config",
      ({ path: [name = ""], body }) => {
        if (!functions.get(name).affinity) throw refusal("NotSupported", `The function ${name} has no sessions to prepare instances for`);
        const config = readScalingConfig(readJson(body));
        scalings.put(name, config);
        pools.changed(name);
        return reply(name, config);
      },
    ],
    [
      "GET",
      "/functions/*/scaling-config",
      ({ path: [name = ""] }) => {
        functions.get(name);
        const config = scalings.get(name);
        if (!config) throw refusal("ScalingConfigNotExists", `The function ${name} has no scaling config`);
        return reply(name, config);
      },
    ],
    [
      "DELETE",
      "/functions/*/scaling-config",
      async ({ path: [name = ""] }) => {
        functions.get(name);
        scalings.remove(name);
        await pools.forget(name);
        return NONE;
      },
    ],
  ];
}
