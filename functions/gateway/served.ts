import type { Passed } from "#core/ports.ts";

/** Where a port's answers lie for who reads them; `shared` by whoever has the address, as it holds the ticket. */
export interface PortPlace {
  number: string;
  base: string;
  shared: boolean;
}

/**
 * By its ticket's address, what a program inside serves runs in the reader's browser as nobody: an origin of its own, with no cookies, no storage,
 * and no more reach at this door than any page of the web. By any other address it does not run at all, since that may hold
 * a key, which a script could read.
 */
const POLICY = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads";

/** Where a program's answers lie that was asked as its sandbox, and by no port. */
export function servedPlace(sandboxId: string, served: string | undefined): PortPlace | undefined {
  return served === undefined ? undefined : { number: served, base: `/sandboxes/${sandboxId}`, shared: false };
}

/** Makes a port's answer one that a browser can use where it lies. */
export function asServed(passed: Pick<Passed, "headers">, { number, base, shared }: PortPlace): void {
  const { headers } = passed;
  if (shared) {
    headers.set("content-security-policy", POLICY);
    headers.set("access-control-allow-origin", "*");
  }
  const path = pathOfOwn(headers.get("location") ?? "", number);
  if (path !== undefined) headers.set("location", base + path);
}

/** The path of a redirect to the port itself; nothing for one that leads elsewhere. */
function pathOfOwn(location: string, number: string): string | undefined {
  if (/^\/(?![/\\])/.test(location)) return location;
  const url = URL.parse(location);
  const isOwn = url?.protocol === "http:" && ["localhost", "127.0.0.1"].includes(url.hostname) && (url.port || "80") === number;
  return isOwn ? url.pathname + url.search + url.hash : undefined;
}
