import type { Artifact, ArtifactQuery, KeepArtifact } from "#contract/artifact.ts";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem, problemFrom } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { claimBlob, releaseBlob } from "./blobs.ts";
import { dueTime } from "./due.ts";
import { mediaTypeOf } from "./media-types.ts";
import type { ObjectInfo, Platform, Row } from "./ports.ts";
import { ownRow, type SandboxRow, unlessConflict } from "./sandbox-rows.ts";
import { span } from "./span.ts";
import { requestSandbox } from "./sandboxes.ts";

const ARTIFACTS = "artifacts";
const INTENTS = "artifact-intents";
const LINK = "artifact-link";
const KEEP_MAX_MS = 60 * 60_000;
const COLLECT_AFTER_MS = 2 * KEEP_MAX_MS;
const PAGE = 200;
const PAGES_READ = 10;

interface ArtifactRow {
  artifact: Artifact;
  objectKey: string;
  deleting: boolean;
}

/** What is being kept or deleted, written first so that a crash leaves nothing behind for good. */
interface IntentRow {
  projectId: string;
  artifactId: string;
  sha256?: string;
}

/** Keeps a file of a sandbox: streams it out while hashing it, moves it to its content's place, and writes its row last. */
export async function keepArtifact(
  platform: Platform,
  project: Project,
  sandboxId: string,
  spec: KeepArtifact,
  signal?: AbortSignal,
): Promise<Artifact> {
  const { value: sandbox } = await ownRow(platform, project, sandboxId);
  const facts = { kind: "artifact", name: "keep artifact", attributes: { path: spec.path } } as const;
  return span(platform, sandbox, facts, () => keepOf(platform, project, sandbox, spec, signal));
}

async function keepOf(
  platform: Platform,
  project: Project,
  sandbox: SandboxRow,
  spec: KeepArtifact,
  signal?: AbortSignal,
): Promise<Artifact> {
  const { id: sandboxId } = sandbox;
  const bounded = AbortSignal.any([AbortSignal.timeout(KEEP_MAX_MS), ...(signal ? [signal] : [])]);
  const body = await openFile(platform, project, sandboxId, spec.path, bounded);
  const name = spec.name ?? baseName(spec.path);
  const about = { sandboxId, taskId: sandbox.taskId, name, mediaType: spec.mediaType ?? mediaTypeOf(name), path: spec.path };
  return keepBody(platform, project.id, about, body, bounded);
}

/** What an artifact is beside its bytes; who may begin to keep the same thing twice says its id. */
export interface About {
  id?: string;
  sandboxId: string;
  taskId: string;
  name: string;
  mediaType: string;
  path: string;
}

/** Keeps bytes as an artifact, whoever has them. Of two who keep one id at once, one makes the artifact and both answer it. */
export async function keepBody(
  platform: Platform,
  projectId: string,
  { id: given, ...about }: About,
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): Promise<Artifact> {
  const now = platform.clock.now();
  const id = given ?? newId(now);
  const intent: IntentRow = { projectId, artifactId: id };
  const intentKey = `${dueTime(now)}/${id}`;
  try {
    await platform.tables.put(INTENTS, intentKey, intent);
    const bound = { maxBytes: LIMITS.uploadBytes, mediaType: about.mediaType };
    const { sizeBytes, sha256 } = await platform.objects.put(incomingKey(intent), body, bound, signal);
    await platform.tables.put(INTENTS, intentKey, { ...intent, sha256 });
    const objectKey = await claimBlob(platform, projectId, sha256, id);
    await platform.objects.move(incomingKey(intent), objectKey);
    const artifact: Artifact = { id, ...about, sizeBytes, sha256, createdAt: new Date(now).toISOString() };
    const row: ArtifactRow = { artifact, objectKey, deleting: false };
    await platform.tables.put<ArtifactRow>(ARTIFACTS, `${projectId}/${id}`, row, { ifVersion: "absent" });
    await platform.tables.remove(INTENTS, intentKey);
    platform.counts.count({ projectId, id: about.sandboxId }, { artifact_bytes: sizeBytes });
    platform.log.event("artifact.kept", { artifactId: id, projectId, sandboxId: about.sandboxId, sizeBytes });
    return artifact;
  } catch (error) {
    if (!body.locked) await body.cancel().catch(() => {});
    await collectIntent(platform, intentKey).catch(() => {});
    const kept = given === undefined ? undefined : await platform.tables.get<ArtifactRow>(ARTIFACTS, `${projectId}/${id}`);
    if (kept) return kept.value.artifact;
    throw error;
  }
}

export async function getArtifact(platform: Platform, project: Pick<Project, "id">, id: string): Promise<Artifact> {
  return (await ownArtifact(platform, project.id, id)).value.artifact;
}

/** A page of what was kept, newest first. */
export async function listArtifacts(
  platform: Platform,
  project: Pick<Project, "id">,
  query: ArtifactQuery,
): Promise<{ items: Artifact[]; next?: string }> {
  const prefix = `${project.id}/`;
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
      if (wanted) items.push(value.artifact);
      cursor = key;
    }
    if (rows.length < PAGE) return { items };
  }
  return next();
}

/** Deletes an artifact, and the bytes when no other has the same. Of two who delete it at once, one finds it gone. */
export async function deleteArtifact(platform: Platform, project: Pick<Project, "id">, id: string): Promise<void> {
  const row = await ownArtifact(platform, project.id, id);
  const { sha256 } = row.value.artifact;
  const now = platform.clock.now();
  const intentKey = `${dueTime(now)}/${id}/${newId(now)}`;
  await platform.tables.put<IntentRow>(INTENTS, intentKey, { projectId: project.id, artifactId: id, sha256 });
  const turned = await unlessConflict(
    platform.tables.put(ARTIFACTS, row.key, { ...row.value, deleting: true }, { ifVersion: row.version }),
  );
  if (!turned) {
    await platform.tables.remove(INTENTS, intentKey);
    throw artifactNotFound(id);
  }
  await collectIntent(platform, intentKey);
}

/** A link by which anybody may download one artifact's bytes until a moment. */
export async function linkArtifact(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  lifetimeMs: number,
): Promise<{ path: string; expiresAt: string }> {
  const { artifact } = (await ownArtifact(platform, project.id, id)).value;
  const expires = String(platform.clock.now() + lifetimeMs);
  const mac = platform.vault.mac(LINK, signed(project.id, artifact, expires));
  const path = `/artifacts/${id}/content?expires=${expires}&ticket=${project.id}.${mac}`;
  return { path, expiresAt: new Date(Number(expires)).toISOString() };
}

/** Opens the bytes that a link is for. The link is checked whole before the store is asked for anything. */
export async function openLinked(
  platform: Platform,
  id: string,
  link: { expires: string; ticket: string },
  range?: { start: number; end?: number },
): Promise<{ artifact: Artifact; info: ObjectInfo; body: ReadableStream<Uint8Array> }> {
  const [projectId = "", mac = "", ...more] = link.ticket.split(".");
  if (more.length > 0 || !/^\d{1,15}$/.test(link.expires) || !/^[A-Za-z0-9]{1,32}$/.test(projectId)) throw new Problem("link_not_valid");
  const { artifact, objectKey } = (await ownArtifact(platform, projectId, id)).value;
  if (!platform.vault.checkMac(LINK, signed(projectId, artifact, link.expires), mac)) throw new Problem("link_not_valid");
  if (Number(link.expires) <= platform.clock.now()) throw new Problem("link_not_valid", { detail: "The link has expired" });
  const found = await platform.objects.get(objectKey, range);
  if (!found) throw artifactNotFound(id);
  return { artifact, ...found };
}

/** Finishes what keeping or deleting left undone hours ago: at most `limit` of it. Answers how much it was. */
export async function collectIntents(platform: Platform, limit: number): Promise<number> {
  const rows = await platform.tables.range<IntentRow>(INTENTS, "", { limit });
  const due = rows.filter((row) => row.key < dueTime(platform.clock.now() - COLLECT_AFTER_MS));
  for (const row of due) await collectIntent(platform, row.key);
  return due.length;
}

async function collectIntent(platform: Platform, key: string): Promise<void> {
  const intent = (await platform.tables.get<IntentRow>(INTENTS, key))?.value;
  if (!intent) return;
  const { projectId, artifactId, sha256 } = intent;
  await platform.objects.remove(incomingKey(intent));
  const row = await platform.tables.get<ArtifactRow>(ARTIFACTS, `${projectId}/${artifactId}`);
  if (sha256 !== undefined && (!row || row.value.deleting)) await releaseBlob(platform, projectId, sha256, artifactId);
  if (row?.value.deleting) await platform.tables.remove(ARTIFACTS, row.key);
  await platform.tables.remove(INTENTS, key);
}

/** What was kept under an id and where its bytes are; undefined when there is none any more. */
export async function findArtifact(platform: Platform, projectId: string, id: string): Promise<ArtifactRow | undefined> {
  const row = await platform.tables.get<ArtifactRow>(ARTIFACTS, `${projectId}/${id}`);
  return row?.value.deleting ? undefined : row?.value;
}

async function ownArtifact(platform: Platform, projectId: string, id: string): Promise<Row<ArtifactRow>> {
  const row = await platform.tables.get<ArtifactRow>(ARTIFACTS, `${projectId}/${id}`);
  if (!row || row.value.deleting) throw artifactNotFound(id);
  return row;
}

async function openFile(
  platform: Platform,
  project: Project,
  sandboxId: string,
  path: string,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const request = new Request(`http://workspace/files/content?path=${encodeURIComponent(path)}`);
  const response = await requestSandbox(platform, project, sandboxId, request, signal);
  if (response.ok && response.body) return response.body;
  const said: unknown = await response.json().catch(() => undefined);
  throw problemFrom(said) ?? new Problem("sandbox_lost", { detail: `The workspace answered ${response.status}`, sandboxId });
}

function matches(artifact: Artifact, query: ArtifactQuery): boolean {
  return (
    (query.sandboxId === undefined || artifact.sandboxId === query.sandboxId) &&
    (query.taskId === undefined || artifact.taskId === query.taskId)
  );
}

function signed(projectId: string, artifact: Artifact, expires: string): string {
  return `${projectId}\n${artifact.id}\n${artifact.sha256}\n${expires}`;
}

function incomingKey(intent: IntentRow): string {
  return `incoming/${intent.projectId}/${intent.artifactId}`;
}

function baseName(path: string): string {
  return path.split("/").findLast((part) => part !== "") ?? "file";
}

function artifactNotFound(id: string): Problem {
  return new Problem("artifact_not_found", { detail: `No such artifact: ${id}`, artifactId: id });
}
