import { spawn } from "node:child_process";
import { arch } from "node:os";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { Problem } from "#contract/problem.ts";
import { seccompFilter } from "./seccomp.ts";

/** What one layer may take at most. */
export interface LayerBounds {
  bytes: number;
  entries: number;
  /** How many folders deep a file may lie. */
  depth: number;
}

const Said = z.union([
  z.object({ entries: z.int(), bytes: z.int(), leftOut: z.record(z.string(), z.int()) }),
  z.object({ refused: z.string() }),
  z.object({ full: z.string() }),
]);

/** What was unpacked, and how much was left out of it because of what it could do. */
export type Unpacked = Extract<z.output<typeof Said>, { entries: number }>;

/**
 * Lays a layer's tar over a folder. The work is done by a process of its own whose whole world that folder is; this one
 * only passes bytes to it.
 */
export async function unpackLayer(
  { folder, bounds, python = "/usr/bin/python3" }: { folder: string; bounds: LayerBounds; python?: string | undefined },
  layer: Readable,
  signal: AbortSignal,
): Promise<Unpacked> {
  const script = fileURLToPath(new URL("maker/unpack.py", import.meta.url));
  const child = spawn(python, ["-I", "-S", "-B", script, String(process.pid), folder, JSON.stringify(bounds)], {
    env: {},
    detached: true,
    stdio: ["pipe", "pipe", "pipe", "pipe"],
  });
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
  const { stdin, stdout, stderr, stdio } = child;
  const stop = () => child.kill("SIGKILL");
  signal.addEventListener("abort", stop, { once: true });
  try {
    const filter = stdio[3] as NodeJS.WritableStream;
    filter.on("error", () => undefined);
    filter.end(seccompFilter(arch() === "arm64" ? "arm64" : "x64"));
    // It stops reading when it refuses; what it says then counts more than that its end of the pipe is shut.
    const sent = pipeline(layer, stdin, { signal }).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => (error.code === "EPIPE" ? undefined : error),
    );
    const [answer, complaint, failure] = await Promise.all([text(stdout), text(stderr), sent, ended]);
    signal.throwIfAborted();
    if (failure) throw failure;
    return read(answer, complaint);
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

function read(answer: string, complaint: string): Unpacked {
  const said = Said.safeParse(answer === "" ? undefined : JSON.parse(answer));
  if (!said.success) throw new Error(`The unpacker failed: ${answer || complaint.trim().split("\n").at(-1) || "it was ended"}`);
  if ("refused" in said.data) throw new Problem("image_not_valid", { detail: `A layer of the image is refused: ${said.data.refused}` });
  if ("full" in said.data) throw new Problem("disk_full", { detail: "This machine's disk has no room for the image" });
  return said.data;
}
