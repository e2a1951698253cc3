import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { Artifacts } from "#client/artifacts.ts";
import { ArtifactEntry, ArtifactPreview } from "#contract/artifact-content.ts";
import { Artifact, ArtifactLink, ArtifactUsage } from "#contract/artifact.ts";
import { AuditRecord } from "#contract/audit.ts";
import { page } from "#contract/id.ts";
import { Upload } from "#contract/upload.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { tempDir } from "#support/temp.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const client = { url: door.origin, apiKey: tenant.key.apiKey };
const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const put = (to: string, body: string) => fetch(to, { method: "PUT", body });
const begin = async (fields: object) => Upload.parse(await tenant.json("POST", "/api/uploads", fields, 201));

test("a file is uploaded in parts; one that broke off goes on, and what came is not sent again", async () => {
  await using dir = await tempDir();
  const bytes = crypto.getRandomValues(new Uint8Array(50_000));
  const file = join(dir.path, "data.bin");
  await writeFile(file, bytes);
  const stop = new AbortController();
  let uploadId = "";
  const broken = Artifacts.upload(file, {
    ...client,
    partBytes: 20_000,
    signal: stop.signal,
    onUpload(upload) {
      uploadId = upload.id;
      stop.abort(new Error("the line broke"));
    },
  });
  await assert.rejects(broken, /the line broke/);
  await tenant.json("PUT", `/api/uploads/${uploadId}/parts/1`, bytes.slice(0, 20_000));
  const listed = page(Upload.omit({ parts: true, receivedBytes: true })).parse(await tenant.json("GET", "/api/uploads"));
  assert.deepEqual(
    listed.items.map(({ id }) => id),
    [uploadId],
  );
  const made = await Artifacts.upload(file, { ...client, resume: uploadId });
  assert.partialDeepStrictEqual(made, {
    name: "data.bin",
    sizeBytes: 50_000,
    sha256: sha256(bytes),
    mediaType: "application/octet-stream",
  });
  assert.deepEqual(await Artifacts.download(made.id, client), bytes);
  assert.equal((await Artifacts.latest("data.bin", client))?.id, made.id);
});

test("a part's link takes that part, of that size, and nothing else", async () => {
  const { id } = await begin({ name: "linked", sizeBytes: 3 });
  const { url } = ArtifactLink.parse(await tenant.json("POST", `/api/uploads/${id}/parts/1/link`, { sizeBytes: 3 }, 201));
  await refused(put(url, "abcd"), "body_too_large");
  await refused(put(url, "ab"), "invalid_request");
  await refused(put(url.replace("size=3", "size=4"), "abcd"), "link_not_valid");
  await refused(put(url.replace("/parts/1", "/parts/2"), "abc"), "link_not_valid");
  await refused(fetch(url), "method_not_allowed");
  assert.equal((await put(url, "abc")).status, 200);
  assert.equal(Artifact.parse(await tenant.json("POST", `/api/uploads/${id}/complete`, {}, 201)).sha256, sha256("abc"));
  await refused(put(url, "abc"), "upload_not_found");
});

test("what is not whole is no artifact, and what is given up is gone", async () => {
  const { id } = await begin({ name: "half", sizeBytes: 6 });
  await tenant.json("PUT", `/api/uploads/${id}/parts/1`, "abc");
  await refused(tenant.send("POST", `/api/uploads/${id}/complete`, {}), "upload_incomplete");
  await tenant.json("DELETE", `/api/uploads/${id}`, undefined, 204);
  await refused(tenant.send("GET", `/api/uploads/${id}`), "upload_not_found");
  await refused(tenant.send("PUT", `/api/uploads/${id}/parts/2`, "def"), "upload_not_found");
});

test("a directory is one artifact: listed, read file by file, and previewed", async () => {
  await using box = await makeBox(tenant);
  await box.command("mkdir -p out/deep; echo '# hi' > out/a.md; seq 5 > out/deep/ü.txt; ln -s /etc/passwd out/link; : > out/empty");
  const kept = Artifact.parse(await tenant.json("POST", `/api/sandboxes/${box.id}/artifacts`, { path: "out" }, 201));
  assert.partialDeepStrictEqual(kept, { name: "out", kind: "directory", mediaType: "application/x-tar" });
  const entries = await Artifacts.entries(kept.id, client);
  assert.deepEqual(entries.map(({ path, type }) => `${path} ${type}`).toSorted(), [
    "a.md file",
    "deep directory",
    "deep/ü.txt file",
    "empty file",
    "link symlink",
  ]);
  const one = page(ArtifactEntry).parse(await tenant.json("GET", `/api/artifacts/${kept.id}/entries?limit=2`));
  const two = page(ArtifactEntry).parse(await tenant.json("GET", `/api/artifacts/${kept.id}/entries?limit=9&after=${one.next}`));
  assert.deepEqual([...one.items, ...two.items], entries);
  assert.equal(await Artifacts.readEntry(kept.id, "deep/ü.txt", { ...client, format: "text" }), "1\n2\n3\n4\n5\n");
  assert.equal(await Artifacts.readEntry(kept.id, "empty", { ...client, format: "text" }), "");
  const content = (path: string, headers = {}) =>
    tenant.send("GET", `/api/artifacts/${kept.id}/entries/content?path=${encodeURIComponent(path)}`, undefined, headers);
  assert.equal(await (await content("deep/ü.txt", { range: "bytes=-4" })).text(), "4\n5\n");
  await refused(content("link"), "not_a_file");
  await refused(content("deep"), "not_a_file");
  await refused(content("../../etc/passwd"), "file_not_found");
  const seen = ArtifactPreview.parse(await tenant.json("GET", `/api/artifacts/${kept.id}/preview`));
  assert.ok(seen.kind === "directory" && seen.entries.length === 5 && !seen.truncated);
  const file = Artifact.parse(await tenant.json("POST", `/api/sandboxes/${box.id}/artifacts`, { path: "out/a.md" }, 201));
  await refused(tenant.send("GET", `/api/artifacts/${file.id}/entries`), "not_a_directory");
  assert.deepEqual(await Artifacts.preview(file.id, client), { kind: "text", text: "# hi\n", encoding: "utf-8", truncated: false });
});

test("a retained artifact, and one on hold, stays, and the audit log says who held it and who let it go", async () => {
  const { id: uploadId } = await begin({ name: "evidence", sizeBytes: 0, retainUntil: new Date(Date.now() + 3_600_000).toISOString() });
  const { id } = Artifact.parse(await tenant.json("POST", `/api/uploads/${uploadId}/complete`, {}, 201));
  await refused(tenant.send("DELETE", `/api/artifacts/${id}`), "artifact_retained");
  await refused(tenant.send("PATCH", `/api/artifacts/${id}`, { retainUntil: "2020-01-01T00:00:00Z" }), "artifact_retained");
  assert.equal((await Artifacts.change(id, { hold: true }, client)).hold, true);
  await refused(tenant.send("DELETE", `/api/artifacts/${id}`), "artifact_retained");
  await refused(tenant.send("PATCH", `/api/artifacts/${id}`, { hold: false, more: 1 }), "invalid_request");
  await Artifacts.change(id, { hold: false }, client);
  const records = page(AuditRecord).parse(await tenant.json("GET", "/api/audit?action=changeArtifact"));
  assert.ok(records.items.filter(({ resource, result }) => resource?.id === id && result === "200").length >= 2);
});

test("a project's artifacts end at its quota, and what was deleted makes room", async () => {
  const poor = await newTenant(door, { artifactMiB: 1, artifacts: 2 });
  const upload = (sizeBytes: number) => poor.send("POST", "/api/uploads", { name: "some", sizeBytes });
  const first = Upload.parse(await (await upload(2 ** 20)).json());
  const { details } = await refused(upload(1), "quota_exceeded");
  assert.partialDeepStrictEqual(details, { quota: "sizeBytes", ceiling: 2 ** 20 });
  await poor.json("DELETE", `/api/uploads/${first.id}`, undefined, 204);
  await using box = await makeBox(poor);
  await box.command("head -c 700K /dev/zero > a");
  const keep = () => poor.send("POST", `/api/sandboxes/${box.id}/artifacts`, { path: "a" });
  const kept = Artifact.parse(await (await keep()).json());
  await refused(keep(), "quota_exceeded");
  const usage = ArtifactUsage.parse(await poor.json("GET", "/api/artifact-usage"));
  assert.deepEqual(usage, { artifacts: 1, sizeBytes: 700 * 1024, maxArtifacts: 2, maxBytes: 2 ** 20 });
  await poor.json("DELETE", `/api/artifacts/${kept.id}`, undefined, 204);
  assert.equal((await keep()).status, 201);
});
