import assert from "node:assert/strict";
import { proves, type Range } from "#support/range.ts";

interface Kept {
  id: string;
  kind: string;
  mediaType: string;
}

const keep = ({ tenant, sandboxId }: Range, path: string, more: object = {}) =>
  tenant.json<Kept>("POST", `/api/sandboxes/${sandboxId}/artifacts`, { path, ...more }, 201);
const linkOf = async ({ tenant }: Range, { id }: Kept) =>
  (await tenant.json<{ url: string }>("POST", `/api/artifacts/${id}/link`, {}, 201)).url;

const put = async (to: string, body = "abc", method = "PUT") => (await fetch(to, { method, ...(method === "GET" ? {} : { body }) })).status;

proves("A1", "a page, a drawing or a script that a sandbox made is never one of the door's own, whatever it is called", async (range) => {
  const hostile = [
    "<script>alert(document.domain)</script>",
    '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "<?xml version='1.0'?><x/>",
  ];
  for (const content of hostile) {
    for (const [name, mediaType] of [
      ["page.html", "text/html"],
      ["picture.png", "image/png"],
      ["drawing.svg", "image/svg+xml; charset=utf-8"],
    ] as const) {
      await range.send("PUT", `/files/content?path=${name}`, content);
      const { headers } = await fetch(await linkOf(range, await keep(range, name, { mediaType })));
      assert.equal(headers.get("content-type"), "application/octet-stream", `${name}: ${content}`);
      assert.match(headers.get("content-disposition") ?? "", /^attachment;/);
      assert.match(headers.get("content-security-policy") ?? "", /^sandbox;/);
      assert.equal(headers.get("x-content-type-options"), "nosniff");
    }
  }
  // The control: what is no such thing keeps its type.
  await range.send("PUT", "/files/content?path=notes.txt", "notes");
  assert.match((await fetch(await linkOf(range, await keep(range, "notes.txt")))).headers.get("content-type") ?? "", /^text\/plain/);
});

proves("A2", "a directory that was kept leads nowhere: its links are words, and only its own files come out of it", async (range) => {
  const { tenant, inside } = range;
  await inside(
    "mkdir -p d/sub && echo own > d/own && ln -s /etc/passwd d/passwd && ln -s / d/root && ln d/own d/hard && cd d && mkdir -p -- '-rf' 'a\nb'",
  );
  const kept = await keep(range, "d");
  assert.equal(kept.kind, "directory");
  const read = (path: string) => tenant.send("GET", `/api/artifacts/${kept.id}/entries/content?path=${encodeURIComponent(path)}`);
  // Of two names of one file the tar has one as a link; whichever comes first is the file.
  const own = (await Promise.all(["own", "hard"].map(read))).find(({ ok }) => ok);
  assert.equal(await own?.text(), "own\n");
  for (const path of ["passwd", "root", "root/etc/passwd", "../../../etc/passwd", "/etc/passwd", "sub/../../x", "\0", "-rf"])
    assert.ok([400, 404, 409].includes((await read(path)).status), path);
  // A tar that an attacker wrote is a file like any other: nothing of it is believed.
  await inside(
    "python3 -c \"import tarfile,io; t=tarfile.open('evil.tar','w'); i=tarfile.TarInfo('../../../../tmp/x'); i.size=1; t.addfile(i,io.BytesIO(b'x')); t.close()\"",
  );
  const evil = await keep(range, "evil.tar");
  assert.equal(evil.kind, "file");
  assert.equal((await tenant.send("GET", `/api/artifacts/${evil.id}/entries`)).status, 409);
});

proves("A3", "a link for a part of an upload takes that part, of that size, and nothing else from anybody", async (range) => {
  const { tenant } = range;
  const begin = async () => (await tenant.json<{ id: string }>("POST", "/api/uploads", { name: "u", sizeBytes: 3 }, 201)).id;
  const [id, other] = [await begin(), await begin()];
  const { url } = await tenant.json<{ url: string }>("POST", `/api/uploads/${id}/parts/1/link`, { sizeBytes: 3 }, 201);
  const stranger = await range.stranger();
  const altered = {
    "another part": url.replace("/parts/1", "/parts/2"),
    "another upload": url.replace(id, other),
    "a larger size": url.replace("size=3", "size=4"),
    "a later end": url.replace(/expires=(\d+)/, (_all, at: string) => `expires=${Number(at) + 1}`),
    "another project": url.replace(tenant.projectId, stranger.projectId),
    "no ticket": url.replace(/&ticket=.*/, ""),
  };
  for (const [what, to] of Object.entries(altered)) assert.ok([400, 403].includes(await put(to)), what);
  for (const body of ["", "ab", "abcd"]) assert.ok([400, 413].includes(await put(url, body)), `${body.length} bytes`);
  for (const method of ["GET", "POST", "DELETE"]) assert.equal(await put(url, "abc", method), 405, method);
  const partsOf = async (upload: string) => (await tenant.json<{ parts: object[] }>("GET", `/api/uploads/${upload}`)).parts.length;
  assert.deepEqual([await partsOf(id), await partsOf(other)], [0, 0]);
  assert.equal(await put(url), 200);
  assert.equal(await partsOf(id), 1);
});

proves("A4", "what is retained or on hold is deleted by nobody, and no one but a key of its project lets it go", async (range) => {
  const { door, tenant, sandboxId, send } = range;
  await send("PUT", "/files/content?path=evidence", "evidence");
  const { id } = await keep(range, "evidence", { retainUntil: new Date(Date.now() + 3_600_000).toISOString() });
  const stranger = await range.stranger();
  const { data } = await tenant.json<{ data: { accessToken: string } }>(
    "GET",
    `/2025-09-10/agents/accessToken?resourceType=sandbox&resourceId=${sandboxId}`,
  );
  const byToken = (method: string, body?: object) =>
    fetch(`${door.origin}/api/artifacts/${id}`, {
      method,
      headers: { "agentrun-access-token": data.accessToken, "content-type": "application/json" },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
  await tenant.json("PATCH", `/api/artifacts/${id}`, { hold: true });
  for (const change of [{ hold: false }, { retainUntil: "2020-01-01T00:00:00Z" }]) {
    assert.equal((await stranger.send("PATCH", `/api/artifacts/${id}`, change)).status, 404);
    assert.ok([401, 403].includes((await byToken("PATCH", change)).status));
  }
  assert.ok([401, 403].includes((await byToken("DELETE")).status));
  for (const attempt of [1, 2]) assert.equal((await tenant.send("DELETE", `/api/artifacts/${id}`)).status, 409, `attempt ${attempt}`);
  await tenant.json("PATCH", `/api/artifacts/${id}`, { hold: false });
  assert.equal(
    (await tenant.send("PATCH", `/api/artifacts/${id}`, { retainUntil: "2020-01-01T00:00:00Z" })).status,
    409,
    "never shortened",
  );
  assert.equal((await tenant.send("DELETE", `/api/artifacts/${id}`)).status, 409, "still retained");
  // The control: without either it is deleted.
  const free = await keep(range, "evidence");
  assert.equal((await tenant.send("DELETE", `/api/artifacts/${free.id}`)).status, 204);
  assert.equal(await (await fetch(await linkOf(range, { id } as Kept))).text(), "evidence", "which took none of the other's bytes");
});
