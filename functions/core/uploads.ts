import type { Artifact } from "#contract/artifact.ts";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import type { CreateUpload, Upload, UploadPart, UploadQuery } from "#contract/upload.ts";
import { signPart } from "./artifact-links.ts";
import { ceilingOf, giveBack, markUncounted, Reservation } from "./artifact-quotas.ts";
import { artifactKey, ARTIFACTS, type ArtifactRow, toArtifact, UPLOADS, type UploadRow } from "./artifact-rows.ts";
import { retentionOf } from "./artifact-retention.ts";
import { type About, keepBody, keepTaken } from "./artifacts.ts";
import { dueTime } from "./due.ts";
import type { Platform, Row } from "./ports.ts";
import { unlessConflict } from "./sandbox-rows.ts";
import { ownTask } from "./task-rows.ts";
import {
  bytesOf,
  copyPart,
  objectPrefix,
  type PartRow,
  placePart,
  receivedParts,
  removePart,
  removeParts,
  roomFor,
} from "./upload-parts.ts";

const DUES = "upload-dues";
const PAGE = 200;

type Owner = Pick<Project, "id">;

/**
 * Begins an upload. What makes the sweep find it is written first, then the upload, and then its share of the quotas is
 * taken: a crash leaves an upload that the sweep gives up.
 */
export async function createUpload(platform: Platform, project: Project, spec: CreateUpload): Promise<Upload> {
  const now = platform.clock.now();
  if (spec.taskId !== undefined) await ownTask(platform, project.id, spec.taskId);
  const { name, sizeBytes, mediaType, taskId } = spec;
  const retainUntil = retentionOf(platform, spec.retainUntil);
  const expiresAtMs = now + LIMITS.uploadLifeMs;
  const upload: UploadRow["upload"] = {
    id: newId(now),
    name,
    sizeBytes,
    ...(mediaType === undefined ? {} : { mediaType }),
    ...(taskId === undefined ? {} : { taskId }),
    ...(retainUntil === undefined ? {} : { retainUntil }),
    artifactId: newId(now),
    createdAt: new Date(now).toISOString(),
    expiresAt: new Date(expiresAtMs).toISOString(),
  };
  const row: UploadRow = { upload, projectId: project.id, state: "open", expiresAtMs };
  await platform.tables.put(DUES, dueKeyOf(row), { projectId: project.id, id: upload.id });
  const written = await platform.tables.put<UploadRow>(UPLOADS, uploadKey(project.id, upload.id), row, { ifVersion: "absent" });
  const share = new Reservation(platform, project.id, ceilingOf(project.quota), async () => {});
  try {
    await share.begin(sizeBytes);
  } catch (error) {
    await share.cancel();
    await removeUpload(platform, written);
    throw error;
  }
  return { ...upload, receivedBytes: 0, parts: [] };
}

export async function getUpload(platform: Platform, project: Owner, id: string): Promise<Upload> {
  const { value } = await ownUpload(platform, project.id, id);
  const parts = (await receivedParts(platform, value)).map(({ objectKey: _key, promised: _promised, ...part }) => part);
  return { ...value.upload, receivedBytes: parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), parts };
}

/** A page of what is under way, oldest first. */
export async function listUploads(
  platform: Platform,
  project: Owner,
  query: UploadQuery,
): Promise<{ items: UploadRow["upload"][]; next?: string }> {
  const prefix = uploadKey(project.id, "");
  const items: UploadRow["upload"][] = [];
  let after = query.after === undefined ? undefined : prefix + query.after;
  for (;;) {
    const rows = await platform.tables.range<UploadRow>(UPLOADS, prefix, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const { value } of rows) {
      if (value.state === "ended") continue;
      const last = items.at(-1);
      if (items.length === query.limit && last) return { items, next: last.id };
      items.push(value.upload);
    }
    after = rows.at(-1)?.key;
    if (rows.length < PAGE) return { items };
  }
}

/**
 * A link by which anybody may send one part of exactly one size until a moment: straight to the store where it has a
 * door, else through the gateway, whose address `path` lacks.
 */
export async function linkPart(
  platform: Platform,
  project: Owner,
  asked: { uploadId: string; part: number; sizeBytes: number },
  lifetimeMs: number,
): Promise<{ url?: string; path: string; expiresAt: string }> {
  const { value } = await ownUpload(platform, project.id, asked.uploadId);
  const { part, sizeBytes } = asked;
  if ((await roomFor(platform, value, part)) < sizeBytes) throw tooLarge(value);
  const objectKey = `${objectPrefix(value)}${part}-${newId(platform.clock.now())}`;
  const direct = platform.objects.uploadLink(objectKey, { sizeBytes, expiresAtMs: platform.clock.now() + lifetimeMs });
  if (direct) await placePart(platform, value, { part, sizeBytes, objectKey, promised: true });
  return { ...signPart(platform, project.id, asked, lifetimeMs), ...(direct ? { url: direct.url } : {}) };
}

/** Takes one part: its bytes first, whole or not at all, then what says so. A part that is sent again replaces the one before. */
export async function putPart(
  platform: Platform,
  projectId: string,
  { uploadId, part, sizeBytes: exact }: { uploadId: string; part: number; sizeBytes?: number },
  body: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): Promise<UploadPart> {
  try {
    const { value } = await ownUpload(platform, projectId, uploadId);
    const objectKey = `${objectPrefix(value)}${part}-${newId(platform.clock.now())}`;
    const room = await roomFor(platform, value, part);
    if (room < (exact ?? 0)) throw tooLarge(value);
    const bound = { maxBytes: exact ?? room, mediaType: "application/octet-stream" };
    const received = await platform.objects.put(objectKey, body, bound, signal);
    const refusal = exact !== undefined && received.sizeBytes !== exact ? notSo(exact, received.sizeBytes) : undefined;
    const row: PartRow = { part, ...received, objectKey };
    const before = refusal ? undefined : await placePart(platform, value, row);
    // Whoever ended the upload meanwhile has looked through its parts, and did not see this one.
    const ended =
      refusal ??
      (await ownUpload(platform, projectId, uploadId).then(
        () => undefined,
        (error: unknown) => error,
      ));
    const stale = ended ? objectKey : before;
    if (stale !== undefined) await platform.objects.remove(stale);
    if (ended) throw ended;
    // Parts that come at once do not see each other before they are there.
    if ((await roomFor(platform, value, part)) < received.sizeBytes) {
      await removePart(platform, value, row);
      throw tooLarge(value);
    }
    return { part, ...received };
  } finally {
    if (!body.locked) await body.cancel().catch(() => {});
  }
}

/**
 * Makes the artifact of the parts. Its id is as old as the upload, so that completing again, at once or after a crash,
 * makes or finds the same one; the parts go once it is there.
 */
export async function completeUpload(
  platform: Platform,
  project: Owner,
  id: string,
  expected: { sha256?: string | undefined },
  signal?: AbortSignal,
): Promise<Artifact> {
  const row = await platform.tables.get<UploadRow>(UPLOADS, uploadKey(project.id, id));
  if (!row) throw uploadNotFound(id);
  const { artifactId, name, sizeBytes, mediaType, taskId, retainUntil } = row.value.upload;
  const made = await platform.tables.get<ArtifactRow>(ARTIFACTS, artifactKey(project.id, artifactId));
  if (made && !made.value.deleting) {
    await finish(platform, row);
    return toArtifact(made.value);
  }
  if (row.value.state === "ended") throw uploadNotFound(id);
  const parts = await receivedParts(platform, row.value);
  requireWhole(parts, row.value.upload);
  const about: About = {
    id: artifactId,
    name,
    path: "",
    sizeBytes,
    reserved: true,
    ...(mediaType === undefined ? {} : { stated: mediaType }),
    ...(taskId === undefined ? {} : { taskId }),
    ...(retainUntil === undefined ? {} : { retainUntil }),
    verify({ sha256 }) {
      if (expected.sha256 !== undefined && sha256 !== expected.sha256)
        throw new Problem("upload_incomplete", { detail: "The bytes have another hash than the one that was said", sha256 });
    },
  };
  const [only, ...more] = parts;
  const known = only?.sha256 !== undefined && more.length === 0 ? { ...only, sha256: only.sha256 } : undefined;
  const artifact = known
    ? await keepTaken(platform, project.id, about, (key) => copyPart(platform, known, key))
    : await keepBody(platform, project.id, about, ReadableStream.from(bytesOf(platform, parts)), signal);
  await finish(platform, row);
  return artifact;
}

/** Gives an upload up. Of two who do it at once, one finds it gone. */
export async function abortUpload(platform: Platform, project: Owner, id: string): Promise<void> {
  const row = await ownUpload(platform, project.id, id);
  if (!(await endUpload(platform, row))) throw uploadNotFound(id);
}

/** Gives up what nobody completed in its time: at most `limit` of it. Answers how much it was. */
export async function collectUploads(platform: Platform, limit: number): Promise<number> {
  const dues = await platform.tables.range<{ projectId: string; id: string }>(DUES, "", { limit });
  const come = dues.filter(({ key }) => key < dueTime(platform.clock.now()));
  for (const { key, value } of come) {
    const row = await platform.tables.get<UploadRow>(UPLOADS, uploadKey(value.projectId, value.id));
    if (row) await endUpload(platform, row);
    const ended = row && (await platform.tables.get<UploadRow>(UPLOADS, row.key));
    if (ended) await removeUpload(platform, ended);
    await platform.tables.remove(DUES, key);
  }
  return come.length;
}

/**
 * Turns the upload first, so that one gives its share back, and then takes away what it has. The row stays until its time
 * is over: whoever was sending a part at that moment may have left its bytes, and then they go too.
 */
async function endUpload(platform: Platform, row: Row<UploadRow>): Promise<boolean> {
  const { projectId, state, upload } = row.value;
  if (state === "ended") return false;
  const made = await platform.tables.get<ArtifactRow>(ARTIFACTS, artifactKey(projectId, upload.artifactId));
  const turned = await unlessConflict(
    platform.tables.put<UploadRow>(UPLOADS, row.key, { ...row.value, state: "ended" }, { ifVersion: row.version }),
  );
  if (!turned) return false;
  // What became an artifact holds its share on.
  if (!made) await giveBack(platform, projectId, { artifacts: 1, sizeBytes: upload.sizeBytes });
  await removeParts(platform, turned.value);
  return true;
}

/** Takes the parts of a complete upload away. Its row stays until its time is over, so that completing again finds the artifact. */
async function finish(platform: Platform, row: Row<UploadRow>): Promise<void> {
  await removeParts(platform, row.value);
  if (row.value.state === "ended") return;
  const turned = await unlessConflict(
    platform.tables.put<UploadRow>(UPLOADS, row.key, { ...row.value, state: "ended" }, { ifVersion: row.version }),
  );
  // Whoever gave it up at the same moment gave back the share that its artifact holds.
  if (!turned) await markUncounted(platform, row.value.projectId);
}

async function removeUpload(platform: Platform, row: Row<UploadRow>): Promise<void> {
  await removeParts(platform, row.value);
  await platform.tables.remove(UPLOADS, row.key);
  await platform.tables.remove(DUES, dueKeyOf(row.value));
}

function requireWhole(parts: PartRow[], upload: UploadRow["upload"]): void {
  const receivedBytes = parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const gap = parts.findIndex(({ part }, at) => part !== at + 1);
  if (gap < 0 && receivedBytes === upload.sizeBytes) return;
  const detail =
    gap < 0
      ? `The parts have ${receivedBytes} bytes together, and the upload ${upload.sizeBytes}`
      : `Part ${gap + 1} is not there, and part ${parts[gap]?.part} is`;
  throw new Problem("upload_incomplete", { detail, receivedBytes, sizeBytes: upload.sizeBytes, parts: parts.length });
}

async function ownUpload(platform: Platform, projectId: string, id: string): Promise<Row<UploadRow>> {
  const row = await platform.tables.get<UploadRow>(UPLOADS, uploadKey(projectId, id));
  if (!row || row.value.state === "ended") throw uploadNotFound(id);
  return row;
}

function uploadNotFound(id: string): Problem {
  return new Problem("upload_not_found", { detail: `No such upload: ${id}`, uploadId: id });
}

function tooLarge({ upload }: UploadRow): Problem {
  const detail = `All parts together have ${upload.sizeBytes} bytes, as the upload said`;
  return new Problem("body_too_large", { detail, limitBytes: upload.sizeBytes });
}

function notSo(expected: number, sizeBytes: number): Problem {
  return new Problem("invalid_request", {
    detail: `${expected} bytes were to come, and ${sizeBytes} came`,
    expectedBytes: expected,
    sizeBytes,
  });
}

function uploadKey(projectId: string, id: string): string {
  return `${projectId}/${id}`;
}

function dueKeyOf({ projectId, upload, expiresAtMs }: UploadRow): string {
  return `${dueTime(expiresAtMs)}/${projectId}/${upload.id}`;
}
