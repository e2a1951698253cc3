import type { ApiCall, ApiDeps, Reply } from "./calls.ts";
import { functionRoutes, triggerRoutes } from "./function-routes.ts";
import { invocationRoutes } from "./invocation-routes.ts";
import { router } from "./router.ts";
import { scalingRoutes } from "./scaling-routes.ts";
import { sessionRoutes } from "./session-routes.ts";

/** Function Compute's API of 2023-03-30, as far as this engine has it. */
export function createApi(deps: ApiDeps): (method: string, path: string, call: Omit<ApiCall, "path">) => Promise<Reply> {
  const find = router<(call: ApiCall) => Reply | Promise<Reply>>([
    ...functionRoutes(deps),
    ...sessionRoutes(deps),
    ...scalingRoutes(deps),
    ...triggerRoutes(deps),
    ...invocationRoutes(deps),
  ]);
  return async (method, path, call) => {
    const { handler, values } = find(method, path);
    return handler({ ...call, path: values });
  };
}
