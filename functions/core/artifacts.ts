import type { Artifact, ArtifactQuery, KeepArtifact } from "#contract/artifact.ts";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { ceilingOf, giveBack, type Held, markUncounted, Reservation } from "./artifact-quotas.ts";
import {
  artifactKey,
  ARTIFACTS,
  type ArtifactRow,
  INTENTS,
  type IntentRow,
  nameKeyOf,
  nextVersion,
  ownArtifact,
  putName,
  removeName,
  toArtifact,
  versionsOf,
} from "./artifact-rows.ts";
import { requireFree, retentionOf } from "./artifact-retention.ts";
import { openSource } from "./artifact-source.ts";
import { claimBlob, releaseBlob } from "./blobs.ts";
import { dueTime } from "./due.ts";
import { settledType, withHead } from "./media-types.ts";
import { drawPicture, isDrawn, keepPicture, removePicture } from "./pictures.ts";
import type { Platform } from "./ports.ts";
import { ownRow, unlessConflict } from "./sandbox-rows.ts";
import { span } from "./span.ts";

const KEEP_MAX_MS = 60 * 60_000;
const COLLECT_AFTER_MS = 2 * KEEP_MAX_MS;
const PAGE = 200;
const PAGES_READ = 10;

/** Keeps a file or a directory of a sandbox: streams it out while hashing it, moves it to its content's place, and writes its row last. */
export async function keepArtifact(
  platform: Platform,
  project: Project,
  sandboxId: string,
  spec: KeepArtifact,
  signal?: AbortSignal,
): Promise<Artifact> {
  const retainUntil = retentionOf(platform, spec.retainUntil);
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  const facts = { kind: "artifact", name: "keep artifact", attributes: { path: spec.path } } as const;
  return span(platform, sandbox, facts, async ({ traceId, spanId }) => {
    const bounded = AbortSignal.any([AbortSignal.timeout(KEEP_MAX_MS), ...(signal ? [signal] : [])]);
    const source = await openSource(platform, project, sandboxId, spec.path, bounded);
    const about: About = {
      sandboxId,
      taskId: sandbox.taskId,
      traceId,
      spanId,
      name: spec.name ?? baseName(spec.path),
      kind: source.kind,
      path: spec.path,
      ...(spec.mediaType === undefined ? {} : { stated: spec.mediaType }),
      ...(retainUntil === undefined ? {} : { retainUntil }),
      ...(source.sizeBytes === undefined ? {} : { sizeBytes: source.sizeBytes }),
      most: ceilingOf(project.quota),
      verify: source.verify,
      draw: async (head) =>
        source.kind === "file" && isDrawn(head, spec.path) ? drawPicture(platform, project, sandboxId, spec.path, bounded) : undefined,
    };
    return keepBody(platform, project.id, about, source.body, bounded);
  });
}

/**
 * What an artifact is beside its bytes; who may begin to keep the same thing twice says its id. A `mediaType` is one that
 * the platform knows; a caller's word is `stated`. `most` is what the project may have; without it the artifact is counted and never refused.
 */
export interface About extends Partial<Pick<Artifact, "sandboxId" | "taskId" | "traceId" | "spanId" | "kind" | "retainUntil">> {
  id?: string;
  name: string;
  path: string;
  mediaType?: string;
  stated?: string;
  /** Where it is known before: what comes must be exactly so much. */
  sizeBytes?: number;
  most?: Held;
  /** The place and the bytes are held already, by an upload. */
  reserved?: boolean;
  /** Looks, once all bytes came, whether they are what they are to be. */
  verify?: (kept: { sizeBytes: number; sha256: string; key: string }) => Promise<void> | void;
  /** Has a small picture drawn of what begins so, before it is verified that it stood still. */
  draw?: (head: Uint8Array) => Promise<Buffer | undefined>;
}

/** Bytes on their way to be an artifact's: put under a key, with what they turned out to be. */
interface Taken {
  sizeBytes: number;
  sha256: string;
  head: Uint8Array;
}

/** Keeps bytes as an artifact, whoever has them. Of two who keep one id at once, one makes the artifact and both answer it. */
export async function keepBody(
  platform: Platform,
  projectId: string,
  about: About,
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): Promise<Artifact> {
  try {
    return await keepTaken(platform, projectId, about, async (key, share) => {
      let head: Uint8Array = new Uint8Array();
      const watched = withHead(share ? share.passed(body) : body, (bytes) => (head = bytes));
      const bound = { maxBytes: about.sizeBytes ?? LIMITS.uploadBytes, mediaType: "application/octet-stream" };
      return { ...(await platform.objects.put(key, ReadableStream.from(watched), bound, signal)), head };
    });
  } finally {
    if (!body.locked) await body.cancel().catch(() => {});
  }
}

/** The same for bytes that `take` puts under a key, which is the artifact's own until it has its place. */
export async function keepTaken(
  platform: Platform,
  projectId: string,
  { id: given, ...about }: About,
  take: (key: string, share: Reservation | undefined) => Promise<Taken>,
): Promise<Artifact> {
  const now = platform.clock.now();
  const id = given ?? newId(now);
  const intentKey = `${dueTime(now)}/${id}/${newId(now)}`;
  const intent: IntentRow = { projectId, artifactId: id };
  const note = async (change: Partial<IntentRow>) => {
    await platform.tables.put(INTENTS, intentKey, Object.assign(intent, change));
  };
  const share = new Reservation(platform, projectId, about.most, (heldBytes) => note({ heldBytes }));
  try {
    await note({});
    if (!about.reserved) await share.begin(about.sizeBytes ?? 0);
    const kept = await take(incomingKey(intent), about.reserved ? undefined : share);
    if (about.sizeBytes !== undefined && kept.sizeBytes !== about.sizeBytes) throw new Problem("file_changed", { path: about.path });
    const drawn = await about.draw?.(kept.head);
    await about.verify?.({ ...kept, key: incomingKey(intent) });
    if (!about.reserved) await share.settle(kept.sizeBytes);
    await note({ sha256: kept.sha256 });
    const objectKey = await claimBlob(platform, projectId, kept.sha256, id);
    if (!(await platform.objects.move(incomingKey(intent), objectKey)) && !(await platform.objects.head(objectKey)))
      throw new Problem("conflict", { detail: "Somebody else who kept the same took the bytes away", artifactId: id });
    const version = await nextVersion(platform, projectId, about.name);
    const nameKey = nameKeyOf(projectId, about.name, version);
    await note({ nameKey });
    await putName(platform, nameKey, id);
    const picture = await keepPicture(platform, projectId, id, drawn);
    const artifact = { ...describe(id, about, { ...kept, version, now }), ...(picture ? { picture } : {}) };
    await platform.tables.put<ArtifactRow>(
      ARTIFACTS,
      artifactKey(projectId, id),
      { artifact, objectKey, deleting: false },
      { ifVersion: "absent" },
    );
    await platform.tables.remove(INTENTS, intentKey);
    const { sandboxId, sizeBytes } = artifact;
    if (sandboxId !== undefined) platform.counts.count({ projectId, id: sandboxId }, { artifact_bytes: sizeBytes });
    platform.log.event("artifact.kept", { artifactId: id, projectId, sandboxId, sizeBytes });
    return artifact;
  } catch (error) {
    const kept = given === undefined ? undefined : await platform.tables.get<ArtifactRow>(ARTIFACTS, artifactKey(projectId, given));
    await share.cancel().catch(() => {});
    await collectIntent(platform, intentKey).catch(() => {});
    if (kept) return toArtifact(kept.value);
    throw error;
  }
}

function describe(id: string, about: Omit<About, "id">, kept: Taken & { version: number; now: number }): Artifact {
  const { name, path, kind = "file", sandboxId, taskId, traceId, spanId, retainUntil, stated } = about;
  const { version, sizeBytes, sha256, head, now } = kept;
  const mediaType = about.mediaType ?? settledType(head, name, stated);
  const place = { sandboxId, taskId, traceId, spanId, retainUntil };
  const told = Object.fromEntries(Object.entries(place).filter(([, value]) => value !== undefined));
  return { id, name, version, kind, sizeBytes, sha256, mediaType, ...told, path, hold: false, createdAt: new Date(now).toISOString() };
}

export async function getArtifact(platform: Platform, project: Pick<Project, "id">, id: string): Promise<Artifact> {
  return toArtifact((await ownArtifact(platform, project.id, id)).value);
}

/** A page of what was kept, newest first; of one name, its versions. */
export async function listArtifacts(
  platform: Platform,
  project: Pick<Project, "id">,
  query: ArtifactQuery,
): Promise<{ items: Artifact[]; next?: string }> {
  if (query.name !== undefined) return listVersions(platform, project.id, query.name, query);
  if (query.version !== undefined) throw new Problem("invalid_request", { detail: "query.version: is of a name; say `name` too" });
  const prefix = artifactKey(project.id, "");
  const items: Artifact[] = [];
  let cursor = query.after === undefined ? undefined : prefix + query.after;
  const next = () => (cursor === undefined ? { items } : { items, next: cursor.slice(prefix.length) });
  for (let pages = 0; pages < PAGES_READ; pages += 1) {
    const rows = await platform.tables.range<ArtifactRow>(ARTIFACTS, prefix, {
      limit: PAGE,
      descending: true,
      ...(cursor === undefined ? {} : { after: cursor }),
    });
    for (const { key, value } of rows) {
      const wanted = !value.deleting && matches(value.artifact, query);
      if (wanted && items.length === query.limit) return next();
      if (wanted) items.push(toArtifact(value));
      cursor = key;
    }
    if (rows.length < PAGE) return { items };
  }
  return next();
}

async function listVersions(
  platform: Platform,
  projectId: string,
  name: string,
  { version, limit, after, ...query }: ArtifactQuery,
): Promise<{ items: Artifact[]; next?: string }> {
  const items: Artifact[] = [];
  let last = "";
  for await (const { artifact, cursor } of versionsOf(platform, projectId, name, after)) {
    if (items.length === (version === "latest" ? 1 : limit)) return version === undefined ? { items, next: last } : { items };
    if (typeof version === "number" && artifact.version < version) break;
    if (matches(artifact, query) && (typeof version !== "number" || artifact.version === version)) items.push(artifact);
    last = cursor;
  }
  return { items };
}

/** Deletes an artifact, and the bytes when no other has the same. Of two who delete it at once, one finds it gone. */
export async function deleteArtifact(platform: Platform, project: Pick<Project, "id">, id: string): Promise<void> {
  const row = await ownArtifact(platform, project.id, id);
  const { sha256, sizeBytes, name, version, hold, retainUntil } = toArtifact(row.value);
  const now = platform.clock.now();
  requireFree({ hold, retainUntil }, now);
  const intentKey = `${dueTime(now)}/${id}/${newId(now)}`;
  const intent: IntentRow = { projectId: project.id, artifactId: id, sha256, nameKey: nameKeyOf(project.id, name, version) };
  await platform.tables.put<IntentRow>(INTENTS, intentKey, intent);
  const turned = await unlessConflict(
    platform.tables.put(ARTIFACTS, row.key, { ...row.value, deleting: true }, { ifVersion: row.version }),
  );
  if (!turned) {
    await platform.tables.remove(INTENTS, intentKey);
    // Whoever was faster deleted it, or put it under a hold.
    await ownArtifact(platform, project.id, id);
    throw new Problem("conflict", { artifactId: id });
  }
  await giveBack(platform, project.id, { artifacts: 1, sizeBytes });
  await collectIntent(platform, intentKey);
}

/** Finishes what keeping or deleting left undone hours ago: at most `limit` of it. Answers how much it was. */
export async function collectIntents(platform: Platform, limit: number): Promise<number> {
  const rows = await platform.tables.range<IntentRow>(INTENTS, "", { limit });
  const due = rows.filter((row) => row.key < dueTime(platform.clock.now() - COLLECT_AFTER_MS));
  for (const row of due) {
    await collectIntent(platform, row.key);
    await markUncounted(platform, row.value.projectId);
  }
  return due.length;
}

async function collectIntent(platform: Platform, key: string): Promise<void> {
  const intent = (await platform.tables.get<IntentRow>(INTENTS, key))?.value;
  if (!intent) return;
  const { projectId, artifactId, sha256, nameKey } = intent;
  const row = await platform.tables.get<ArtifactRow>(ARTIFACTS, artifactKey(projectId, artifactId));
  const isGone = !row || row.value.deleting;
  await platform.objects.remove(incomingKey(intent));
  if (nameKey !== undefined && (isGone || nameKeyOf(projectId, row.value.artifact.name, row.value.artifact.version) !== nameKey))
    await removeName(platform, nameKey);
  if (sha256 !== undefined && isGone) await releaseBlob(platform, projectId, sha256, artifactId);
  if (isGone) await removePicture(platform, projectId, artifactId);
  if (row?.value.deleting) await platform.tables.remove(ARTIFACTS, row.key);
  await platform.tables.remove(INTENTS, key);
}

function matches(artifact: Artifact, query: Pick<ArtifactQuery, "sandboxId" | "taskId">): boolean {
  return (
    (query.sandboxId === undefined || artifact.sandboxId === query.sandboxId) &&
    (query.taskId === undefined || artifact.taskId === query.taskId)
  );
}

function incomingKey(intent: Pick<IntentRow, "projectId" | "artifactId">): string {
  return `incoming/${intent.projectId}/${intent.artifactId}`;
}

function baseName(path: string): string {
  return path.split("/").findLast((part) => part !== "") ?? "file";
}
