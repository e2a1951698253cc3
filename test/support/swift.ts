import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { BucketConfig } from "#infra/aliyun/objects.ts";
import { tempDir } from "./temp.ts";

const PYTHON = "/usr/bin/python3";
const SCRIPT = fileURLToPath(import.meta.resolve("#support/s3-server.py"));
const HOME = join(import.meta.dirname, "..", "..", ".cleanroom", "swift");
const MODULES = "usr/lib/python3/dist-packages";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";
const MISSING_MS = 120_000;
const accessKeyId = "test:tester";
const accessKeySecret = "testing";
const execute = promisify(execFile);

/** An S3 server that runs. It ends with the block, or with this process. */
export type Swift = Omit<BucketConfig, "bucket"> & AsyncDisposable;

/**
 * Starts a real S3 server (OpenStack Swift, out of Debian's packages) on loopback with its data in a new folder: it checks
 * signatures, and refuses `aws-chunked` as OSS does. Answers why not, where it cannot be had.
 */
export async function openSwift(): Promise<Swift | string> {
  try {
    await provide();
  } catch (error) {
    return `Debian's python3-swift is not to be had: ${error instanceof Error ? error.message : String(error)}`;
  }
  const dir = await tempDir();
  const env = { ...process.env, PYTHONPATH: `${HOME}/${MODULES}`, LD_LIBRARY_PATH: `${HOME}/${LIBRARIES}` };
  const args = [SCRIPT, `${dir.path}/swift`, accessKeyId, accessKeySecret];
  const child = spawn(PYTHON, args, { env, stdio: ["pipe", "pipe", "inherit"] });
  const closed = once(child, "close");
  const close = async () => {
    child.kill("SIGKILL");
    await closed;
    await dir[Symbol.asyncDispose]();
  };
  const lines = createInterface({ input: child.stdout });
  const port = await Promise.race([once(lines, "line").then(([line]: unknown[]) => Number(line)), closed.then(() => 0)]);
  if (!port) {
    await close();
    throw new Error("Swift ended before it listened");
  }
  const endpoint = `http://127.0.0.1:${port}`;
  return { endpoint, region: "us-east-1", accessKeyId, accessKeySecret, forcePathStyle: true, [Symbol.asyncDispose]: close };
}

/** Unpacks what the host lacks of the library beside its own packages, of which nothing changes. */
async function provide(): Promise<void> {
  if (existsSync(`${HOME}/${MODULES}`)) return;
  const fresh = `${HOME}.${process.pid}`;
  const cache = `${fresh}.debs`;
  try {
    await mkdir(`${cache}/partial`, { recursive: true });
    const options = ["-o", `Dir::Cache::archives=${cache}`, "-o", "Debug::NoLocking=1"];
    const download = ["install", "--download-only", "--no-install-recommends", "-y", "-q", ...options, "python3-swift"];
    await aptGet(download).catch(async () => {
      // The lists may be absent or old, in which case fetching them is what was missing.
      await aptGet(["update", "-q"]);
      await aptGet(download);
    });
    await mkdir(`${fresh}/${MODULES}`, { recursive: true });
    for (const deb of globSync(`${cache}/*.deb`)) await execute("dpkg-deb", ["--extract", deb, fresh]);
    await rename(fresh, HOME);
  } finally {
    await rm(cache, { recursive: true, force: true });
    await rm(fresh, { recursive: true, force: true });
  }
}

async function aptGet(args: string[]): Promise<void> {
  await execute("apt-get", args, { timeout: MISSING_MS });
}
