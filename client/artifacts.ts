import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { link, rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import {
  changeArtifact,
  deleteArtifact,
  getArtifact,
  getArtifactUsage,
  keepArtifact,
  linkArtifact,
  listArtifacts,
  type Artifact,
  type ArtifactLink,
  type ArtifactUsage,
} from "#contract/artifact.ts";
import {
  listArtifactEntries,
  previewArtifact,
  readArtifactEntry,
  readArtifactPicture,
  type ArtifactEntry,
  type ArtifactPreview,
} from "#contract/artifact-content.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { call, chunksOf, newClient, open, openLink, type Client, type ClientOptions } from "./client.ts";
import { readAs, type Content, type Format } from "./read.ts";
import { uploadFile } from "./uploads.ts";

interface Options extends ClientOptions {
  signal?: AbortSignal | undefined;
}

/** Keeping files of one sandbox outside of it, so that they outlive it. */
export class SandboxArtifacts {
  readonly #client: Client;
  readonly #sandboxId: string;

  constructor(client: Client, sandboxId: string) {
    this.#client = client;
    this.#sandboxId = sandboxId;
  }

  /** Keeps a file, or a directory as one tar, under its own name or the one given: the next version of that name. */
  async keep(
    path: string,
    options: {
      name?: string | undefined;
      mediaType?: string | undefined;
      retainUntil?: string | undefined;
      signal?: AbortSignal | undefined;
    } = {},
  ): Promise<Artifact> {
    const { signal, ...rest } = options;
    return await call(this.#client, keepArtifact, { params: { sandboxId: this.#sandboxId }, body: { path, ...rest }, signal });
  }

  async list(options: { signal?: AbortSignal | undefined } = {}): Promise<Artifact[]> {
    return await collect(this.#client, { sandboxId: this.#sandboxId }, options.signal);
  }
}

/** Everything the project has kept, whichever sandbox it came from. */
export const Artifacts = {
  list: listKept,
  get: getKept,
  link: linkKept,
  download: downloadKept,
  save: saveKept,
  upload: uploadFile,
  latest: latestKept,
  change: changeKept,
  entries: entriesKept,
  readEntry: readEntryKept,
  preview: previewKept,
  picture: pictureKept,
  usage: usageOfProject,
  remove: removeKept,
};

/** Newest first, all pages; with a `name`, its versions. */
async function listKept(options: Options & Filter = {}): Promise<Artifact[]> {
  const { sandboxId, taskId, name } = options;
  return await collect(newClient(options), { sandboxId, taskId, name }, options.signal);
}

/** The newest version of a name; undefined when nothing of that name is kept. */
async function latestKept(name: string, options: Options = {}): Promise<Artifact | undefined> {
  const query = { name, version: "latest" as const };
  return (await call(newClient(options), listArtifacts, { query, signal: options.signal })).items[0];
}

/** Retains an artifact until a moment, or turns its legal hold on or off. */
async function changeKept(
  artifactId: string,
  change: { retainUntil?: string | undefined; hold?: boolean | undefined },
  options: Options = {},
): Promise<Artifact> {
  return await call(newClient(options), changeArtifact, { params: { artifactId }, body: change, signal: options.signal });
}

/** What a directory holds, all pages. The paths are the sandbox's word. */
async function entriesKept(artifactId: string, options: Options = {}): Promise<ArtifactEntry[]> {
  const client = newClient(options);
  const items: ArtifactEntry[] = [];
  let after: string | undefined;
  do {
    const page = await call(client, listArtifactEntries, { params: { artifactId }, query: { after, limit: 1000 }, signal: options.signal });
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}

/** One file of a directory that was kept. */
async function readEntryKept<F extends Format = "bytes">(
  artifactId: string,
  path: string,
  options: Options & { format?: F | undefined } = {},
): Promise<Content<F>> {
  const client = newClient(options);
  const { signal } = options;
  const response = await open(client, readArtifactEntry, { params: { artifactId }, query: { path }, accept: "*/*", signal });
  return await readAs(chunksOf(client, response, signal), options.format ?? ("bytes" as F));
}

async function previewKept(artifactId: string, options: Options = {}): Promise<ArtifactPreview> {
  return await call(newClient(options), previewArtifact, { params: { artifactId }, signal: options.signal });
}

/** A small picture of an image, or of the first page of a PDF, as JPEG; what has one says so as `picture`. */
async function pictureKept(artifactId: string, options: Options = {}): Promise<Uint8Array> {
  const client = newClient(options);
  const { signal } = options;
  const response = await open(client, readArtifactPicture, { params: { artifactId }, accept: "*/*", signal });
  return await readAs(chunksOf(client, response, signal), "bytes");
}

async function usageOfProject(options: Options = {}): Promise<ArtifactUsage> {
  return await call(newClient(options), getArtifactUsage, { signal: options.signal });
}

async function getKept(artifactId: string, options: Options = {}): Promise<Artifact> {
  return await call(newClient(options), getArtifact, { params: { artifactId }, signal: options.signal });
}

/** A download that needs no key until it expires. */
async function linkKept(artifactId: string, options: Options & { lifetimeMs?: number | undefined } = {}): Promise<ArtifactLink> {
  const { lifetimeMs, signal } = options;
  return await call(newClient(options), linkArtifact, { params: { artifactId }, body: { lifetimeMs }, signal });
}

/** The bytes, checked against their hash; a stream is checked at its end. */
async function downloadKept<F extends Format = "bytes">(
  artifactId: string,
  options: Options & { format?: F | undefined } = {},
): Promise<Content<F>> {
  const { chunks } = await opened(artifactId, options);
  return await readAs(chunks, options.format ?? ("bytes" as F));
}

/**
 * Writes the bytes to a local file, which appears only when they are complete and their hash is right. A file that is
 * there already is an error, unless it is to be replaced.
 */
async function saveKept(artifactId: string, file: string, options: Options & { replace?: boolean | undefined } = {}): Promise<Artifact> {
  const { artifact, chunks } = await opened(artifactId, options);
  const partial = `${file}.${process.pid}.partial`;
  try {
    await pipeline(chunks, createWriteStream(partial, { flags: "wx" }));
    if (options.replace) await rename(partial, file);
    else await link(partial, file);
  } catch (error) {
    throw isExisting(error)
      ? new Problem("already_exists", { detail: `There is a file ${file} already`, next: "Name another file." }, error)
      : error;
  } finally {
    await rm(partial, { force: true });
  }
  return artifact;
}

function isExisting(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EEXIST";
}

async function removeKept(artifactId: string, options: Options = {}): Promise<void> {
  await call(newClient(options), deleteArtifact, { params: { artifactId }, signal: options.signal });
}

async function opened(artifactId: string, options: Options): Promise<{ artifact: Artifact; chunks: AsyncGenerator<Uint8Array, void> }> {
  const client = newClient(options);
  const { signal } = options;
  const params = { artifactId };
  const artifact = await call(client, getArtifact, { params, signal });
  const { url } = await call(client, linkArtifact, { params, body: {}, signal });
  const response = await openLink(client, url, signal);
  return { artifact, chunks: verified(chunksOf(client, response, signal), artifact) };
}

async function* verified(chunks: AsyncIterable<Uint8Array>, artifact: Artifact): AsyncGenerator<Uint8Array, void> {
  const hash = createHash("sha256");
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest("hex") === artifact.sha256) return;
  throw new Problem("internal", { detail: `What came for ${artifact.name} is not what was kept`, next: "Download it again." });
}

interface Filter {
  sandboxId?: string | undefined;
  taskId?: string | undefined;
  name?: string | undefined;
}

async function collect(client: Client, filter: Filter, signal: AbortSignal | undefined): Promise<Artifact[]> {
  const items: Artifact[] = [];
  let after: string | undefined;
  do {
    const page = await call(client, listArtifacts, { query: { ...filter, after, limit: LIMITS.pageMax }, signal });
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}
