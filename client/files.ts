import {
  downloadDirectory,
  listDirectory,
  makeDirectory,
  movePath,
  readBytes,
  removePath,
  statPath,
  uploadDirectory,
  writeBytes,
  type FileEntry,
} from "#contract/file.ts";
import { Problem } from "#contract/problem.ts";
import { call, chunksOf, open, type Bytes, type Client } from "./client.ts";
import { packDirectory } from "./pack.ts";
import { readAs, type Content, type Format } from "./read.ts";
import { unpackDirectory, type Unpacked } from "./unpack.ts";

interface Abortable {
  signal?: AbortSignal | undefined;
}

/** What a file is written from. A stream is sent as it is read, in constant memory. */
export type Source = string | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array>;

/** The files of one sandbox. Relative paths start at /home/user. */
export class Files {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  /** Reads a file as text, or in the form asked for; `stream` holds nothing in memory. */
  async read<F extends Format = "text">(path: string, options: Abortable & { format?: F | undefined } = {}): Promise<Content<F>> {
    const response = await open(this.#client, readBytes, { query: { path }, accept: "application/octet-stream", signal: options.signal });
    return await readAs(chunksOf(this.#client, response, options.signal), options.format ?? ("text" as F));
  }

  /** Writes a file, whole or not at all; missing parents are made. */
  async write(
    path: string,
    data: Source,
    options: Abortable & { mode?: string | undefined } = {},
  ): Promise<{ path: string; size: number }> {
    const { mode, signal } = options;
    return await call(this.#client, writeBytes, { query: { path, mode }, body: data as Bytes, signal });
  }

  /** Lists a directory, `depth` levels deep; a directory of more entries than one answer holds is refused, not cut. */
  async list(path: string, options: Abortable & { depth?: number | undefined } = {}): Promise<FileEntry[]> {
    const answer = await call(this.#client, listDirectory, { query: { path, depth: options.depth }, signal: options.signal });
    if (!answer.truncated) return answer.entries;
    const detail = `${path} holds more entries than one listing carries`;
    throw new Problem("body_too_large", { detail, next: "List its folders one by one, or use `find` as a command." });
  }

  async getInfo(path: string, options: Abortable = {}): Promise<FileEntry> {
    return (await call(this.#client, statPath, { query: { path }, signal: options.signal })).entry;
  }

  async exists(path: string, options: Abortable = {}): Promise<boolean> {
    try {
      await this.getInfo(path, options);
      return true;
    } catch (error) {
      if (error instanceof Problem && error.code === "file_not_found") return false;
      throw error;
    }
  }

  /** Makes a directory and its parents; making it twice is one making. */
  async makeDir(path: string, options: Abortable = {}): Promise<FileEntry> {
    return (await call(this.#client, makeDirectory, { body: { path }, signal: options.signal })).entry;
  }

  async rename(from: string, to: string, options: Abortable = {}): Promise<FileEntry> {
    return (await call(this.#client, movePath, { body: { source: from, destination: to }, signal: options.signal })).entry;
  }

  /** Removes a file or a whole directory; removing twice is one removal. */
  async remove(path: string, options: Abortable = {}): Promise<void> {
    await call(this.#client, removePath, { body: { path }, signal: options.signal });
  }

  /** Sends a local directory: files, folders and links, streamed. */
  async uploadDirectory(local: string, remote: string, options: Abortable = {}): Promise<{ path: string; entries: number; bytes: number }> {
    const body = await packDirectory(local);
    return await call(this.#client, uploadDirectory, { query: { path: remote }, body, signal: options.signal });
  }

  /**
   * Fetches a directory into a local one that does not exist yet or is empty: all of it or nothing. The sandbox is not
   * trusted: nothing lands or points outside, and what has no place here is left out and named in `skipped`.
   */
  async downloadDirectory(remote: string, local: string, options: Abortable & { limitBytes?: number | undefined } = {}): Promise<Unpacked> {
    const { signal, limitBytes } = options;
    return await unpackDirectory(local, { limitBytes, signal }, async () => {
      const response = await open(this.#client, downloadDirectory, { query: { path: remote }, accept: "application/x-tar", signal });
      return chunksOf(this.#client, response, signal);
    });
  }
}
