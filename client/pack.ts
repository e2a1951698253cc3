import { once } from "node:events";
import { createReadStream } from "node:fs";
import { lstat, readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pack, type Pack } from "tar-stream";
import { Problem } from "#contract/problem.ts";

/** A directory of this machine as a tar, read while it is sent. Sockets and devices have no place in a sandbox and stay. */
export async function packDirectory(local: string): Promise<ReadableStream<Uint8Array>> {
  const found = await stat(local).catch(() => undefined);
  if (!found) throw new Problem("file_not_found", { detail: `There is no ${local} on this machine` });
  if (!found.isDirectory()) throw new Problem("not_a_directory", { detail: `${local} is not a directory on this machine` });
  const tar = pack();
  addAll(tar, local, "").then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(unreadable(error)),
  );
  return Readable.toWeb(Readable.from(tar, { objectMode: false })) as ReadableStream<Uint8Array>;
}

async function addAll(tar: Pack, root: string, inside: string): Promise<void> {
  const entries = await readdir(join(root, inside), { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = inside === "" ? entry.name : `${inside}/${entry.name}`;
    const path = join(root, name);
    const { mode, mtime, size } = await lstat(path);
    const header = { name, mode: mode & 0o777, mtime };
    if (entry.isDirectory()) {
      await written(tar, { ...header, type: "directory" });
      await addAll(tar, root, name);
    } else if (entry.isSymbolicLink()) {
      await written(tar, { ...header, type: "symlink", linkname: await readlink(path) });
    } else if (entry.isFile()) {
      await addFile(tar, { ...header, size }, path);
    }
  }
}

function unreadable(error: Error): Problem {
  return new Problem(
    "invalid_request",
    { detail: `The directory cannot be sent: ${error.message}`, next: "Make its files readable, or leave them out." },
    error,
  );
}

type Header = Parameters<Pack["entry"]>[0];

function written(tar: Pack, header: Header, content?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null) => (error ? reject(error) : resolve());
    if (content === undefined) tar.entry(header, done);
    else tar.entry(header, content, done);
  });
}

/** Sends as many bytes as the header says, so that a file that grows meanwhile does not spoil the archive. */
async function addFile(tar: Pack, header: Header & { size: number }, path: string): Promise<void> {
  if (header.size === 0) return await written(tar, header, "");
  let sink: ReturnType<Pack["entry"]> | undefined;
  const done = new Promise<void>((resolve, reject) => {
    sink = tar.entry(header, (error) => (error ? reject(error) : resolve()));
  });
  done.catch(() => {});
  for await (const chunk of createReadStream(path, { end: header.size - 1 })) {
    if (sink?.write(chunk) === false) await Promise.race([once(sink, "drain"), done]);
  }
  sink?.end(null);
  await done;
}
