import type { ArtifactEntry } from "#contract/artifact-content.ts";
import { Problem } from "#contract/problem.ts";
import type { Project } from "#contract/project.ts";
import { type ArtifactRow, artifactNotFound, ownArtifact } from "./artifact-rows.ts";
import type { Platform } from "./ports.ts";
import { entriesOf, type Reader, type TarEntry } from "./tar-entries.ts";

/** Entries that one request looks through at most; a page that ends before says where to go on. */
const LOOKED_AT = 20_000;

/** Reads parts of an object. */
export function readerOf(platform: Platform, objectKey: string): Reader {
  return async (start, end) => {
    const found = await platform.objects.get(objectKey, { start, end });
    if (!found) throw new Problem("artifact_not_found");
    return Buffer.concat(await Array.fromAsync(found.body));
  };
}

/** A page of what a directory holds, in the order of its tar. */
export async function listEntries(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  query: { after?: string | undefined; limit: number },
): Promise<{ items: ArtifactEntry[]; next?: string }> {
  return entriesFrom(platform, await ownDirectory(platform, project, id), Number(query.after ?? 0), query.limit);
}

/** The entries from one header on, with where the next one is when there are more. */
export async function entriesFrom(
  platform: Platform,
  { artifact, objectKey }: ArtifactRow,
  from: number,
  limit: number,
): Promise<{ items: ArtifactEntry[]; next?: string }> {
  const items: ArtifactEntry[] = [];
  let at = from;
  for await (const entry of entriesOf(readerOf(platform, objectKey), artifact.sizeBytes, from)) {
    if (items.length === limit) return { items, next: String(at) };
    at = entry.nextAt;
    if (entry.path !== "") items.push(toEntry(entry));
  }
  return { items };
}

/** One file of a directory: which it is, and where its bytes are in the tar. The first of its name counts. */
export async function findEntry(
  platform: Platform,
  project: Pick<Project, "id">,
  id: string,
  path: string,
): Promise<{ row: ArtifactRow; entry: TarEntry }> {
  const row = await ownDirectory(platform, project, id);
  const wanted = path.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
  let looked = 0;
  for await (const entry of entriesOf(readerOf(platform, row.objectKey), row.artifact.sizeBytes)) {
    looked += 1;
    if (looked > LOOKED_AT)
      throw new Problem("not_supported", { detail: `Only the first ${LOOKED_AT} entries are looked through; download all of it` });
    if (entry.path !== wanted) continue;
    if (entry.type !== "file") throw new Problem("not_a_file", { detail: `${path} is a ${entry.type}`, path });
    return { row, entry };
  }
  throw new Problem("file_not_found", { detail: `The directory has no ${path}`, path });
}

async function ownDirectory(platform: Platform, project: Pick<Project, "id">, id: string): Promise<ArtifactRow> {
  const { value } = await ownArtifact(platform, project.id, id);
  if (value.artifact.kind !== "directory") throw new Problem("not_a_directory", { detail: "The artifact is a file", artifactId: id });
  if (!(await platform.objects.head(value.objectKey))) throw artifactNotFound(id);
  return value;
}

function toEntry({ dataAt: _data, nextAt: _next, ...entry }: TarEntry): ArtifactEntry {
  return entry;
}
