import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { type Recording, RECORDING_MEDIA_TYPE, type RecordingPage, type RecordingQuery } from "#contract/recording.ts";
import { type ArtifactRow, findArtifact } from "./artifact-rows.ts";
import { deleteArtifact, keepBody } from "./artifacts.ts";
import { withDuration } from "./matroska.ts";
import type { Platform, Row } from "./ports.ts";
import { ownRow, rowKey, type SandboxRow } from "./sandbox-rows.ts";

const RECORDINGS = "recordings";
/** Those that still have to be kept as artifacts, by the key of their row. */
export const OPEN_RECORDINGS = "recordings-open";
/** Who says nothing for so long records no more: whoever finds it finishes it. */
const LEASE_MS = 60_000;
const PAGE = 200;

/** What says that a recording is not kept yet, from before its own row on. */
export type OpenRow = Row<{ atMs: number }>;

/** One video. Its bytes are chunks until it is whole, and then those of an artifact whose id is chosen before. */
export interface RecordingRow {
  projectId: string;
  sandboxId: string;
  taskId: string;
  filename: string;
  startedAtMs: number;
  lastAtMs: number;
  chunks: number;
  sizeBytes: number;
  artifactId: string;
  kept: boolean;
}

/** Begins a video under the next name that is free. What lets the sweep find it is written before its row. */
export async function beginRecording(platform: Platform, sandbox: SandboxRow, startedAtMs: number): Promise<Row<RecordingRow>> {
  const { projectId, id: sandboxId, taskId } = sandbox;
  const artifactId = newId(startedAtMs);
  for (let segment = 1; segment <= LIMITS.recordingsPerSandbox; segment += 1) {
    const filename = nameOf(startedAtMs, segment);
    const key = recordingKey(projectId, sandboxId, filename);
    if (await platform.tables.get(RECORDINGS, key)) continue;
    await platform.tables.put(OPEN_RECORDINGS, key, { atMs: platform.clock.now() });
    const facts = { filename, startedAtMs, lastAtMs: platform.clock.now(), chunks: 0, sizeBytes: 0, artifactId, kept: false };
    return platform.tables.put<RecordingRow>(RECORDINGS, key, { projectId, sandboxId, taskId, ...facts }, { ifVersion: "absent" });
  }
  throw new Problem("conflict", { detail: "Every name of a recording of this second is taken", sandboxId });
}

/** Keeps more of a video. The row says so first, so that nobody else takes it for one that nobody makes any more. */
export async function addChunk(platform: Platform, row: Row<RecordingRow>, bytes: Buffer): Promise<Row<RecordingRow>> {
  const { chunks, sizeBytes } = row.value;
  const changed = { ...row.value, lastAtMs: platform.clock.now(), chunks: chunks + 1, sizeBytes: sizeBytes + bytes.byteLength };
  const told = await platform.tables.put<RecordingRow>(RECORDINGS, row.key, changed, { ifVersion: row.version });
  const bound = { maxBytes: bytes.byteLength, mediaType: RECORDING_MEDIA_TYPE };
  await platform.objects.put(chunkKey(row.key, chunks), ReadableStream.from([bytes]), bound);
  return told;
}

/**
 * Makes an artifact of a video that nobody makes any more. Whoever does says so in the row first; a crash leaves it open,
 * and doing it again is doing it once.
 */
export async function keepRecording(platform: Platform, key: string): Promise<void> {
  let row = await platform.tables.get<RecordingRow>(RECORDINGS, key);
  if (row && row.value.chunks === 0) await platform.tables.remove(RECORDINGS, key, { ifVersion: row.version });
  else if (row && !row.value.kept) {
    const { projectId, sandboxId, taskId, filename, artifactId: id, startedAtMs, lastAtMs: endedAtMs } = row.value;
    row = await platform.tables.put(RECORDINGS, key, { ...row.value, lastAtMs: platform.clock.now() }, { ifVersion: row.version });
    const about = { id, sandboxId, taskId, name: filename, mediaType: RECORDING_MEDIA_TYPE, path: "" };
    const body = ReadableStream.from(chunksOf(platform, key, endedAtMs - startedAtMs));
    const { sizeBytes } = await keepBody(platform, projectId, about, body);
    await platform.tables.put(RECORDINGS, key, { ...row.value, sizeBytes, lastAtMs: endedAtMs, kept: true }, { ifVersion: row.version });
  }
  for await (const { key: chunk } of chunkInfos(platform, key)) await platform.objects.remove(chunk);
  await platform.tables.remove(OPEN_RECORDINGS, key);
}

/** Finishes one that was left open by somebody who crashed; false while it may still go on. */
export async function finishRecording(platform: Platform, { key, value }: OpenRow): Promise<boolean> {
  const row = await platform.tables.get<RecordingRow>(RECORDINGS, key);
  if (platform.clock.now() < (row?.value.lastAtMs ?? value.atMs) + LEASE_MS) return false;
  await keepRecording(platform, key);
  return true;
}

/** A page of a sandbox's videos, oldest first; those whose artifact was deleted are gone. */
export async function listRecordings(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  { page, page_size: size }: RecordingQuery,
): Promise<RecordingPage> {
  await ownRow(platform, project, sandboxId);
  const there: Recording[] = [];
  for (const { value } of await recordingRows(platform, project.id, sandboxId)) {
    if (!value.kept || (await findArtifact(platform, project.id, value.artifactId))) there.push(shown(value));
  }
  return { recordings: there.slice((page - 1) * size, page * size), total: there.length, page, page_size: size };
}

/** Opens a video: the artifact that it became, or, of one that goes on, as much as there is. */
export async function openRecording(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  filename: string,
): Promise<ArtifactRow | ReadableStream<Uint8Array>> {
  const { key, value } = await ownRecording(platform, project, sandboxId, filename);
  if (!value.kept) return ReadableStream.from(chunksOf(platform, key, value.lastAtMs - value.startedAtMs));
  const kept = await findArtifact(platform, project.id, value.artifactId);
  if (!kept) throw recordingNotFound(sandboxId, filename);
  return kept;
}

/** Deletes a video, and its artifact with it. */
export async function deleteRecording(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  filename: string,
): Promise<void> {
  const { key, version, value } = await ownRecording(platform, project, sandboxId, filename);
  if (!value.kept) throw new Problem("conflict", { detail: `${filename} is still being recorded`, next: "Disconnect, then delete it." });
  await deleteArtifact(platform, project, value.artifactId).catch((error: unknown) => {
    if (!(error instanceof Problem && error.code === "artifact_not_found")) throw error;
  });
  await platform.tables.remove(RECORDINGS, key, { ifVersion: version });
}

/** Refuses one more video where a sandbox's have all the room that they may have. */
export async function checkRoom(platform: Platform, projectId: string, sandboxId: string): Promise<void> {
  const rows = await recordingRows(platform, projectId, sandboxId);
  const usedBytes = rows.reduce((sum, { value }) => sum + value.sizeBytes, 0);
  const { recordingsBytes: limitBytes, recordingsPerSandbox: limit } = LIMITS;
  if (usedBytes < limitBytes && rows.length < limit) return;
  const detail = `The recordings of a sandbox are ${limit} at most, and ${limitBytes} bytes together`;
  throw new Problem("quota_exceeded", {
    detail,
    sandboxId,
    usedBytes,
    limitBytes,
    next: "Delete recordings, or connect without `recording`.",
  });
}

async function recordingRows(platform: Platform, projectId: string, sandboxId: string): Promise<Row<RecordingRow>[]> {
  return platform.tables.range<RecordingRow>(RECORDINGS, recordingKey(projectId, sandboxId, ""), {
    limit: 2 * LIMITS.recordingsPerSandbox,
  });
}

async function ownRecording(
  platform: Platform,
  project: Pick<Project, "id">,
  sandboxId: string,
  filename: string,
): Promise<Row<RecordingRow>> {
  await ownRow(platform, project, sandboxId);
  const row = /^[\w.]{1,64}$/.test(filename)
    ? await platform.tables.get<RecordingRow>(RECORDINGS, recordingKey(project.id, sandboxId, filename))
    : undefined;
  if (!row) throw recordingNotFound(sandboxId, filename);
  return row;
}

/** The bytes of a video that is not an artifact yet, with its duration where it says one. */
async function* chunksOf(platform: Platform, key: string, durationMs: number): AsyncGenerator<Uint8Array> {
  let first = true;
  for await (const info of chunkInfos(platform, key)) {
    const chunk = await platform.objects.get(info.key);
    if (!chunk) throw new Problem("conflict", { detail: "The recording has just become an artifact" });
    for await (const bytes of chunk.body) {
      yield first ? withDuration(bytes, durationMs) : bytes;
      first = false;
    }
  }
}

async function* chunkInfos(platform: Platform, key: string): AsyncGenerator<{ key: string }> {
  let after: string | undefined;
  for (;;) {
    const infos = await platform.objects.list(`${chunkPrefix(key)}/`, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    yield* infos;
    after = infos.at(-1)?.key;
    if (infos.length < PAGE) return;
  }
}

function shown({ filename, sizeBytes, startedAtMs, lastAtMs, kept, artifactId }: RecordingRow): Recording {
  return {
    filename,
    size: sizeBytes,
    state: kept ? "recorded" : "recording",
    startedAt: new Date(startedAtMs).toISOString(),
    endedAt: new Date(lastAtMs).toISOString(),
    ...(kept ? { artifactId } : {}),
  };
}

/** A name such as AgentRun gives, in the order of time. */
function nameOf(atMs: number, segment: number): string {
  const [date = "", time = ""] = new Date(atMs).toISOString().slice(0, 19).replace(/[-:]/g, "").split("T");
  return `vnc_global_${date}_${time}_seg${String(segment).padStart(3, "0")}.mkv`;
}

function recordingKey(projectId: string, sandboxId: string, filename: string): string {
  return `${rowKey(projectId, sandboxId)}/${filename}`;
}

function chunkPrefix(key: string): string {
  return `recordings/${key}`;
}

function chunkKey(key: string, index: number): string {
  return `${chunkPrefix(key)}/${String(index).padStart(6, "0")}`;
}

function recordingNotFound(sandboxId: string, filename: string): Problem {
  return new Problem("recording_not_found", { detail: `No such recording: ${filename}`, sandboxId, filename });
}
