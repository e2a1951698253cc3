import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, test } from "node:test";
import { Artifact, ArtifactLink } from "#contract/artifact.ts";
import { page } from "#contract/id.ts";
import { Upload } from "#contract/upload.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor, startDoor, type Tenant } from "#support/door.ts";
import { functionPid, peakMiB } from "#support/processes.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const keep = async (box: Box, spec: object, by: Tenant = tenant) =>
  Artifact.parse(await by.json("POST", `/api/sandboxes/${box.id}/artifacts`, spec, 201));
const link = async (artifact: Artifact, body: object = {}, by: Tenant = tenant) =>
  ArtifactLink.parse(await by.json("POST", `/api/artifacts/${artifact.id}/link`, body, 201));
const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

test("a kept file says what it is, and outlives its sandbox byte for byte", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(50_000));
  const box = await makeBox(tenant, { taskId: "pipeline-7" });
  assert.equal((await box.inside("PUT", "/files/content?path=out/r%C3%A9sum%C3%A9.bin", bytes)).status, 200);
  const kept = await keep(box, { path: "out/résumé.bin" });
  assert.partialDeepStrictEqual(kept, {
    name: "résumé.bin",
    path: "out/résumé.bin",
    sizeBytes: bytes.byteLength,
    sha256: sha256(bytes),
    sandboxId: box.id,
    taskId: "pipeline-7",
  });
  await box[Symbol.asyncDispose]();
  assert.deepEqual(Artifact.parse(await tenant.json("GET", `/api/artifacts/${kept.id}`)), kept);
  const { url } = await link(kept);
  const download = await fetch(url);
  assert.equal(download.status, 200);
  assert.deepEqual(new Uint8Array(await download.arrayBuffer()), bytes);
});

test("a kept file is of the type that its bytes show, and its name or its keeper where they leave it open", async () => {
  await using box = await makeBox(tenant);
  await box.command("echo '# hi' > notes.md; echo '<script>1</script>' > page.html; echo x > thing.unknown");
  assert.match((await keep(box, { path: "notes.md" })).mediaType, /^text\/markdown/);
  assert.equal((await keep(box, { path: "thing.unknown" })).mediaType, "text/plain");
  assert.equal((await keep(box, { path: "page.html", name: "picture.png", mediaType: "image/png" })).mediaType, "text/html");
  assert.partialDeepStrictEqual(await keep(box, { path: "thing.unknown", name: "a.b", mediaType: "text/x-own" }), {
    name: "a.b",
    mediaType: "text/x-own",
  });
});

test("a download is never shown as a page of the door's own", async () => {
  await using box = await makeBox(tenant);
  await box.command("echo '<script>alert(1)</script>' > page.html");
  const { url } = await link(await keep(box, { path: "page.html", name: `x"; filename=evil.html` }));
  const { headers } = await fetch(url);
  assert.equal(headers.get("content-type"), "application/octet-stream");
  assert.match(headers.get("content-disposition") ?? "", /^attachment; filename\*=UTF-8''x%22%3B%20filename%3Devil\.html$/);
  assert.match(headers.get("content-security-policy") ?? "", /sandbox/);
  assert.equal(headers.get("x-content-type-options"), "nosniff");
});

test("a download is resumed by its range", async () => {
  await using box = await makeBox(tenant);
  await box.command("printf 0123456789 > ten");
  const { url } = await link(await keep(box, { path: "ten" }));
  const part = async (range: string) => {
    const answer = await fetch(url, { headers: { range } });
    return [answer.status, await answer.text(), answer.headers.get("content-range")];
  };
  assert.deepEqual(await part("bytes=2-4"), [206, "234", "bytes 2-4/10"]);
  assert.deepEqual(await part("bytes=7-"), [206, "789", "bytes 7-9/10"]);
  assert.deepEqual(await part("bytes=8-99"), [206, "89", "bytes 8-9/10"]);
  assert.deepEqual(await part("bytes=-3"), [206, "789", "bytes 7-9/10"]);
  assert.deepEqual(await part("bytes=-99"), [206, "0123456789", "bytes 0-9/10"]);
  assert.deepEqual(await part("bytes=4-2"), [200, "0123456789", null]);
  const outside = fetch(url, { headers: { range: "bytes=10-" } });
  assert.equal((await outside).headers.get("content-range"), "bytes */10");
  await refused(outside, "range_not_satisfiable");
});

test("a download goes on only with the same bytes, and is not sent to who has them", async () => {
  await using box = await makeBox(tenant);
  await box.command("printf 0123456789 > ten");
  const kept = await keep(box, { path: "ten" });
  const { url } = await link(kept);
  const answer = async (headers: Record<string, string>, method = "GET") => {
    const got = await fetch(url, { method, headers });
    return [got.status, await got.text()];
  };
  const tag = `"${kept.sha256}"`;
  assert.deepEqual(await answer({ range: "bytes=2-4", "if-range": tag }), [206, "234"]);
  assert.deepEqual(await answer({ range: "bytes=2-4", "if-range": '"other"' }), [200, "0123456789"]);
  assert.deepEqual(await answer({ "if-none-match": `"x", ${tag}` }), [304, ""]);
  assert.deepEqual(await answer({ "if-none-match": '"x"' }), [200, "0123456789"]);
  assert.deepEqual(await answer({}, "HEAD"), [200, ""]);
  assert.equal((await fetch(url, { method: "HEAD" })).headers.get("content-length"), "10");
  for (const method of ["PUT", "POST", "DELETE"]) await refused(fetch(url, { method }), "method_not_allowed");
});

test("a name has versions, each with its own bytes, and the newest is found by the name alone", async () => {
  await using box = await makeBox(tenant);
  const name = `report ${box.id}`;
  for (const text of ["one", "two"]) {
    await box.command(`echo ${text} > report.md`);
    await keep(box, { path: "report.md", name });
  }
  const found = async (query: string) =>
    page(Artifact).parse(await tenant.json("GET", `/api/artifacts?name=${encodeURIComponent(name)}${query}`)).items;
  assert.deepEqual(
    (await found("")).map(({ version }) => version),
    [2, 1],
  );
  const [latest] = await found("&version=latest");
  const [first] = await found("&version=1");
  assert.ok(latest && first && latest.traceId && latest.spanId);
  assert.equal(await (await fetch((await link(latest)).url)).text(), "two\n");
  assert.equal(await (await fetch((await link(first)).url)).text(), "one\n");
});

test("an empty file is kept and downloaded as one", async () => {
  await using box = await makeBox(tenant);
  await box.command(": > nothing");
  const kept = await keep(box, { path: "nothing" });
  assert.deepEqual([kept.sizeBytes, kept.sha256], [0, sha256("")]);
  const answer = await fetch((await link(kept)).url);
  assert.deepEqual([answer.status, await answer.text()], [200, ""]);
});

test("artifacts are listed newest first, by sandbox and by task, in pages that miss none", async () => {
  const own = await newTenant(door);
  await using one = await makeBox(own, { taskId: "t-one" });
  await using two = await makeBox(own, { taskId: "t-two" });
  const ids: string[] = [];
  for (const box of [one, two, one, two, one]) {
    await box.command(`echo ${ids.length} > f`);
    ids.unshift((await keep(box, { path: "f" }, own)).id);
  }
  const list = async (query: string) => page(Artifact).parse(await own.json("GET", `/api/artifacts?${query}`));
  const idsOf = async (query: string) => (await list(query)).items.map(({ id }) => id);
  assert.deepEqual(await idsOf(""), ids);
  assert.deepEqual(await idsOf(`sandboxId=${one.id}`), [ids[0], ids[2], ids[4]]);
  assert.deepEqual(await idsOf("taskId=t-two"), [ids[1], ids[3]]);
  assert.deepEqual(await idsOf(`taskId=t-two&sandboxId=${one.id}`), []);
  const seen: string[] = [];
  let found = await list("limit=2");
  for (;;) {
    seen.push(...found.items.map(({ id }) => id));
    if (found.next === undefined) break;
    found = await list(`limit=2&after=${found.next}`);
  }
  assert.deepEqual(seen, ids);
});

test("a link that was altered in any part opens nothing", async () => {
  await using box = await makeBox(tenant);
  await box.command("echo one > one; echo two > two");
  const [one, two] = [await keep(box, { path: "one" }), await keep(box, { path: "two" })];
  const { url } = await link(one);
  const altered = (change: (url: URL) => void) => {
    const changed = new URL(url);
    change(changed);
    return fetch(changed);
  };
  const ticket = new URL(url).searchParams.get("ticket") ?? "";
  const expires = Number(new URL(url).searchParams.get("expires"));
  await refused(
    altered((to) => to.searchParams.set("expires", String(expires + 60_000))),
    "link_not_valid",
  );
  await refused(
    altered((to) => to.searchParams.set("expires", "1e99")),
    "link_not_valid",
  );
  await refused(
    altered((to) => to.searchParams.set("ticket", `${ticket.slice(0, -1)}${ticket.endsWith("A") ? "B" : "A"}`)),
    "link_not_valid",
  );
  await refused(
    altered((to) => to.searchParams.set("ticket", "../root.x")),
    "link_not_valid",
  );
  await refused(
    altered((to) => (to.pathname = to.pathname.replace(one.id, two.id))),
    "link_not_valid",
  );
  await refused(
    altered((to) => to.searchParams.delete("ticket")),
    "invalid_request",
  );
  assert.equal(await (await fetch(url)).text(), "one\n");
});

test("a link stops when its time is over", async () => {
  await using box = await makeBox(tenant);
  await box.command("echo one > one");
  const { url, expiresAt } = await link(await keep(box, { path: "one" }), { lifetimeMs: 1000 });
  assert.equal((await fetch(url)).status, 200);
  await until("the link has expired", async () => {
    const { status } = await fetch(url);
    assert.equal(status, Date.now() < Date.parse(expiresAt) - 100 ? 200 : status);
    return status === 403;
  });
  await refused(fetch(url), "link_not_valid");
  await refused(
    tenant.send("POST", `/api/artifacts/${(await keep(box, { path: "one" })).id}/link`, { lifetimeMs: 90_000_000 }),
    "invalid_request",
  );
});

test("a deleted artifact is gone, and its links with it; deleting it again finds nothing", async () => {
  await using box = await makeBox(tenant);
  await box.command("echo one > one");
  const kept = await keep(box, { path: "one" });
  const { url } = await link(kept);
  await tenant.json("DELETE", `/api/artifacts/${kept.id}`, undefined, 204);
  await refused(fetch(url), "artifact_not_found");
  await refused(tenant.send("GET", `/api/artifacts/${kept.id}`), "artifact_not_found");
  await refused(tenant.send("DELETE", `/api/artifacts/${kept.id}`), "artifact_not_found");
  await refused(tenant.send("POST", `/api/artifacts/${kept.id}/link`, {}), "artifact_not_found");
});

test("the same bytes of two sandboxes are two artifacts: deleting one leaves the other whole", async () => {
  await using one = await makeBox(tenant);
  await using two = await makeBox(tenant);
  for (const box of [one, two]) await box.command("seq 100000 > same");
  const [first, second] = await Promise.all([keep(one, { path: "same" }), keep(two, { path: "same" })]);
  assert.equal(first.sha256, second.sha256);
  assert.notEqual(first.id, second.id);
  await tenant.json("DELETE", `/api/artifacts/${first.id}`, undefined, 204);
  const bytes = new Uint8Array(await (await fetch((await link(second)).url)).arrayBuffer());
  assert.equal(sha256(bytes), second.sha256);
  // And the other way round: what comes after the last one has gone is kept afresh.
  await tenant.json("DELETE", `/api/artifacts/${second.id}`, undefined, 204);
  const third = await keep(one, { path: "same" });
  assert.equal(sha256(new Uint8Array(await (await fetch((await link(third)).url)).arrayBuffer())), first.sha256);
});

test("what is no regular file there is not kept", async () => {
  await using box = await makeBox(tenant);
  await box.command("mkfifo pipe; ln -s /dev/zero endless");
  const path = `/api/sandboxes/${box.id}/artifacts`;
  await refused(tenant.send("POST", path, { path: "pipe" }), "not_a_file");
  await refused(tenant.send("POST", path, { path: "endless" }), "not_a_file");
  await refused(tenant.send("POST", path, { path: "missing" }), "file_not_found");
  await refused(tenant.send("POST", path, { path: "a\0b" }), "invalid_path");
  await refused(tenant.send("POST", path, { path: "../../../etc/passwd" }), "invalid_path");
  await refused(tenant.send("POST", path, {}), "invalid_request");
  await refused(tenant.send("POST", "/api/sandboxes/never-was/artifacts", { path: "f" }), "sandbox_not_found");
  await box[Symbol.asyncDispose]();
  await refused(tenant.send("POST", path, { path: "f" }), "sandbox_ended");
});

test("another project's artifact is none", async () => {
  const other = await newTenant(door);
  await using box = await makeBox(tenant);
  await box.command("echo one > one");
  const kept = await keep(box, { path: "one" });
  await refused(other.send("GET", `/api/artifacts/${kept.id}`), "artifact_not_found");
  await refused(other.send("POST", `/api/artifacts/${kept.id}/link`, {}), "artifact_not_found");
  await refused(other.send("DELETE", `/api/artifacts/${kept.id}`), "artifact_not_found");
  assert.equal((await tenant.send("GET", `/api/artifacts/${kept.id}`)).status, 200);
});

test("two hundred megabytes are kept and downloaded in constant memory of the gateway", async () => {
  await using own = await startDoor();
  const by = await newTenant(own);
  await using box = await makeBox(by);
  await box.command("for mib in 50 200; do head -c ${mib}M /dev/zero | tr '\\0' x > $mib; done");
  const passes = async (mib: number) => {
    const kept = await keep(box, { path: String(mib) }, by);
    assert.equal(kept.sizeBytes, mib * 1024 * 1024);
    const answer = await fetch((await link(kept, {}, by)).url);
    let sizeBytes = 0;
    for await (const chunk of answer.body ?? []) sizeBytes += chunk.byteLength;
    assert.equal(sizeBytes, kept.sizeBytes);
  };
  const gateway = functionPid(own, "cleanroom-gateway");
  // What a stream takes once, whatever its length, is taken by the first.
  await passes(50);
  const before = peakMiB(gateway);
  await passes(200);
  const grown = peakMiB(gateway) - before;
  assert.ok(grown < 40, `the gateway grew by ${grown.toFixed(0)} MiB`);

  // The parts of an upload survive the gateway, and what it was just receiving leaves nothing.
  const { id } = Upload.parse(await by.json("POST", "/api/uploads", { name: "whole", sizeBytes: 6 }, 201));
  await by.json("PUT", `/api/uploads/${id}/parts/2`, "def");
  process.kill(gateway, "SIGKILL");
  await until(
    "the gateway is back",
    () =>
      by.send("GET", "/api/me").then(
        ({ ok }) => ok,
        () => false,
      ),
    60_000,
  );
  assert.deepEqual(
    Upload.parse(await by.json("GET", `/api/uploads/${id}`)).parts.map(({ part }) => part),
    [2],
  );
  await by.json("PUT", `/api/uploads/${id}/parts/1`, "abc");
  const made = Artifact.parse(await by.json("POST", `/api/uploads/${id}/complete`, { sha256: sha256("abcdef") }, 201));
  assert.equal(await (await fetch((await link(made, {}, by)).url)).text(), "abcdef");
});
