import { mkdtemp, rm } from "node:fs/promises";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { verifyChain } from "#contract/audit-chain.ts";
import { openAudit } from "#core/audit.ts";
import { contentDigest, newSpanId, type SpanRow } from "#core/span-rows.ts";
import { openTraces } from "#core/traces.ts";
import { openVault } from "#core/vault.ts";
import { spanCost } from "./traced.ts";
import { createTables } from "#infra/local/stores/tables.ts";

/** What recording costs, on the embedded tables of this machine: `npm run bench:records`. */
const SPANS = 50_000;
const PER_SECOND = 5000;
const RECORDS = 50_000;
const TASKS = 100;

const folder = await mkdtemp(join(tmpdir(), "cleanroom-bench-"));
const clock = { now: Date.now };
const log = { event: (name: string, facts: object) => console.error(name, facts) };
const signingKey = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
try {
  await using tables = createTables(join(folder, "tables.db"));
  const vault = openVault(signingKey, clock);
  console.log(JSON.stringify({ ...(await spans()), ...(await spanCost(tables)), ...(await audit()) }, undefined, 2));

  /** A span as an execute's is: built, digested and kept. Half a millisecond's worth at a time, at the promised pace. */
  async function spans() {
    const traces = openTraces(tables, clock, log);
    const cpuBefore = process.cpuUsage();
    const begun = performance.now();
    const costs: number[] = [];
    for (let made = 0; made < SPANS; made += 1) {
      const at = performance.now();
      traces.record({ projectId: "p", taskId: `t${made % TASKS}` }, spanOf(traces.now()), (span) => {
        span.input = { bytes: 200, digest: contentDigest({ vault }, "p", "x".repeat(200)) };
        span.output = { bytes: 300, digest: contentDigest({ vault }, "p", "y".repeat(300)) };
      });
      costs.push(performance.now() - at);
      const aheadMs = (made / PER_SECOND) * 1000 - (performance.now() - begun);
      if (aheadMs > 1) await new Promise((resolve) => setTimeout(resolve, aheadMs));
      else if (made % 50 === 0) await new Promise(setImmediate);
    }
    await traces.flush();
    const seconds = (performance.now() - begun) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    const kept = await count();
    costs.sort((a, b) => a - b);
    return {
      spansPerSecond: Math.round(SPANS / seconds),
      spansKept: kept,
      spansCores: Math.round(((user + system) / 1e6 / seconds) * 100) / 100,
      spanRecordP50Us: Math.round((costs[Math.floor(costs.length / 2)] ?? 0) * 1e4) / 10,
    };
  }

  async function count(): Promise<number> {
    let found = 0;
    let after: string | undefined;
    for (;;) {
      const rows = await tables.range<{ spans: unknown[] }>("spans", "p/", { limit: 200, ...(after === undefined ? {} : { after }) });
      for (const { value } of rows) found += value.spans.length;
      if (rows.length < 200) return found;
      after = rows.at(-1)?.key;
    }
  }

  async function audit() {
    const chains = openAudit(tables, clock, log);
    const facts = {
      actor: { kind: "key", id: "CR0123456789ABCDEF01" },
      action: "createSandbox",
      phase: "begun",
      decision: "allow",
      policy: "project",
    } as const;
    const more = {
      resource: { kind: "sandbox", id: "01K5ZV9QJ4T5N2W0D7X3C8B6AE" },
      input: "0".repeat(64),
      requestId: crypto.randomUUID(),
      remoteAddress: "127.0.0.1",
    };
    const cpuBefore = process.cpuUsage();
    const begun = performance.now();
    await Promise.all(Array.from({ length: RECORDS }, () => chains.append("p", { ...facts, ...more })));
    const appendMs = performance.now() - begun;
    const appendCpuUs = cpuUs(cpuBefore);
    const rows = await tables.range<{ lines: string[] }>("audit", "p/", { limit: 10_000 });
    const lines = rows.flatMap(({ value }) => value.lines);
    const verifyCpu = process.cpuUsage();
    const verifyAt = performance.now();
    const { broken, records } = verifyChain(lines, undefined);
    const verifyMs = performance.now() - verifyAt;
    const verifyCpuUs = cpuUs(verifyCpu);
    if (broken || records !== RECORDS) throw new Error(`The chain does not hold: ${JSON.stringify(broken)}, ${records}`);
    return {
      auditAppendsPerSecond: Math.round((RECORDS / appendMs) * 1000),
      auditVerifiesPerSecond: Math.round((RECORDS / verifyMs) * 1000),
      auditAppendCpuUs: Math.round((appendCpuUs / RECORDS) * 10) / 10,
      auditVerifyCpuUs: Math.round((verifyCpuUs / RECORDS) * 10) / 10,
      auditBytesPerRecord: Math.round(lines.join("\n").length / RECORDS),
    };
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Processor time since: on a machine that others use, what a figure would be on a free one. */
function cpuUs(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function spanOf(startMs: number): SpanRow {
  return {
    spanId: newSpanId(),
    traceId: "0af7651916cd43dd8448eb211c80319c",
    parentSpanId: "b7ad6b7169203331",
    sandboxId: "01K5ZV9QJ4T5N2W0D7X3C8B6AE",
    kind: "execute",
    name: "execute",
    source: "platform",
    startMs,
    durationMs: 1.25,
    status: "ok",
    statusMessage: "ok",
    attributes: { "http.response.status_code": 200 },
  };
}
