import { baseMessage, keyIdOf, type SignedBase } from "#contract/audit-chain.ts";
import { AUDIT, type AuditSegment } from "./audit.ts";
import type { Platform, Row } from "./ports.ts";

const BASES = "audit-bases";
const PAGE = 20;
/** How long an export may take that began before the base moved: until then the records that it let go are there. */
const EXPORT_MS = 10 * 60_000;

interface BaseRow {
  signed: SignedBase;
  movedAtMs: number;
}

/** Where a project's chain begins; undefined while no record was let go. */
export async function readBase(platform: Platform, projectId: string): Promise<SignedBase | undefined> {
  return (await platform.tables.get<BaseRow>(BASES, projectId))?.value.signed;
}

/**
 * Lets go of a project's oldest records. The base that stands for them is signed and written first, and they are removed
 * by a later run, so that the chain verifies from its base on at any moment and wherever this is cut short. The last
 * segment stays: the chain goes on behind it. Answers how many segments were removed.
 */
export async function pruneAudit(platform: Platform, projectId: string, untilMs: number): Promise<number> {
  const oldest = await platform.tables.range<AuditSegment>(AUDIT, `${projectId}/`, { limit: PAGE + 1 });
  const prunable = oldest.slice(0, -1);
  const base = await platform.tables.get<BaseRow>(BASES, projectId);
  const seq = base?.value.signed.base.seq ?? 0;
  const stale = prunable.filter(({ value }) => value.last <= seq);
  if (stale.length > 0) {
    if (platform.clock.now() < (base?.value.movedAtMs ?? 0) + EXPORT_MS) return 0;
    for (const { key } of stale) await platform.tables.remove(AUDIT, key);
    return stale.length;
  }
  const firstKept = prunable.findIndex(({ value }) => Date.parse(value.at) >= untilMs);
  const last = prunable.slice(0, firstKept < 0 ? undefined : firstKept).at(-1);
  if (last) await moveBase(platform, projectId, last, base);
  return 0;
}

async function moveBase(platform: Platform, projectId: string, last: Row<AuditSegment>, known: Row<BaseRow> | undefined): Promise<void> {
  const { last: seq, hash } = last.value;
  await platform.audit.append(projectId, {
    actor: { kind: "platform", id: "worker" },
    action: "auditPruned",
    phase: "done",
    decision: "allow",
    policy: "records",
    reason: `Records up to ${seq} are older than the project keeps them`,
  });
  const now = platform.clock.now();
  const base = { project: projectId, seq, hash, at: new Date(now).toISOString(), keyId: keyIdOf(platform.vault.publicKey()) };
  const signed = { base, signature: platform.vault.sign(baseMessage(base)) };
  await platform.tables.put<BaseRow>(BASES, projectId, { signed, movedAtMs: now }, { ifVersion: known?.version ?? "absent" });
}
