import { randomUUID } from "node:crypto";
import * as z from "zod";
import { type ApiDeps, NONE, ok, type Routes } from "./calls.ts";
import { readFields } from "./definitions.ts";
import { page, paged, readJson } from "./paging.ts";
import { refusal } from "./refusals.ts";
import { functionReply, isolationHeader, triggerReply } from "./replies.ts";
import type { SessionRow } from "./session-rows.ts";

const Concurrency = z.object({ reservedConcurrency: z.int().min(0) });

/** Functions, how many sessions they may have, and the instances that run for them. */
export function functionRoutes({
  functions,
  triggers,
  sessions,
  scalings,
  pools,
  servers,
  tasks,
  isolation,
  place,
  deployed,
}: ApiDeps): Routes {
  return [
    [
      "POST",
      "/functions",
      async ({ body }) => {
        const record = await functions.create(readJson(body));
        deployed(record.name);
        return ok(functionReply(record, place));
      },
    ],
    [
      "GET",
      "/functions",
      ({ query }) => {
        const { after, limit } = page(query);
        return ok(
          paged(
            "functions",
            functions.list(query.get("prefix") ?? "", after),
            limit,
            ({ name }) => name,
            (record) => functionReply(record, place),
          ),
          isolationHeader(isolation),
        );
      },
    ],
    ["GET", "/functions/*", ({ path: [name = ""] }) => ok(functionReply(functions.get(name), place))],
    [
      "PUT",
      "/functions/*",
      async ({ path: [name = ""], body }) => {
        const before = functions.get(name);
        const record = await functions.update(name, readJson(body));
        if (record !== before) deployed(name);
        return ok(functionReply(record, place));
      },
    ],
    [
      "DELETE",
      "/functions/*",
      async ({ path: [name = ""] }) => {
        functions.get(name);
        if (triggers.list(name).length > 0) throw refusal("FunctionInUse", `The function ${name} still has triggers`);
        if (sessions.running(name).length > 0) throw refusal("FunctionInUse", `The function ${name} still has sessions`);
        scalings.remove(name);
        await Promise.all([functions.remove(name), servers.stop(name), pools.forget(name)]);
        tasks.forget(name);
        return NONE;
      },
    ],
    [
      "GET",
      "/functions/*/code",
      ({ path: [name = ""] }) => {
        const record = functions.get(name);
        return ok({ url: `file://${functions.codeFolder(record)}`, checksum: record.checksum });
      },
    ],
    [
      "GET",
      "/functions/*/instances",
      ({ path: [name = ""] }) => {
        const { modifiedAt } = functions.get(name);
        const shared = servers.current(name);
        const instances = sessions.running(name).map(instanceReply);
        if (shared)
          instances.push({ instanceId: shared.id, qualifier: "LATEST", versionId: "0", status: "Running", createdTimeMs: modifiedAt });
        return ok({ instances, requestId: randomUUID() });
      },
    ],
    [
      "PUT",
      "/functions/*/concurrency",
      ({ path: [name = ""], body }) => {
        const { reservedConcurrency } = readFields(Concurrency, readJson(body));
        const record = functions.configure(name, { reserved: reservedConcurrency });
        return ok({ functionArn: functionReply(record, place)["functionArn"], reservedConcurrency });
      },
    ],
    [
      "GET",
      "/functions/*/concurrency",
      ({ path: [name = ""] }) => {
        const record = functions.get(name);
        if (record.reserved === null) throw refusal("ConcurrencyConfigNotExists", `The function ${name} has no concurrency config`);
        return ok({ functionArn: functionReply(record, place)["functionArn"], reservedConcurrency: record.reserved });
      },
    ],
    [
      "DELETE",
      "/functions/*/concurrency",
      ({ path: [name = ""] }) => {
        functions.configure(name, { reserved: null });
        return NONE;
      },
    ],
  ];
}

function instanceReply(row: SessionRow): Record<string, unknown> {
  return {
    instanceId: row.instanceId,
    qualifier: "LATEST",
    versionId: "0",
    status: row.status === "Active" ? "Running" : row.status,
    createdTimeMs: row.createdAt,
  };
}

/** What calls a function: HTTP, time, a queue. */
export function triggerRoutes({ functions, triggers, place, origin }: ApiDeps): Routes {
  const reply = (record: Parameters<typeof triggerReply>[0]) => triggerReply(record, place, origin());
  return [
    [
      "POST",
      "/functions/*/triggers",
      ({ path: [name = ""], body }) => ok(reply(triggers.create(functions.get(name).name, readJson(body)))),
    ],
    [
      "GET",
      "/functions/*/triggers",
      ({ path: [name = ""], query }) => {
        const { after, limit } = page(query);
        const prefix = query.get("prefix") ?? "";
        const found = triggers.list(functions.get(name).name).filter((trigger) => trigger.name.startsWith(prefix) && trigger.name > after);
        return ok(
          paged(
            "triggers",
            found.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
            limit,
            (trigger) => trigger.name,
            reply,
          ),
        );
      },
    ],
    ["GET", "/functions/*/triggers/*", ({ path: [name = "", trigger = ""] }) => ok(reply(triggers.get(functions.get(name).name, trigger)))],
    [
      "PUT",
      "/functions/*/triggers/*",
      ({ path: [name = "", trigger = ""], body }) => ok(reply(triggers.update(functions.get(name).name, trigger, readJson(body)))),
    ],
    [
      "DELETE",
      "/functions/*/triggers/*",
      ({ path: [name = "", trigger = ""] }) => {
        triggers.remove(functions.get(name).name, trigger);
        return NONE;
      },
    ],
  ];
}
