import type { Duplex } from "node:stream";
import type { Source } from "#core/usage/counts.ts";
import type { Platform } from "#core/ports.ts";

/** What has been counted of a connection: several requests may come by one. */
const counted = new WeakMap<Duplex, { read: number; written: number }>();

/** Counts for a sandbox what a connection carried since it was last asked, by the socket's own word and no header's. */
export function countWire(platform: Platform, source: Source, socket: Duplex): void {
  const { bytesRead = 0, bytesWritten = 0 } = socket as { bytesRead?: number; bytesWritten?: number };
  const { read, written } = counted.get(socket) ?? { read: 0, written: 0 };
  counted.set(socket, { read: bytesRead, written: bytesWritten });
  platform.counts.count(source, { bytes_in: bytesRead - read, bytes_out: bytesWritten - written });
}
