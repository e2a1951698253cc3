import { openAudit } from "./audit.ts";
import { openCallers } from "./caller.ts";
import type { PlatformParts, Platform } from "./ports.ts";
import { rememberRows } from "./recent.ts";
import { openSayings } from "./said.ts";
import { sharedWork } from "./shared.ts";
import { openTraces } from "./traces.ts";
import { openCounts } from "./usage/counts.ts";
import { settleLate } from "./usage/metering.ts";
import { openVault } from "./vault.ts";

/** Completes an adapter's parts with what every platform does alike: remembering rows for a moment, and the platform's secret. */
export function composePlatform(parts: PlatformParts, signingKey: string): Platform {
  const { tables, recent } = rememberRows(parts.tables, parts.clock);
  const { engine, clock, log } = parts;
  const traces = openTraces(tables, clock, log);
  const shared = sharedWork();
  const vault = openVault(signingKey, clock);
  const platform: Platform = {
    ...parts,
    tables,
    recent,
    callers: openCallers(),
    traces,
    said: openSayings({ engine, tables, recent, clock, log, vault, traces, shared }),
    audit: openAudit(tables, clock, log),
    counts: openCounts(tables, log, (source) => settleLate(platform, source)),
    shared,
    vault,
  };
  return platform;
}
