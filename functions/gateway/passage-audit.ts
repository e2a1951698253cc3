import type { AuditFacts } from "#core/audit.ts";
import type { Caller } from "#core/caller.ts";
import type { Platform } from "#core/ports.ts";
import type { Principal } from "#core/projects.ts";
import { recordsOf } from "#core/records.ts";
import type { SpanRow } from "#core/span-rows.ts";
import { actorOf } from "./audited.ts";

/** One request into a sandbox, as the audit log sees it. */
export interface PassageAudit {
  ended(span: SpanRow): void;
}

/**
 * Writes down what is about to pass into a sandbox, where its project asks for that; answers once it is written, so that
 * nothing is done that is not in the log. Undefined where it is in the traces alone.
 */
export async function auditPassage(
  platform: Platform,
  principal: Principal,
  span: SpanRow,
  { caller, writes }: { caller: Caller | undefined; writes: boolean },
): Promise<PassageAudit | undefined> {
  const { audit } = recordsOf(principal.project);
  if (audit === "off" || (audit === "writes" && !writes)) return undefined;
  const projectId = principal.project.id;
  const facts: AuditFacts = {
    actor: actorOf(principal),
    ...(caller?.onBehalfOf === undefined ? {} : { onBehalfOf: caller.onBehalfOf }),
    action: span.name,
    resource: { kind: "sandbox", id: span.sandboxId ?? "" },
    phase: "begun",
    decision: "allow",
    policy: principal.scope ? "scope" : "records",
    traceId: span.traceId,
    spanId: span.spanId,
    ...(caller ? { requestId: caller.requestId } : {}),
    ...(caller?.remoteAddress === undefined ? {} : { remoteAddress: caller.remoteAddress }),
  };
  await platform.audit.append(projectId, facts);
  return {
    ended({ status, statusMessage, input, output }) {
      const digests = {
        ...(input?.digest === undefined ? {} : { input: input.digest }),
        ...(output?.digest === undefined ? {} : { output: output.digest }),
      };
      platform.audit
        .append(projectId, { ...facts, phase: "ended", result: statusMessage ?? status, ...digests })
        .catch((error: unknown) => platform.log.event("audit.ending_lost", { projectId, error: String(error) }));
    },
  };
}
