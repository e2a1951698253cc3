import { mkdtemp, rm } from "node:fs/promises";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Project } from "#contract/project.ts";
import { UsageQuery } from "#contract/usage.ts";
import { composePlatform } from "#core/platform.ts";
import type { PlatformParts } from "#core/ports.ts";
import { hourKey, type UsageRow } from "#core/usage/metering.ts";
import { reportUsage } from "#core/usage/reports.ts";
import { sumHours } from "#core/usage/sums.ts";
import { createTables } from "#infra/local/stores/tables.ts";
import { printTable, sample, summary } from "./stats.ts";

/** What a report over a million rows takes, on the embedded tables of this machine: `npm run bench:usage`. */
const ROWS = Number(process.argv[2] ?? 1_000_000);
const DAYS = 30;
const HOUR_MS = 3_600_000;
const SANDBOX_ROWS = 10;
const RUNS = 15;
const END_MS = Date.UTC(2026, 10, 1);
const BEGIN_MS = END_MS - DAYS * 24 * HOUR_MS;
const project: Project = {
  id: "p",
  name: "p",
  quota: { sandboxes: 1, cpu: 1, memoryMiB: 1, artifacts: 1000, artifactMiB: 1000 },
  createdAt: new Date(BEGIN_MS).toISOString(),
};

const folder = await mkdtemp(join(tmpdir(), "cleanroom-bench-"));
try {
  const path = join(folder, "tables.db");
  await using tables = createTables(path);
  const signingKey = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  const log = { event: (name: string, facts: object) => console.error(name, facts) };
  const platform = composePlatform({ tables, clock: { now: () => END_MS }, log } as unknown as PlatformParts, signingKey);
  fill(path);
  const summedMs = performance.now();
  while ((await sumHours(platform, project.id, 24 * DAYS, 24 * DAYS)) > 0);
  const sums = Math.round(performance.now() - summedMs);
  const [from, to] = [new Date(BEGIN_MS).toISOString(), new Date(END_MS).toISOString()];
  const asked = (groupBy: string, targetMs?: number, page: { what: string; after?: string } = { what: "" }) => {
    const query = UsageQuery.parse({ from, to, groupBy, ...(page.after === undefined ? {} : { after: page.after }) });
    const name = `${ROWS.toLocaleString("en")} rows by ${groupBy}${page.what}`;
    return sample(name, RUNS, () => reportUsage(platform, project, query)).then((figure) => ({
      ...figure,
      ...(targetMs === undefined ? {} : { targetMs }),
    }));
  };
  const figures = [
    await asked("project", 100),
    await asked("agent,template", 100),
    await asked("day", 100),
    await asked("agent,template,day", 100),
    await asked("task", 100),
    await asked("task", 100, {
      what: ", a page in the middle",
      after: Buffer.from(taskName(ROWS / SANDBOX_ROWS / 2)).toString("base64url"),
    }),
    await asked("task,day", 100),
    await asked("agent,task"),
  ];
  const rows = summary(figures);
  console.log(JSON.stringify({ rows: ROWS, sumsOfAllHoursMs: sums, figures: rows }, undefined, 2));
  printTable(rows);
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** Rows as metering writes them, put beside it: a month of sandboxes that live ten minutes each. */
function fill(path: string): void {
  const db = new DatabaseSync(path);
  const put = db.prepare("INSERT INTO rows VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET value = excluded.value");
  const marks = new Map<string, number>();
  db.exec("BEGIN");
  for (let at = 0; at < ROWS; at += 1) {
    const sandbox = Math.floor(at / SANDBOX_ROWS);
    const startMs = BEGIN_MS + Math.floor((sandbox / (ROWS / SANDBOX_ROWS)) * (END_MS - BEGIN_MS - HOUR_MS));
    const toMs = startMs + ((at % SANDBOX_ROWS) + 1) * 60_000;
    const id = taskName(sandbox);
    const used = {
      cpu_allocated: 120_000_000,
      cpu_used: 8_000_000 + at,
      memory_allocated: 122_880_000,
      disk: 583_680_000,
      requests: 9,
      executes: 3,
    };
    const row: UsageRow = {
      taskId: id,
      template: `template-${sandbox % 5}`,
      agent: `agent-${sandbox % 7}`,
      source: id,
      fromMs: toMs - 60_000,
      toMs,
      prices: "fc-2026-11",
      used,
    };
    const hour = hourKey(project.id, toMs);
    marks.set(hour, (marks.get(hour) ?? 0) + 1);
    put.run("usage", `${hour}/${id}/${String((at % SANDBOX_ROWS) + 1).padStart(10, "0")}`, JSON.stringify(row));
  }
  for (const [hour, mark] of marks) put.run("usage-marks", hour, String(mark));
  db.exec("COMMIT");
  db.close();
}

function taskName(sandbox: number): string {
  return `01K5ZV9QJ4T5N2W0D7${String(Math.floor(sandbox)).padStart(8, "0")}`;
}
