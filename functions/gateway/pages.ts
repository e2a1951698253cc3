import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { Problem } from "#contract/problem.ts";
import type { App } from "./gateway.ts";

/** The console as the build left it: each page's HTML by its name, and what pages load by a name that its content gave it. */
export interface Pages {
  html: ReadonlyMap<string, string>;
  assets: ReadonlyMap<string, Buffer>;
}

const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".woff2": "font/woff2",
  ".svg": "image/svg+xml",
  ".png": "image/png",
};
const PAGE = /^(?:\/k\/[^/?]*)?\/sandboxes\/[^/?\\]+\/(?:terminal|view)\/?(?:\?|$)/;
const FOREVER = "public, max-age=31536000, immutable";

export async function readPages(folder: string): Promise<Pages> {
  const pages = new Map<string, string>();
  const assets = new Map<string, Buffer>();
  for (const name of await readdir(folder)) {
    const bytes = await readFile(join(folder, name));
    if (name.endsWith(".html")) pages.set(name.slice(0, -".html".length), bytes.toString());
    else assets.set(name, bytes);
  }
  return { html: pages, assets };
}

/** Whether a request is for a page of ours, though its path lies under a sandbox. */
export function isPage(method: string, url: string): boolean {
  return (method === "GET" || method === "HEAD") && PAGE.test(url);
}

/**
 * Serves the pages. One is the same for everybody and holds nothing: what it shows it asks for with the ticket that its
 * reader was given, which no server sees in its address.
 */
export function mountPages({ hono, gateway }: App): void {
  const { html, assets } = gateway.pages;
  for (const page of ["terminal", "view"]) {
    hono.get(`/sandboxes/:sandboxId/${page}`, () => {
      const text = html.get(page);
      if (text === undefined) throw new Problem("route_not_found", { detail: `There is no page ${page}` });
      const nonce = randomBytes(18).toString("base64url");
      const headers = { "content-type": "text/html; charset=utf-8", "content-security-policy": policy(nonce), "cache-control": "no-store" };
      return new Response(text.replaceAll("{{nonce}}", nonce), { headers: { ...headers, "cross-origin-opener-policy": "same-origin" } });
    });
  }
  hono.get("/pages/:asset", (c) => {
    const name = c.req.param("asset");
    const bytes = assets.get(name);
    if (!bytes) throw new Problem("route_not_found", { detail: "There is no such part of a page" });
    const type = TYPES[extname(name)] ?? "application/octet-stream";
    return new Response(new Uint8Array(bytes), { headers: { "content-type": type, "cache-control": FOREVER } });
  });
}

/**
 * A page runs the one script that it names, and speaks to this door. Styles may be written by that script, as terminals and
 * screens do; nothing that a sandbox serves on the same origin can become a script of it.
 */
function policy(nonce: string): string {
  return [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    "style-src 'self' 'unsafe-inline'",
    "connect-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
