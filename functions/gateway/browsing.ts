import { type PageAbout, printPage, readPageContent, readPageMarkdown, screenshotPage, type Which } from "#contract/browsing.ts";
import type { Project } from "#contract/project.ts";
import { permitSandbox } from "./auth.ts";
import { browse, type Browsing, type Doing } from "./browsing/browse.ts";
import * as sight from "./browsing/sight.ts";
import type { App } from "./gateway.ts";
import { mount } from "./mount.ts";
import type { Principal } from "#core/projects.ts";

const ROUTES = /^\/sandboxes\/[^/]+\/browser\/(screenshot|pdf|content|markdown)\/?$/;
/** What a page says is never the door's own: no script of it runs at this origin, and nobody keeps it on the way. */
const GUARDED = {
  "content-security-policy": "sandbox; default-src 'none'",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};
const WINDOW = { width: 1280, height: 720 };

/** Whether a path is one of those that look at a page, which lie under a sandbox and are answered here. */
export function isBrowsing(path: string): boolean {
  return ROUTES.test(path);
}

interface Asked {
  principal: Principal & { project: Project };
  params: { sandboxId: string };
  request: { headers: Headers };
  requestId: string;
  signal: AbortSignal;
}

/** Looks at pages for who has no DevTools client at hand. */
export function mountBrowsing(app: App): void {
  const { gateway } = app;

  async function looked<T>({ principal, params, requestId, signal }: Asked, which: Which, doing: Omit<Doing<T>, "acts">) {
    await permitSandbox(gateway, principal, params.sandboxId);
    const browsing: Browsing = { gateway, project: principal.project, sandboxId: params.sandboxId, requestId, signal };
    return browse(browsing, which, { ...doing, acts: false });
  }

  async function taken(call: Asked, which: Which, what: string, doing: Pick<Doing<sight.Taken>, "work" | "size">) {
    const draws = true;
    const action = ({ url }: PageAbout) => ({ kind: "screenshot" as const, by: "agent" as const, summary: `Took ${what} of a page`, url });
    const { about, done } = await looked(call, which, { ...doing, draws, action });
    if (wantsJson(call)) return { ...about, mediaType: done.mediaType, data: done.bytes.toString("base64") };
    return bytes(done.bytes, done.mediaType);
  }

  mount(app, screenshotPage).toScoped((call) => {
    const { width, height } = call.body;
    const size = { width: width ?? WINDOW.width, height: height ?? WINDOW.height };
    return taken(call, call.body, "a picture", { size, work: (page) => sight.takeScreenshot(page, call.body) });
  });

  mount(app, printPage).toScoped((call) => taken(call, call.body, "a print", { work: (page) => sight.printPage(page, call.body) }));

  mount(app, readPageContent).toScoped(async (call) => {
    const { about, done } = await looked(call, call.body, { work: sight.readHtml });
    return wantsJson(call) ? { ...about, ...done } : text(done.html, "text/html");
  });

  mount(app, readPageMarkdown).toScoped(async (call) => {
    const { about, done } = await looked(call, call.body, { work: (page) => sight.readMarkdown(page, call.body) });
    return wantsJson(call) ? { ...about, ...done } : text(done.markdown, "text/markdown");
  });
}

function wantsJson({ request }: Asked): boolean {
  return /\bapplication\/json\b/i.test(request.headers.get("accept") ?? "");
}

function text(said: string, mediaType: string): Response {
  return bytes(Buffer.from(said), `${mediaType}; charset=utf-8`);
}

function bytes(body: Buffer, mediaType: string): Response {
  return new Response(new Uint8Array(body), { headers: { ...GUARDED, "content-type": mediaType, "content-length": String(body.length) } });
}
