import { type ApiDeps, NONE, ok, type Routes } from "./calls.ts";
import { readFields } from "./definitions.ts";
import { AsyncConfig } from "./functions.ts";
import { page, paged, readJson } from "./paging.ts";
import { refusal } from "./refusals.ts";
import { taskReply } from "./replies.ts";

/** Calls of a function with an event: answered at once as it streams, or promised with a task. */
export function invocationRoutes({ functions, invocations, tasks }: ApiDeps): Routes {
  return [
    [
      "POST",
      "/functions/*/invocations",
      async ({ path: [name = ""], headers, body, requestId, signal }) => {
        const record = functions.get(name);
        if (headers["x-fc-invocation-type"] === "Async") {
          const given = headers["x-fc-async-task-id"];
          const task = tasks.enqueue(record, typeof given === "string" ? given : requestId, { requestId, body, headers });
          return { status: 202, headers: { "x-fc-async-task-id": task.id } };
        }
        const { answer, failed, upstream } = await invocations.invoke(name, { requestId, body, headers, signal });
        const error: Record<string, string> = failed ? { "x-fc-error-type": "UnhandledInvocationError" } : {};
        return {
          status: 200,
          stream: answer,
          headers: { "x-fc-instance-id": upstream.id, "x-fc-code-checksum": record.checksum, ...error },
        };
      },
    ],
    [
      "GET",
      "/functions/*/async-tasks",
      ({ path: [name = ""], query }) => {
        const { after, limit } = page(query);
        const payload = query.get("includePayload") === "true";
        const found = tasks.list(functions.get(name).name, {
          after,
          limit: limit + 1,
          prefix: query.get("prefix") ?? "",
          status: query.get("status") ?? undefined,
        });
        return ok(
          paged(
            "tasks",
            found,
            limit,
            (task) => task.id,
            (task) => taskReply(task, payload),
          ),
        );
      },
    ],
    ["GET", "/functions/*/async-tasks/*", ({ path: [name = "", id = ""] }) => ok(taskReply(tasks.get(functions.get(name).name, id), true))],
    [
      "PUT",
      "/functions/*/async-tasks/*/stop",
      async ({ path: [name = "", id = ""] }) => {
        await tasks.stop(functions.get(name).name, id);
        return NONE;
      },
    ],
    [
      "PUT",
      "/functions/*/async-invoke-config",
      ({ path: [name = ""], body }) => {
        const asyncConfig = readFields(AsyncConfig, readJson(body));
        functions.configure(name, { asyncConfig });
        return ok(asyncConfig);
      },
    ],
    [
      "GET",
      "/functions/*/async-invoke-config",
      ({ path: [name = ""] }) => {
        const { asyncConfig } = functions.get(name);
        if (!asyncConfig) throw refusal("AsyncConfigNotExists", `The function ${name} has no async config`);
        return ok(asyncConfig);
      },
    ],
    [
      "DELETE",
      "/functions/*/async-invoke-config",
      ({ path: [name = ""] }) => {
        functions.configure(name, { asyncConfig: null });
        return NONE;
      },
    ],
  ];
}
