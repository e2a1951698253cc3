import type { EndReason, Sandbox } from "#contract/sandbox.ts";
import type { SandboxRow } from "#core/sandbox-rows.ts";
import { askedFor, type Kill, type Ledger, type Life } from "./ledger.ts";
import type { Records } from "./records.ts";
import type { Victim } from "./victims.ts";

/** Whoever dies with an instance, and takes it along. */
const MORTAL: ReadonlySet<Victim> = new Set(["monitor", "init", "seed", "server"]);
/** An instance may be handed out in the moment between its death and the news of it. */
const MARGIN_MS = 5000;

/** Holds what the stores say, and what the list says, to what was done; answers every promise that was broken. */
export function judge(ledger: Ledger, records: Records, listed: readonly Sandbox[], ended: readonly Record<string, unknown>[]): string[] {
  const rows = new Map(records.sandboxes.map((row) => [row.id, row]));
  return [
    ...ledger.lives.flatMap((life) => judgeLife(life, rows, records, ledger.kills)),
    ...records.sandboxes.flatMap((row) => judgeRow(row, ledger, records)),
    ...judgeList(listed, records),
    ...judgeRemains(records),
    ...repeated(ended.map(({ sandboxId }) => String(sandboxId))).map((id) => `${id} was settled more than once`),
  ];
}

/** What was promised to one client. */
function judgeLife(life: Life, rows: ReadonlyMap<string, SandboxRow>, records: Records, kills: readonly Kill[]): string[] {
  const faults: string[] = [];
  const row = life.id === undefined ? undefined : rows.get(life.id);
  if (life.id !== undefined && !row) faults.push(`${life.name}: ${life.id} was answered and has no row`);
  if (life.id !== undefined && row?.endReason === "failed") faults.push(`${life.name}: was answered as ready and is said to have failed`);
  if (life.told !== undefined && row && row.endReason !== life.told)
    faults.push(`${life.name}: its client was told ${life.told}, its row says ${row.endReason}`);
  if (
    life.stateLost &&
    !kills.some(({ victim, instance }) => victim === "interpreter" && instance === records.instances.get(life.id ?? ""))
  )
    faults.push(`${life.name}: its interpreter was lost and nobody killed it`);
  const made = records.sandboxes.filter(({ metadata }) => metadata["soak"] === life.name).length;
  if (made > life.createsAsked) faults.push(`${life.name}: asked for ${life.createsAsked} times, made ${made} times`);
  return faults;
}

function judgeRow(row: SandboxRow, ledger: Ledger, records: Records): string[] {
  const life = ledger.lives.find(({ name, id }) => row.id === name || row.id === id || row.metadata["soak"] === name);
  if (!life) return [`${row.id} is a sandbox that nobody asked for`];
  if (row.state !== "ended") return [`${row.id} stays ${row.state}`];
  const reason = row.endReason ?? "lost";
  if (isTrue(reason, row, life, ledger.kills, records.instances.get(row.id))) return [];
  return [`${row.id} ended as ${reason}, of which nothing was the cause`];
}

function isTrue(reason: EndReason, row: SandboxRow, life: Life, kills: readonly Kill[], instance: string | undefined): boolean {
  if (askedFor(life).has(reason)) return true;
  const during = kills.filter(({ atMs }) => atMs >= row.createdAtMs - MARGIN_MS && atMs <= (row.endedAtMs ?? Infinity));
  const someOf = (...victims: Victim[]) => during.some(({ victim }) => victims.includes(victim));
  if (reason === "engine_restarted") return someOf("engine");
  if (reason === "crashed") return someOf("maker", "zygote") || kills.some((kill) => MORTAL.has(kill.victim) && kill.instance === instance);
  // Nothing but a death on the way to the answer keeps a sandbox from being made, or that nobody waited for it.
  if (reason === "failed") return life.id !== row.id && (during.length > 0 || life.unsettled);
  return false;
}

function judgeList(listed: readonly Sandbox[], { sandboxes }: Records): string[] {
  const ids = listed.map(({ id }) => id);
  const [named, kept] = [new Set(ids), new Set(sandboxes.map(({ id }) => id))];
  return [
    ...repeated(ids).map((id) => `${id} is listed more than once`),
    ...[...kept.difference(named)].map((id) => `${id} has a row and is not listed`),
  ];
}

/** What nothing that lives accounts for, once nothing lives. */
function judgeRemains({ left, counted, sessionsOpen, messages, snapshotBytes }: Records): string[] {
  const counts = { ...left, ...counted, "open sessions": sessionsOpen, "messages in the queue": messages };
  const remains = Object.entries(counts).filter(([, count]) => count !== 0);
  const off =
    snapshotBytes.counted === snapshotBytes.held ? [] : [`snapshots count ${snapshotBytes.counted} bytes and hold ${snapshotBytes.held}`];
  return [...remains.map(([name, count]) => `${name}: ${count} remain`), ...off];
}

function repeated(names: readonly string[]): string[] {
  return [...Map.groupBy(names, (name) => name)].filter(([, all]) => all.length > 1).map(([name]) => name);
}
