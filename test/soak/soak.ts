import { readFileSync, readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { TemplateNow } from "#contract/template.ts";
import { countLeftovers } from "#bench/leftovers.ts";
import { allBoxes } from "#support/box.ts";
import { type DoorFacts, newTenant, type Tenant, tenantOf } from "#support/door.ts";
import { functionPid } from "#support/processes.ts";
import { tempDir } from "#support/temp.ts";
import { times } from "#support/times.ts";
import { instancesOf, tracesOf } from "#support/traces.ts";
import { until } from "#support/until.ts";
import { type Books, readBooks } from "./books.ts";
import { askerOf } from "./asking.ts";
import { diceOf } from "./dice.ts";
import { judge } from "./judge.ts";
import { killAtRandom } from "./killer.ts";
import { type Ledger, newLedger } from "./ledger.ts";
import { liveOnce, settle } from "./life.ts";
import { eventsOf, type Records, readRecords } from "./records.ts";
import { openServer, type Server } from "./server.ts";

export interface SoakOptions {
  seed: number;
  /** How long load and killer go on. */
  forMs: number;
  clients: number;
  say?: (progress: string) => void;
}

/** What a soak did and found; `faults` are the promises that were broken. */
export interface SoakReport {
  ledger: Ledger;
  records: Records;
  books: Books;
  /** What stood when nothing lived any more beside instances that waited, and after the server was stopped. */
  left: { atRest: Standing & Weight; stopped: Standing };
  faults: string[];
}

/** What of sandboxes stands on the host. */
interface Standing {
  processes: number;
  cgroups: number;
  loopDevices: number;
  mounts: number;
  instances: number;
}

interface Weight {
  engineRssMiB: number;
  engineDescriptors: number;
  gatewayRssMiB: number;
  gatewayDescriptors: number;
}

/** Longer than a creation that nobody finishes any more is left alone, and than any idle time here. */
const REST_MS = 150_000;
const SAY_EVERY_MS = 5000;
/** Far above what a server at rest has, and far below what a leak of one for each sandbox of ten minutes would make of it. */
const RSS_MAX_MIB = 400;
const DESCRIPTORS_MAX = 250;

/** Lives under load while everything that can be killed is killed, and what is left of it. */
export async function soak({ seed, forMs, clients, say = () => undefined }: SoakOptions): Promise<SoakReport> {
  await using folder = await tempDir();
  const ledger = newLedger();
  let tenant: Tenant;
  let records: Records;
  let books: Books;
  let atRest: Standing & Weight;
  {
    await using server = await openServer(folder.path);
    tenant = await newTenant(server.door());
    await load(server, tenant, ledger, { seed, forMs, clients, say });
    tenant = tenantOf(server.door(), tenant.key, tenant.projectId);
    const { projectId } = tenant;
    say("waiting for the last to end");
    await rest(folder.path, projectId).catch((error: unknown) => ledger.faults.push(String(error)));
    await server.door().open();
    await pooled(server, tenant).catch((error: unknown) => ledger.faults.push(String(error)));
    records = readRecords(folder.path, projectId);
    books = readBooks(folder.path, projectId, records.sandboxes);
    ledger.faults.push(...books.faults);
    const listed = await allBoxes(tenant);
    ledger.faults.push(...judge(ledger, records, listed, eventsOf(folder.path, ["sandbox.ended"])));
    ledger.faults.push(
      ...eventsOf(folder.path, ["request.failed", "instance_leftover", "session_not_written"]).map((event) => JSON.stringify(event)),
    );
    atRest = { ...standing(folder.path), ...weight(server.door()) };
  }
  const stopped = standing(folder.path);
  return { ledger, records, books, left: { atRest, stopped }, faults: [...ledger.faults, ...judgeLeftovers(atRest, stopped)] };
}

async function load(server: Server, tenant: Tenant, ledger: Ledger, { seed, forMs, clients, say }: Required<SoakOptions>): Promise<void> {
  const over = new AbortController();
  const dice = diceOf(seed);
  const startedAtMs = Date.now();
  let names = 0;
  const newName = () => `s${seed}-${(names += 1)}`;
  const asker = askerOf({ origin: server.door().origin, apiKey: tenant.key.apiKey }, ledger);
  const clientOf = (name: string) => ({ asker, ledger, newName, dice: dice.other(name) });
  const lives = Array.from({ length: clients }, async (_, at) => {
    const client = clientOf(`client ${at}`);
    while (!over.signal.aborted) await liveOnce(client);
  });
  const progress = async () => {
    while (!over.signal.aborted) {
      await delay(SAY_EVERY_MS, undefined, { signal: over.signal }).catch(() => undefined);
      const seconds = Math.round((Date.now() - startedAtMs) / 1000);
      say(`${seconds} s: ${ledger.lives.length} lives, ${ledger.kills.length} kills, ${ledger.faults.length} broken promises`);
    }
  };
  const killing = killAtRandom(server, ledger, dice.other("killer"), over.signal);
  const timer = setTimeout(() => over.abort(), forMs);
  try {
    await Promise.all([killing, progress(), ...lives]);
  } finally {
    clearTimeout(timer);
    over.abort();
  }
  const unsettled = ledger.lives.filter((life) => life.unsettled);
  say(`asking again for ${unsettled.length} creations that were not answered`);
  await times(unsettled.length, clients, async (at) => {
    const life = unsettled[at];
    if (life) await settle(clientOf("last"), life);
  });
}

/** Waits until no row says that its sandbox lives, and every count has come down with them. */
function rest(dataDir: string, projectId: string): Promise<void> {
  const isAtRest = () => {
    const { sandboxes, left, counted, sessionsOpen } = readRecords(dataDir, projectId);
    const counts = [...Object.values(left), ...Object.values(counted), sessionsOpen];
    return sandboxes.every(({ state }) => state === "ended") && counts.every((count) => count === 0);
  };
  return until("nothing lives any more, and nothing is counted", isAtRest, REST_MS);
}

/** Waits until all that stands are instances that wait for sandboxes, as many as the template says. */
function pooled(server: Server, tenant: Tenant): Promise<void> {
  const isPooled = async () => {
    const { prepared } = TemplateNow.parse(await tenant.json("GET", "/api/templates/code-interpreter"));
    const left = standing(server.door().dataDir);
    return prepared.making === 0 && [left.instances, left.loopDevices].every((count) => count === prepared.ready);
  };
  return until("only instances that wait are left", isPooled, REST_MS);
}

/** Of mounts only those over the server's own folder: others on this host have theirs. */
function standing(dataDir: string): Standing {
  const { processes, cgroups, loopDevices } = countLeftovers(dataDir, process.pid);
  const instances = instancesOf({ dataDir });
  return { processes, cgroups, loopDevices, mounts: tracesOf({ dataDir }, instances).mounts.length, instances: instances.length };
}

function weight({ dataDir, pid }: Pick<DoorFacts, "dataDir" | "pid">): Weight {
  const gateway = functionPid({ dataDir }, "cleanroom-gateway");
  return {
    engineRssMiB: rssMiB(pid),
    engineDescriptors: descriptors(pid),
    gatewayRssMiB: rssMiB(gateway),
    gatewayDescriptors: descriptors(gateway),
  };
}

function judgeLeftovers(atRest: Weight, stopped: Standing): string[] {
  const remains = Object.entries(stopped).filter(([, count]) => count !== 0);
  const bounds: Weight = {
    engineRssMiB: RSS_MAX_MIB,
    engineDescriptors: DESCRIPTORS_MAX,
    gatewayRssMiB: RSS_MAX_MIB,
    gatewayDescriptors: DESCRIPTORS_MAX,
  };
  const swollen = (Object.keys(bounds) as (keyof Weight)[]).filter((name) => atRest[name] > bounds[name]);
  return [
    ...remains.map(([name, count]) => `after the server stopped ${count} ${name} are left`),
    ...swollen.map((name) => `${name} is ${atRest[name]} with nothing alive`),
  ];
}

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function rssMiB(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024);
}
