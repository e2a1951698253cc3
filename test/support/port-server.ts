import { readFileSync } from "node:fs";
import { until } from "./until.ts";

/** What such a server says of a request that reached it. */
export interface Reached {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

type Send = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>;

/** Starts a server on a port inside a sandbox, by requests below `/sandboxes/{id}`. */
export async function serveInside(send: Send, port: number): Promise<void> {
  const program = readFileSync(`${import.meta.dirname}/port-server.py`);
  await (await send("PUT", "/files/content?path=port-server.py", program)).body?.cancel();
  await send("POST", "/processes/cmd", JSON.stringify({ command: `exec python3 port-server.py ${port}`, background: true }));
  await until(`port ${port} answers`, async () => (await send("GET", `/ports/${port}/`)).status === 200, 30_000);
}

/** All headers that reached it, in lower case. */
export function headersOf({ headers }: Reached): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
