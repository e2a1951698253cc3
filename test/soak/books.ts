import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { verifyChain } from "#contract/audit-chain.ts";
import { METERS, type Meter } from "#contract/usage.ts";
import type { AuditSegment } from "#core/audit.ts";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import type { Segment } from "#core/span-rows.ts";
import type { MeterState, UsageRow } from "#core/usage/metering.ts";
import { hoursAt } from "#core/usage/hours.ts";

/** What the books of a project come to, and where they are wrong. */
export interface Books {
  sandboxes: number;
  usageRows: number;
  /** Processor seconds: as the engine counted them, and as they are billed, of sandboxes of which it kept a count. */
  engineCpuS: number;
  billedCpuS: number;
  /** vCPU-seconds by the sandboxes' own times, and as they are billed. */
  allottedS: number;
  billedAllottedS: number;
  auditRecords: number;
  faults: string[];
}

interface Entry<T> {
  key: string;
  value: T;
}

/** How far bills may be from the engine's own counters. */
const PART = 0.01;

/** Reads bills, traces and the audit log beside the server, once nothing lives, and holds them to each other. */
export function readBooks(dataDir: string, projectId: string, sandboxes: readonly SandboxRow[]): Books {
  const tables = new DatabaseSync(join(dataDir, "tables.db"), { readOnly: true });
  const engine = new DatabaseSync(join(dataDir, "engine.db"), { readOnly: true });
  try {
    const states = new Map(valuesIn<MeterState>(tables, "usage-states", projectId).map(({ key, value }) => [key, value]));
    const rows = valuesIn<UsageRow>(tables, "usage", projectId).map(({ value }) => value);
    const counted = new Map(
      engine
        .prepare("SELECT id, usage FROM sessions WHERE id GLOB ? AND usage IS NOT NULL")
        .all(`${projectId}_*`)
        .map(({ id, usage }) => [String(id).slice(projectId.length + 1), (JSON.parse(String(usage)) as { cpuMs: number }).cpuMs / 1000]),
    );
    const served = sandboxes.filter(({ hours }) => hours !== undefined);
    const bySource = Map.groupBy(rows, ({ source }) => source);
    const billed = (id: string, meter: Meter) =>
      (bySource.get(id) ?? []).reduce((all, { used }) => all + (used[meter] ?? 0), 0) / METERS[meter].per;
    const known = served.filter(({ id }) => counted.has(id));
    const engineCpuS = sum(known.map(({ id }) => counted.get(id) ?? 0));
    const billedCpuS = sum(known.map(({ id }) => billed(id, "cpu_used")));
    const allottedS = sum(served.map(allotted));
    const billedAllottedS = sum(served.map(({ id }) => billed(id, "cpu_allocated")));
    const chain = verifyChain(
      valuesIn<AuditSegment>(tables, "audit", projectId).flatMap(({ value }) => value.lines),
      undefined,
    );
    const created = new Set(
      valuesIn<Segment>(tables, "spans", projectId).flatMap(({ value }) =>
        value.spans.filter(({ name }) => name === "create sandbox").map(({ sandboxId }) => sandboxId),
      ),
    );
    const faults = [
      ...served.filter(({ id }) => states.get(id)?.pending).map(({ id }) => `${id} has a row of use that is not written`),
      ...served
        .filter((row) => Math.abs(billed(row.id, "cpu_allocated") - allotted(row)) > 1e-6)
        .map((row) => `${row.id} had ${allotted(row)} vCPU-seconds and is billed ${billed(row.id, "cpu_allocated")}`),
      ...served
        .filter(({ id }) =>
          Object.values(states.get(id)?.byPrices ?? {}).some(
            ({ cpu_allocated = 0 }) => cpu_allocated / METERS.cpu_allocated.per !== billed(id, "cpu_allocated"),
          ),
        )
        .map(({ id }) => `${id}: its state and its rows differ`),
      ...(Math.abs(engineCpuS - billedCpuS) > engineCpuS * PART
        ? [`the engine counted ${engineCpuS} s of processor time, ${billedCpuS} s are billed`]
        : []),
      ...served.filter(({ id }) => !created.has(id)).map(({ id }) => `${id} has no span of its making`),
      ...(chain.broken ? [`the audit log is broken: ${JSON.stringify(chain.broken)}`] : []),
    ];
    return {
      sandboxes: served.length,
      usageRows: rows.length,
      engineCpuS: round(engineCpuS),
      billedCpuS: round(billedCpuS),
      allottedS: round(allottedS),
      billedAllottedS: round(billedAllottedS),
      auditRecords: chain.records,
      faults,
    };
  } finally {
    tables.close();
    engine.close();
  }
}

/** vCPU-seconds that a sandbox had, by its own times. */
function allotted(row: SandboxRow): number {
  return (row.cpu * hoursAt(row, Infinity).awakeMs) / 1000;
}

function valuesIn<T>(tables: DatabaseSync, table: string, projectId: string): Entry<T>[] {
  return tables
    .prepare("SELECT key, value FROM rows WHERE tbl = ? AND key GLOB ? ORDER BY key")
    .all(table, `${projectId}/*`)
    .map(({ key, value }) => ({ key: String(key).slice(projectId.length + 1), value: JSON.parse(String(value)) as T }));
}

function sum(amounts: number[]): number {
  return amounts.reduce((total, amount) => total + amount, 0);
}

function round(amount: number): number {
  return Math.round(amount * 1000) / 1000;
}
