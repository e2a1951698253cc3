import { lookup, type LookupOptions } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { BlockList, isIP, type LookupFunction } from "node:net";
import type { Outside } from "#core/ports.ts";

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

/** Whether an address is one that something a project names may have. */
export function isOutside(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && !INSIDE.check(address, family === 6 ? "ipv6" : "ipv4");
}

/** Posts to addresses that projects named; `allowInside` lets them be on a private network or this machine. */
export function openOutside(allowInside: boolean): Outside {
  return { post: (url, headers, body) => post(url, headers, body, allowInside) };
}

/** Sends one body and answers the status; an answer that leads elsewhere is not followed. The address that is judged is the one that is connected to, whatever a name says next. */
export function post(address: string, headers: Record<string, string>, body: string, allowInside: boolean): Promise<number> {
  const url = new URL(address);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (!allowInside && isIP(host) !== 0 && !isOutside(host)) return Promise.reject(notOutside());
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const sent = { "content-type": "application/json", ...headers, "content-length": String(Buffer.byteLength(body)) };
    const options = {
      method: "POST",
      headers: sent,
      signal: AbortSignal.timeout(WAIT_MS),
      ...(allowInside ? {} : { lookup: outsideLookup }),
    };
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
    else if (inside || !first) callback(notOutside(), "", 0);
    else if (options.all) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

function notOutside(): Error {
  return new Error("The address is not outside");
}
