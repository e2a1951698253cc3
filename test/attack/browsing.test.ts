import assert from "node:assert/strict";
import { PageMarkdown } from "#contract/browsing.ts";
import { proves, type Range } from "#support/range.ts";
import { until } from "#support/until.ts";

const SANDBOX = { sandbox: { template: "all-in-one" } };
const SITE = "http://127.0.0.1:8000";
const CLOSED = ["file:///etc/hostname", "chrome://version", "view-source:http://127.0.0.1:8000/", "view-source:file:///etc/hostname"];
const JSON_ASKED = { accept: "application/json" };

const look = (box: Pick<Range, "send">, what: string, body: object) =>
  box.send("POST", `/browser/${what}`, { timeoutMs: 120_000, ...body }, JSON_ASKED);

async function serve(box: Pick<Range, "send" | "inside">, pages: Record<string, string>): Promise<void> {
  for (const [name, content] of Object.entries(pages)) await box.send("POST", "/files", { path: `/home/user/web/${name}.html`, content });
  await box.send("POST", "/processes/cmd", { command: "cd web && exec python3 -m http.server 8000 --bind 127.0.0.1", background: true });
  await until("the pages are served", async () => (await box.inside(`curl -sf ${SITE}/`)).exitCode === 0, 90_000);
}

proves(
  "T30",
  "pages of the browser's own are closed to every route, and a template opens those that it names alone",
  async (range) => {
    const { tenant, neighbour } = range;
    await serve(range, { shown: "<title>Shown</title><p>here" });
    assert.equal((await look(range, "content", { url: `${SITE}/shown.html` })).status, 200, "the control: a page of the web's is shown");
    const refuses = async (what: string, url?: string) => assert.equal((await look(range, what, { url })).status, 400, `${what} of ${url}`);
    for (const url of CLOSED) await refuses("content", url);
    for (const what of ["screenshot", "pdf", "markdown"]) await refuses(what, CLOSED[0]);
    const name = `opened${Date.now()}`;
    await tenant.json("POST", "/api/templates", { name, type: "AllInOne", browserPages: ["file", "view-source"] }, 201);
    const open = await neighbour({ template: name });
    await serve(open, { shown: "<title>Shown</title><p>here" });
    const source = await (await look(open, "markdown", { url: `view-source:${SITE}/shown.html`, part: "all" })).text();
    assert.match(source, /title/, "the control: what a template opens is shown");
    assert.match(await (await look(open, "content", { url: "file:///etc/hostname" })).text(), /sandbox/);
    for (const url of ["chrome://version", "view-source:chrome://version", "devtools://devtools/bundled/inspector.html"])
      assert.equal((await look(open, "content", { url })).status, 400, url);
    assert.equal((await tenant.send("POST", "/api/templates", { name: `${name}x`, browserPages: ["file"] })).status, 400);
  },
  SANDBOX,
);

proves(
  "T31",
  "a page that never rests, is endless or asks questions costs who looks at it no more than their time, and nobody else",
  async (range) => {
    const many = `<title>Many</title><body><script>let at = document.body; for (let i = 0; i < 150000; i += 1) { const it = document.createElement(i % 3 ? "div" : "p"); it.textContent = "word " + i; if (i % 2000 === 0) { at.append(it); at = it } else document.body.append(it) }</script>`;
    await serve(range, {
      fine: "<title>Fine</title><h1>Fine</h1>",
      endless: "<title>Endless</title><script>for (;;) {}</script>",
      asking: "<title>Asking</title><script>while (performance.now() < 3000 && !confirm('again?')) {}</script><p>after",
      script: "<title>Script</title><script>window.ran = 1</script><p onclick=x>inert",
      many,
    });
    const [late, fine] = await Promise.all([
      look(range, "markdown", { url: `${SITE}/endless.html`, timeoutMs: 3000 }),
      look(range, "markdown", { url: `${SITE}/fine.html` }),
    ]);
    assert.equal(late.status, 504);
    assert.equal(PageMarkdown.parse(await fine.json()).markdown, "# Fine");
    assert.match(await (await look(range, "markdown", { url: `${SITE}/asking.html` })).text(), /after/);
    const read = PageMarkdown.parse(await (await look(range, "markdown", { url: `${SITE}/many.html`, part: "all" })).json());
    assert.equal(read.truncated, true);
    const html = await range.send("POST", "/browser/content", { url: `${SITE}/script.html` });
    assert.match(html.headers.get("content-security-policy") ?? "", /^sandbox;/);
    assert.equal(html.headers.get("x-content-type-options"), "nosniff");
    assert.match(await html.text(), /window\.ran/, "the control: the script is there, and inert");
  },
  SANDBOX,
);
