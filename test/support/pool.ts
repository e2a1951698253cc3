import type { TemplateNow } from "#contract/template.ts";
import type { Tenant } from "./door.ts";
import { until } from "./until.ts";

/** Waits until as many instances wait for a template's next sandboxes as suit the demand: until then they are being made. */
export function poolAtRest(tenant: Tenant, template: string): Promise<void> {
  return until(
    `the pool of ${template} is at rest`,
    async () => {
      const { prepared } = await tenant.json<Pick<TemplateNow, "prepared">>("GET", `/api/templates/${template}`);
      return prepared.making === 0 && prepared.ready >= prepared.wanted;
    },
    60_000,
  );
}
