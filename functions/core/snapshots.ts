import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateSandbox, Sandbox } from "#contract/sandbox.ts";
import type { CreateSnapshot, ForkSandbox, Snapshot, SnapshotQuery } from "#contract/snapshot.ts";
import { captureSandbox, type Captured } from "./capture.ts";
import type { Limits } from "./limits.ts";
import type { Platform } from "./ports.ts";
import { ownRow, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";
import { span } from "./span.ts";
import { endSandbox, makeSandbox } from "./sandboxes.ts";
import { finishIntent, putIntent } from "./snapshot-intents.ts";
import { ownSnapshot, snapshotKey, snapshotNotFound, SNAPSHOTS, type SnapshotRow } from "./snapshot-rows.ts";

const PAGE = 200;
const FORKS_AT_ONCE = 4;

/** Keeps all files of a sandbox under a name that no other snapshot of the project has. The row comes last, so that what has a name is whole. */
export async function createSnapshot(
  platform: Platform,
  project: Project,
  sandboxId: string,
  spec: CreateSnapshot,
  signal?: AbortSignal,
): Promise<Snapshot> {
  const { name } = spec;
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  const key = snapshotKey(project.id, name);
  if (await platform.tables.get(SNAPSHOTS, key)) throw nameTaken(name);
  const facts = { kind: "snapshot", name: "take snapshot", attributes: { "snapshot.name": name } } as const;
  const captured = await span(platform, sandbox, facts, () => captureSandbox(platform, project, sandboxId, name, signal));
  try {
    const snapshot = describe(captured, name, sandbox, platform.clock.now());
    const chargedBytes = Math.max(captured.sizeBytes, LIMITS.snapshotLeastBytes);
    const row: SnapshotRow = { snapshot, chargedBytes, deleting: false, settled: false };
    if (!(await unlessConflict(platform.tables.put(SNAPSHOTS, key, row, { ifVersion: "absent" })))) throw nameTaken(name);
    const { sizeBytes, newBytes } = captured;
    platform.log.event("snapshot.kept", { snapshot: name, projectId: project.id, sandboxId, sizeBytes, newBytes });
    return snapshot;
  } finally {
    await finishIntent(platform, captured.intentKey).catch((error: unknown) => {
      // The sweep finishes it; the snapshot is there or is not, whatever becomes of its intent.
      platform.log.event("snapshot.intent_left", { snapshot: name, projectId: project.id, error: String(error) });
    });
  }
}

export async function getSnapshot(platform: Platform, project: Pick<Project, "id">, name: string): Promise<Snapshot> {
  return (await ownSnapshot(platform, project, name)).value.snapshot;
}

/** A page of the project's snapshots, by name. */
export async function listSnapshots(
  platform: Platform,
  project: Pick<Project, "id">,
  query: SnapshotQuery,
): Promise<{ items: Snapshot[]; next?: string }> {
  const prefix = snapshotKey(project.id, "");
  const items: Snapshot[] = [];
  let after = query.after === undefined ? undefined : prefix + query.after;
  for (;;) {
    const page = { limit: PAGE, ...(after === undefined ? {} : { after }) };
    const rows = await platform.tables.range<SnapshotRow>(SNAPSHOTS, prefix, page);
    for (const { value } of rows) {
      if (value.deleting) continue;
      const last = items.at(-1);
      if (items.length === query.limit && last) return { items, next: last.name };
      items.push(value.snapshot);
    }
    after = rows.at(-1)?.key;
    if (rows.length < PAGE) return { items };
  }
}

/** Deletes a snapshot and the bytes that only it had. Of two who delete it at once, one finds it gone. */
export async function deleteSnapshot(platform: Platform, project: Pick<Project, "id">, name: string): Promise<void> {
  const row = await ownSnapshot(platform, project, name);
  const intent = await putIntent(platform, { projectId: project.id, id: row.value.snapshot.id, name });
  const turn = platform.tables.put<SnapshotRow>(SNAPSHOTS, row.key, { ...row.value, deleting: true }, { ifVersion: row.version });
  const turned = await unlessConflict(turn);
  await finishIntent(platform, intent.key);
  if (!turned) throw snapshotNotFound(name);
}

/** Makes sandboxes with the files of one that lives: all of them, or none. */
export async function forkSandbox(
  platform: Platform,
  limits: Limits,
  project: Project,
  sandboxId: string,
  spec: ForkSandbox,
  signal?: AbortSignal,
): Promise<{ items: Sandbox[] }> {
  const { value: source } = await ownRow(platform, project, sandboxId);
  const captured = await captureSandbox(platform, project, sandboxId, undefined, signal);
  try {
    const gaveUp = new AbortController();
    const bounded = AbortSignal.any([gaveUp.signal, ...(signal ? [signal] : [])]);
    const order = { spec: forkSpec(source, spec), origin: { ...captured, template: source.template } };
    const items: Sandbox[] = [];
    const turns = Array.from({ length: spec.count }).values();
    const work = async (): Promise<void> => {
      for (const _turn of turns) {
        if (bounded.aborted) return;
        items.push((await makeSandbox(platform, limits, project, order, bounded)).sandbox);
      }
    };
    const worker = () => work().catch((error: unknown) => gaveUp.abort(error));
    await Promise.all(Array.from({ length: FORKS_AT_ONCE }, worker));
    if (items.length === spec.count && !bounded.aborted) return { items };
    await Promise.allSettled(items.map(({ id }) => endSandbox(platform, project, id, "failed")));
    throw bounded.reason ?? new Problem("internal");
  } finally {
    await finishIntent(platform, captured.intentKey).catch((error: unknown) => {
      platform.log.event("fork.intent_left", { sandboxId, projectId: project.id, error: String(error) });
    });
  }
}

function forkSpec(source: SandboxRow, spec: ForkSandbox): CreateSandbox {
  const { template, metadata, taskId, idleTimeoutMs } = source;
  return { template, metadata, taskId, idleTimeoutMs, environment: spec.environment };
}

function describe(captured: Captured, name: string, sandbox: SandboxRow, nowMs: number): Snapshot {
  const { id, sizeBytes, newBytes, digest, files, skipped } = captured;
  const { id: sandboxId, taskId, template } = sandbox;
  return { id, name, sandboxId, taskId, template, sizeBytes, newBytes, digest, files, skipped, createdAt: new Date(nowMs).toISOString() };
}

function nameTaken(name: string): Problem {
  return new Problem("already_exists", { detail: `A snapshot named ${name} already exists`, snapshot: name });
}
