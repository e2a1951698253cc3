import { Span } from "#contract/span.ts";
import { page } from "#contract/id.ts";
import type { Tenant } from "./door.ts";
import { until } from "./until.ts";

/** Spans of one sandbox that have ended, once there are as many as that of their kind, or of a name. */
export async function endedSpans(tenant: Tenant, sandboxId: string, kind: Span["kind"], count = 1, name = ""): Promise<Span[]> {
  let found: Span[] = [];
  await until(`${count} spans of ${kind} have ended`, async () => {
    found = page(Span).parse(
      await tenant.json("GET", `/api/spans?sandboxId=${sandboxId}&kind=${kind}${name === "" ? "" : `&text=${name}`}`),
    ).items;
    return found.length >= count;
  });
  return found;
}
