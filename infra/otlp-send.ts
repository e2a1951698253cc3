import { lookup, type LookupOptions } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";
import type { Collector } from "#core/trace-export.ts";

const WAIT_MS = 10_000;

/** Addresses that are ours, our neighbours' or the platform's: what a project names must not lead there. */
const INSIDE = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const)
  INSIDE.addSubnet(network, prefix, "ipv4");
for (const [network, prefix] of [
  ["::", 127],
  ["64:ff9b::", 96],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const)
  INSIDE.addSubnet(network, prefix, "ipv6");

/** Whether an address is one that a project's collector may have. */
export function isOutside(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && !INSIDE.check(address, family === 6 ? "ipv6" : "ipv4");
}

/** Sends one OTLP/HTTP request. The address that is judged is the one that is connected to, whatever a name says next. */
export function sendTraces(collector: Collector, body: string, allowInside: boolean): Promise<number> {
  const { endpoint, headers, trusted } = collector;
  const url = new URL(endpoint);
  const isFree = trusted || allowInside;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (!isFree && isIP(host) !== 0 && !isOutside(host)) return Promise.reject(new Error("The collector's address is not outside"));
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const sent = { ...headers, "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) };
    const options = { method: "POST", headers: sent, signal: AbortSignal.timeout(WAIT_MS), ...(isFree ? {} : { lookup: outsideLookup }) };
    const outgoing = send(url, options, (incoming) => {
      incoming.resume();
      incoming.once("error", reject);
      incoming.once("end", () => resolve(incoming.statusCode ?? 502));
    });
    outgoing.once("error", reject);
    outgoing.end(body);
  });
}

const outsideLookup: LookupFunction = (hostname, options: LookupOptions, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    const inside = addresses?.find(({ address }) => !isOutside(address));
    const [first] = addresses ?? [];
    if (error) callback(error, "", 0);
    else if (inside || !first) callback(new Error("The collector's address is not outside"), "", 0);
    else if (options.all) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};
