import { type ApiDeps, ok, NONE, type Routes } from "./calls.ts";
import type { InstanceUsage } from "#infra/local/sealed/maker.ts";
import { isolationOf, profileOf } from "#infra/local/sealed/profile.ts";
import { page, paged, readJson } from "./paging.ts";
import { refusal } from "./refusals.ts";
import { sessionHeader, sessionReply } from "./replies.ts";
import type { SessionRow } from "./session-rows.ts";

/** Sessions of isolated functions. */
export function sessionRoutes({ functions, sessions, isolation }: ApiDeps): Routes {
  const header = (row: SessionRow, usage?: InstanceUsage) =>
    sessionHeader(row, usage, isolationOf(isolation, profileOf(functions.find(row.function)?.definition.environmentVariables ?? {})));
  const reply = async (row: SessionRow) => ok(sessionReply(row), header(row, await sessions.usage(row)));
  return [
    [
      "POST",
      "/functions/*/sessions",
      async ({ path: [name = ""], body }) => {
        const row = await sessions.create(functions.get(name), readJson(body));
        return ok(sessionReply(row), header(row));
      },
    ],
    [
      "GET",
      "/functions/*/sessions",
      ({ path: [name = ""], query }) => {
        functions.get(name);
        const { after, limit } = page(query);
        const id = query.get("sessionId");
        const rows = sessions.list(name, { after, limit: limit + 1, status: query.get("sessionStatus") ?? undefined });
        return ok(paged("sessions", id ? rows.filter((row) => row.id === id) : rows, limit, (row) => row.id, sessionReply));
      },
    ],
    [
      "GET",
      "/functions/*/sessions/*",
      ({ path: [name = "", id = ""] }) => {
        functions.get(name);
        return reply(sessions.get(name, id));
      },
    ],
    [
      "PUT",
      "/functions/*/sessions/*",
      ({ path: [name = "", id = ""], body }) => reply(sessions.update(functions.get(name).name, id, readJson(body))),
    ],
    [
      "DELETE",
      "/functions/*/sessions/*",
      async ({ path: [name = "", id = ""] }) => {
        const row = await sessions.remove(functions.get(name).name, id);
        return { ...NONE, headers: header(row, await sessions.usage(row)) };
      },
    ],
    [
      "PUT",
      "/functions/*/sessions/*/pause",
      async ({ path: [name = "", id = ""] }) => reply(await sessions.pause(functions.get(name).name, id)),
    ],
    [
      "PUT",
      "/functions/*/sessions/*/resume",
      async ({ path: [name = "", id = ""], query }) => {
        if (query.get("fileSystemOnly") === "true")
          throw refusal("NotSupported", "A paused session goes on as it stood, processes and all");
        return reply(await sessions.resume(functions.get(name).name, id));
      },
    ],
  ];
}
