import { openAudit } from "./audit.ts";
import { openCallers } from "./caller.ts";
import type { PlatformParts, Platform } from "./ports.ts";
import { rememberRows } from "./recent.ts";
import { sharedWork } from "./shared.ts";
import { openTraces } from "./traces.ts";
import { openCounts } from "./usage/counts.ts";
import { settleLate } from "./usage/metering.ts";
import { openVault } from "./vault.ts";

/** Completes an adapter's parts with what every platform does alike: remembering rows for a moment, and the platform's secret. */
export function composePlatform(parts: PlatformParts, signingKey: string): Platform {
  const { tables, recent } = rememberRows(parts.tables, parts.clock);
  const platform: Platform = {
    ...parts,
    tables,
    recent,
    callers: openCallers(),
    traces: openTraces(tables, parts.clock, parts.log),
    audit: openAudit(tables, parts.clock, parts.log),
    counts: openCounts(tables, parts.log, (source) => settleLate(platform, source)),
    shared: sharedWork(),
    vault: openVault(signingKey, parts.clock),
  };
  return platform;
}
