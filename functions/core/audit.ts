import { GENESIS, sealRecord } from "#contract/audit-chain.ts";
import type { AuditEntry } from "#contract/audit.ts";
import { Problem } from "#contract/problem.ts";
import type { Clock, Log, Tables } from "./ports.ts";

/** What is known of an action before it has its place in the chain. */
export type AuditFacts = Omit<AuditEntry, "at" | "project">;

export interface AuditHead {
  seq: number;
  hash: string;
  at: string;
}

/** The audit logs, one chain for each project. */
export interface Audit {
  /** Answers once the record is written, in its place. */
  append(projectId: string, facts: AuditFacts): Promise<void>;
  /** The same for a refusal; equal ones of one second are told together, so that asking in vain does not fill the log. */
  refused(projectId: string, facts: AuditFacts): void;
  head(projectId: string): Promise<AuditHead>;
  /** Answers once all that was appended so far is written. */
  flush(): Promise<void>;
}

/** Records that were written at once: one row, so that all of them are there or none. Its key is the place of the first. */
export interface AuditSegment {
  last: number;
  hash: string;
  at: string;
  lines: string[];
}

export const AUDIT = "audit";

const BATCH_RECORDS = 500;
const BATCH_CHARS = 500_000;
const ATTEMPTS = 50;
const REFUSALS_MS = 1000;
const REFUSALS_KEPT = 1000;
const TEXT_CHARS = 512;

interface Waiting {
  entry: AuditEntry;
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Chain {
  waiting: Waiting[];
  tail: AuditHead | undefined;
  writing: Promise<void> | undefined;
}

export function auditKey(projectId: string, seq: number): string {
  return `${projectId}/${String(seq).padStart(15, "0")}`;
}

/**
 * Opens the chains. Whoever writes claims the place after the last record it knows, if nobody has it: of any number of
 * writers one gets it, and the others read what came and go on behind it. So the head needs no row of its own that a
 * crash could leave behind the chain. What is asked for while a write is under way is written together.
 */
export function openAudit(tables: Tables, clock: Clock, log: Log): Audit {
  const chains = new Map<string, Chain>();
  const refusals = new Map<string, { projectId: string; facts: AuditFacts; count: number }>();
  let timer: NodeJS.Timeout | undefined;

  function chainOf(projectId: string): Chain {
    let chain = chains.get(projectId);
    if (!chain) chains.set(projectId, (chain = { waiting: [], tail: undefined, writing: undefined }));
    return chain;
  }

  async function drain(projectId: string, chain: Chain): Promise<void> {
    while (chain.waiting.length > 0) {
      const batch = takeBatch(chain.waiting);
      try {
        chain.tail = await writeBatch(projectId, chain.tail ?? (await readTail(tables, projectId)), batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        chain.tail = undefined;
        for (const { reject } of batch) reject(error);
      }
    }
    chain.writing = undefined;
    // What is quiet is read again when it speaks; who is not there takes no room.
    if (chains.size > REFUSALS_KEPT) chains.delete(projectId);
  }

  async function writeBatch(projectId: string, known: AuditHead, batch: readonly Waiting[]): Promise<AuditHead> {
    let tail = known;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const { segment, first } = segmentAfter(tail, batch);
      try {
        await tables.put<AuditSegment>(AUDIT, auditKey(projectId, first), segment, { ifVersion: "absent" });
        return { seq: segment.last, hash: segment.hash, at: segment.at };
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== "conflict") throw error;
        tail = await readTail(tables, projectId);
      }
    }
    throw new Problem("conflict", { detail: "Too many write this audit log at once", projectId });
  }

  function append(projectId: string, facts: AuditFacts): Promise<void> {
    const chain = chainOf(projectId);
    const entry: AuditEntry = { at: new Date(clock.now()).toISOString(), project: projectId, ...short(facts) };
    return new Promise<void>((resolve, reject) => {
      chain.waiting.push({ entry, resolve, reject });
      chain.writing ??= drain(projectId, chain);
    });
  }

  function tellRefusals(): void {
    timer = undefined;
    const told = [...refusals.values()];
    refusals.clear();
    for (const { projectId, facts, count } of told) if (count > 0) note(projectId, { ...facts, count });
  }

  function note(projectId: string, facts: AuditFacts): void {
    append(projectId, facts).catch((error: unknown) => log.event("audit.refusal_lost", { projectId, error: String(error) }));
  }

  return {
    append,
    refused(projectId, facts) {
      const { actor, action, policy, resource } = facts;
      const key = [projectId, actor.kind, actor.id, action, policy, resource?.id].join("\n");
      const known = refusals.get(key) ?? refusals.get(projectId);
      timer ??= setTimeout(tellRefusals, REFUSALS_MS).unref();
      if (known) {
        known.count += 1;
        return;
      }
      // Where there are too many kinds of them, all others of a project are counted as one.
      refusals.set(refusals.size < REFUSALS_KEPT ? key : projectId, { projectId, facts, count: 0 });
      note(projectId, facts);
    },
    async head(projectId) {
      await chains.get(projectId)?.writing;
      return readTail(tables, projectId);
    },
    async flush() {
      if (timer) clearTimeout(timer);
      tellRefusals();
      for (const { writing } of chains.values()) await writing;
    },
  };
}

/** The last record that is written; before the first it is where the chain begins. */
async function readTail(tables: Tables, projectId: string): Promise<AuditHead> {
  const [row] = await tables.range<AuditSegment>(AUDIT, `${projectId}/`, { limit: 1, descending: true });
  if (!row) return { seq: 0, hash: GENESIS, at: new Date(0).toISOString() };
  return { seq: row.value.last, hash: row.value.hash, at: row.value.at };
}

function takeBatch(waiting: Waiting[]): Waiting[] {
  let chars = 0;
  let count = 0;
  for (const { entry } of waiting) {
    chars += 700 + (entry.reason?.length ?? 0) * 6;
    if (count === BATCH_RECORDS || (count > 0 && chars > BATCH_CHARS)) break;
    count += 1;
  }
  return waiting.splice(0, count);
}

function segmentAfter(tail: AuditHead, batch: readonly Waiting[]): { segment: AuditSegment; first: number } {
  let { seq, hash } = tail;
  const lines = batch.map(({ entry }) => {
    const sealed = sealRecord((seq += 1), hash, entry);
    hash = sealed.hash;
    return sealed.line;
  });
  return { segment: { last: seq, hash, at: batch.at(-1)?.entry.at ?? tail.at, lines }, first: tail.seq + 1 };
}

function cut(text: string): string {
  return (text.length <= TEXT_CHARS ? text : text.slice(0, TEXT_CHARS)).toWellFormed();
}

/** Whatever a caller says has a bound, and so does a record. */
function short(facts: AuditFacts): AuditFacts {
  return {
    ...facts,
    action: cut(facts.action),
    ...(facts.onBehalfOf === undefined ? {} : { onBehalfOf: cut(facts.onBehalfOf) }),
    ...(facts.reason === undefined ? {} : { reason: cut(facts.reason) }),
    ...(facts.resource ? { resource: { kind: cut(facts.resource.kind), id: cut(facts.resource.id) } } : {}),
  };
}
