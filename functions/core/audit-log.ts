import { headMessage, keyIdOf, SignedHead } from "#contract/audit-chain.ts";
import type { AuditQuery, AuditRecord } from "#contract/audit.ts";
import type { Project } from "#contract/project.ts";
import { readBase } from "./audit-retention.ts";
import { AUDIT, auditKey, type AuditSegment } from "./audit.ts";
import type { Platform } from "./ports.ts";

const PAGE = 20;
const RECORDS_READ = 20_000;
const ANCHORS = "audit-anchors";
const ANCHOR_BYTES = 4096;
/** A head is anchored after so many records, or so long after the last one. */
const ANCHOR_RECORDS = 1000;
const ANCHOR_MS = 10 * 60_000;

type Owner = Pick<Project, "id">;

/** A page of records, newest first. A search that reads much and finds little answers a short page with `next`. */
export async function listAudit(platform: Platform, project: Owner, query: AuditQuery): Promise<{ items: AuditRecord[]; next?: string }> {
  const items: AuditRecord[] = [];
  let before = query.after === undefined ? Infinity : Number(query.after);
  let read = 0;
  let after = before === Infinity ? undefined : auditKey(project.id, before);
  for (;;) {
    const page = { limit: PAGE, descending: true, ...(after === undefined ? {} : { after }) };
    const rows = await platform.tables.range<AuditSegment>(AUDIT, `${project.id}/`, page);
    for (const { key, value } of rows) {
      after = key;
      for (const line of value.lines.toReversed()) {
        const record = JSON.parse(line) as AuditRecord;
        if (record.seq >= before) continue;
        if (items.length === query.limit || read > RECORDS_READ) return { items, next: String(before) };
        read += 1;
        before = record.seq;
        if (matches(record, query)) items.push(record);
      }
    }
    if (rows.length < PAGE) return { items };
  }
}

/** The whole chain as lines, first where it begins if its oldest records were let go, and last the head that was signed before the first line was read. */
export async function* exportAudit(platform: Platform, project: Owner): AsyncGenerator<string> {
  const signed = await signedHead(platform, project);
  const base = await readBase(platform, project.id);
  if (base) yield `${JSON.stringify(base)}\n`;
  let after: string | undefined;
  for (;;) {
    const page = { limit: PAGE, ...(after === undefined ? {} : { after }) };
    const rows = await platform.tables.range<AuditSegment>(AUDIT, `${project.id}/`, page);
    for (const { key, value } of rows) {
      after = key;
      // Whole segments are written, so that a head and a base are always the end of one.
      if (value.last <= signed.head.seq && value.last > (base?.base.seq ?? 0)) yield `${value.lines.join("\n")}\n`;
    }
    if (rows.length < PAGE || (rows.at(-1)?.value.last ?? 0) >= signed.head.seq) break;
  }
  yield `${JSON.stringify(signed)}\n`;
}

export async function signedHead(platform: Platform, project: Owner): Promise<SignedHead> {
  const { seq, hash } = await platform.audit.head(project.id);
  const at = new Date(platform.clock.now()).toISOString();
  const head = { project: project.id, seq, hash, at, keyId: keyIdOf(platform.vault.publicKey()) };
  return { head, signature: platform.vault.sign(headMessage(head)) };
}

/**
 * Puts the signed head of a project among the objects, under its own place and never again: a bucket that keeps what is
 * below `audit-anchors/` for its time of retention keeps it from us too. True when there was something to anchor.
 */
export async function anchorHead(platform: Platform, project: Owner): Promise<boolean> {
  const { seq } = await platform.audit.head(project.id);
  const known = await platform.tables.get<{ seq: number; atMs: number }>(ANCHORS, project.id);
  const now = platform.clock.now();
  const isNew = seq - (known?.value.seq ?? 0);
  if (isNew === 0 || (isNew < ANCHOR_RECORDS && now - (known?.value.atMs ?? 0) < ANCHOR_MS)) return false;
  const signed = await signedHead(platform, project);
  const key = anchorKey(project.id, signed.head.seq);
  const body = new Blob([JSON.stringify(signed)]).stream();
  if (!(await platform.objects.head(key))) await platform.objects.put(key, body, { maxBytes: ANCHOR_BYTES, mediaType: "application/json" });
  await platform.tables.put(ANCHORS, project.id, { seq: signed.head.seq, atMs: now });
  return true;
}

export async function listAnchors(
  platform: Platform,
  project: Owner,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: SignedHead[]; next?: string }> {
  const prefix = anchorPrefix(project.id);
  const page = { limit: query.limit + 1, ...(query.after === undefined ? {} : { after: prefix + query.after }) };
  const found = await platform.objects.list(prefix, page);
  const shown = found.slice(0, query.limit);
  const items: SignedHead[] = [];
  for (const { key } of shown) {
    const object = await platform.objects.get(key);
    if (object) items.push(SignedHead.parse(await new Response(object.body).json()));
  }
  const last = shown.at(-1);
  return found.length > shown.length && last ? { items, next: last.key.slice(prefix.length) } : { items };
}

function anchorPrefix(projectId: string): string {
  return `audit-anchors/${projectId}/`;
}

function anchorKey(projectId: string, seq: number): string {
  return `${anchorPrefix(projectId)}${String(seq).padStart(15, "0")}.json`;
}

function matches(record: AuditRecord, query: AuditQuery): boolean {
  if (query.action !== undefined && record.action !== query.action) return false;
  if (query.actor !== undefined && record.actor.id !== query.actor) return false;
  if (query.resource !== undefined && record.resource?.id !== query.resource) return false;
  if (query.decision !== undefined && record.decision !== query.decision) return false;
  if (query.traceId !== undefined && record.traceId !== query.traceId) return false;
  if (query.since !== undefined && Date.parse(record.at) < Date.parse(query.since)) return false;
  return query.until === undefined || Date.parse(record.at) < Date.parse(query.until);
}
