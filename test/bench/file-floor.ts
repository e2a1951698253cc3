import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

/**
 * What keeping bytes costs here at the least: a process that writes what it is sent into a file of its own, to the disk, and
 * reads the last one back. The one before goes once its sender has been answered.
 */
export interface FileFloor extends AsyncDisposable {
  origin: string;
}

export async function openFileFloor(): Promise<FileFloor> {
  const folder = await mkdtemp(join(tmpdir(), "cleanroom-bench-"));
  const child = fork(import.meta.filename, ["keeper", folder]);
  const [port] = (await once(child, "message")) as [number];
  return {
    origin: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await end(child);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  child.disconnect();
  await gone;
}

if (process.argv[2] === "keeper") {
  const folder = process.argv[3] ?? "";
  let files = 0;
  const server = createServer((incoming, outgoing) => {
    const work = async () => {
      if (incoming.method === "GET")
        return pipeline(createReadStream(join(folder, String(files)), { highWaterMark: 256 * 1024 }), outgoing);
      const file = join(folder, String(files + 1));
      await pipeline(incoming, createWriteStream(file));
      files += 1;
      await using kept = await open(file, "r+");
      await kept.sync();
      outgoing.end();
      await rm(join(folder, String(files - 1)), { force: true });
    };
    work().catch(() => outgoing.destroy());
  });
  server.listen(0, "127.0.0.1", () => process.send?.((server.address() as { port: number }).port));
  process.once("disconnect", () => process.exit(0));
}
