import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ObjectLink, Objects } from "#core/ports.ts";
import { put, textOf } from "#support/object-text.ts";
import type { Place } from "#support/place.ts";
import { until } from "#support/until.ts";

const MINUTE_MS = 60_000;

/** What links keep, of stores that have a door of their own: each is good for one method on one key, one size, until a moment. */
export function linksSuite(name: string, make: () => Promise<Place<() => Objects & AsyncDisposable>>): void {
  const promise = (title: string, proof: (objects: Objects) => Promise<void>) => {
    test(title, async () => {
      await using place = await make();
      await using objects = place.open();
      await proof(objects);
    });
  };

  describe(`${name}: links`, () => {
    promise("a download link gives the bytes to whoever has it, to be saved under its name and never shown", async (objects) => {
      await put(objects, "a/ü 1", "<script>1</script>");
      const answer = await send(downloadOf(objects, "a/ü 1", { name: "page (1).html" }));
      assert.equal(answer.status, 200);
      assert.equal(await answer.text(), "<script>1</script>");
      assert.equal(answer.headers.get("content-type"), "application/octet-stream");
      assert.match(answer.headers.get("content-disposition") ?? "", /^attachment; filename\*=UTF-8''page%20(\(|%28)1(\)|%29)\.html$/);
    });

    promise("a download link is good for a part of the bytes", async (objects) => {
      await put(objects, "k", "0123456789");
      const answer = await send(downloadOf(objects, "k"), { headers: { range: "bytes=2-4" } });
      assert.deepEqual([answer.status, await answer.text()], [206, "234"]);
    });

    promise("a download link is good for nothing but reading its own key", async (objects) => {
      await put(objects, "mine", "mine");
      await put(objects, "other", "other");
      const link = downloadOf(objects, "mine");
      await refused(send(link, { method: "PUT", body: "new" }));
      await refused(send(link, { method: "DELETE" }));
      await refused(send({ ...link, url: link.url.replace("/mine?", "/other?") }));
      await refused(send({ ...link, url: link.url.replace("attachment", "inline") }));
      await refused(send({ ...link, url: link.url.replace(/X-Amz-Expires=\d+/, "X-Amz-Expires=604800") }));
      await refused(send({ ...link, url: link.url.slice(0, -1) + (link.url.endsWith("0") ? "1" : "0") }));
      assert.equal(await textOf(objects, "mine"), "mine");
      assert.equal(await (await send(link)).text(), "mine");
    });

    promise("a link ends when its time is over", async (objects) => {
      await put(objects, "k", "a");
      const link = downloadOf(objects, "k", { expiresAtMs: Date.now() + 1000 });
      await until("the link has ended", async () => (await send(link)).status === 403, MINUTE_MS);
      const upload = uploadOf(objects, "new", "a", { expiresAtMs: Date.now() + 1000 });
      await until("the upload has ended", async () => (await send(upload, { body: "a" })).status === 403, MINUTE_MS);
    });

    promise("an upload link puts an object of exactly its size", async (objects) => {
      const link = uploadOf(objects, "up/1", "0123456789");
      for (const body of ["012345678", "0123456789X", ""]) await refused(send(link, { body }));
      assert.equal(await objects.head("up/1"), undefined);
      const answer = await send(link, { body: "0123456789" });
      assert.ok(answer.ok, await answer.text());
      assert.equal(await textOf(objects, "up/1"), "0123456789");
    });

    promise("an upload link is good for nothing but putting its own key", async (objects) => {
      await put(objects, "mine", "old");
      await put(objects, "other", "old");
      const link = uploadOf(objects, "mine", "new");
      await refused(send({ ...link, url: link.url.replace("/mine?", "/other?") }, { body: "new" }));
      await refused(send(link, { method: "GET" }));
      await refused(send(link, { method: "DELETE" }));
      assert.deepEqual([await textOf(objects, "mine"), await textOf(objects, "other")], ["old", "old"]);
    });
  });
}

function downloadOf(objects: Objects, key: string, about: { name?: string; expiresAtMs?: number } = {}): ObjectLink {
  const link = objects.downloadLink(key, { name: "name", expiresAtMs: Date.now() + MINUTE_MS, ...about });
  assert.ok(link);
  return link;
}

function uploadOf(objects: Objects, key: string, body: string, about: { expiresAtMs?: number } = {}): ObjectLink {
  const link = objects.uploadLink(key, { sizeBytes: body.length, expiresAtMs: Date.now() + MINUTE_MS, ...about });
  assert.ok(link);
  return link;
}

function send(link: ObjectLink, more: RequestInit = {}): Promise<Response> {
  // The length is the body's own; a client that sent another would break its own connection.
  const { "content-length": _length, ...headers } = link.headers;
  return fetch(link.url, { method: link.method, ...more, headers: { ...headers, ...(more.headers as Record<string, string>) } });
}

async function refused(answer: Promise<Response>): Promise<void> {
  const { status } = await answer;
  assert.ok(status === 403 || status === 400, `it was answered ${status}`);
}
