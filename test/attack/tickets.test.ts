import assert from "node:assert/strict";
import { proves } from "#support/range.ts";
import { until } from "#support/until.ts";

proves(
  "T16",
  "a download link is good for the one file it was made for, until its end, and not a moment or a letter more",
  async (range) => {
    const { door, tenant, sandboxId, send } = range;
    const keep = async (name: string) => {
      await send("PUT", `/files/content?path=${name}`, name);
      return (await tenant.json<{ id: string }>("POST", `/api/sandboxes/${sandboxId}/artifacts`, { path: name }, 201)).id;
    };
    const [first, second] = [await keep("first"), await keep("second")];
    const linkOf = async (body: object) =>
      new URL((await tenant.json<{ url: string }>("POST", `/api/artifacts/${first}/link`, body, 201)).url);
    const link = await linkOf({});
    const open = (change: (link: URL) => void) => {
      const changed = new URL(link.href);
      change(changed);
      return fetch(door.origin + changed.pathname + changed.search);
    };
    assert.equal(await (await open(() => undefined)).text(), "first");
    const ticket = link.searchParams.get("ticket") ?? "";
    const [project = "", mac = ""] = ticket.split(".");
    const stranger = await range.stranger();
    const changes: Record<string, (link: URL) => void> = {
      "another file": (url) => void (url.pathname = url.pathname.replace(first, second)),
      "a later end": (url) => url.searchParams.set("expires", String(Number(url.searchParams.get("expires")) + 1)),
      "an end that is no number": (url) => url.searchParams.set("expires", "Infinity"),
      "no ticket": (url) => url.searchParams.delete("ticket"),
      "an empty ticket": (url) => url.searchParams.set("ticket", ""),
      "a short ticket": (url) => url.searchParams.set("ticket", ticket.slice(0, -1)),
      "one letter changed": (url) => url.searchParams.set("ticket", `${project}.${mac.startsWith("A") ? "B" : "A"}${mac.slice(1)}`),
      "another project": (url) => url.searchParams.set("ticket", `${stranger.projectId}.${mac}`),
      "a path for a project": (url) => url.searchParams.set("ticket", `../${project}.${mac}`),
    };
    for (const [what, change] of Object.entries(changes))
      assert.ok([400, 403, 404].includes((await open(change)).status), `${what}: ${(await open(change)).status}`);
    const brief = await linkOf({ lifetimeMs: 1000 });
    await until("the link has ended", async () => (await fetch(door.origin + brief.pathname + brief.search)).status === 403);
    await tenant.send("DELETE", `/api/artifacts/${first}`);
    assert.equal((await open(() => undefined)).status, 404, "what is deleted has no links");
  },
);

proves("T17", "a token for one sandbox opens that sandbox and nothing else, and no altered one opens anything", async (range) => {
  const { door, tenant, sandboxId, neighbour } = range;
  const { data } = await tenant.json<{ data: { accessToken: string } }>(
    "GET",
    `/2025-09-10/agents/accessToken?resourceType=sandbox&resourceId=${sandboxId}`,
  );
  const token = data.accessToken;
  const ask = async (path: string, credential = token, method = "GET", header = "agentrun-access-token") =>
    (await fetch(door.origin + path, { method, headers: { [header]: credential } })).status;
  assert.equal(await ask(`/sandboxes/${sandboxId}/contexts`), 200);
  const other = await neighbour();
  assert.equal(await ask(`/sandboxes/${other.sandboxId}/contexts`), 404);
  for (const path of [
    "/api/sandboxes",
    "/api/templates",
    "/api/artifacts",
    `/api/sandboxes/${sandboxId}`,
    "/api/projects",
    "/2025-09-10/sandboxes",
  ]) {
    assert.ok([401, 403, 404].includes(await ask(path)), `${path}: ${await ask(path)}`);
  }
  assert.ok([401, 403].includes(await ask(`/api/projects/${tenant.projectId}/keys`, token, "POST")), "it makes no keys");
  const [head = "", mac = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(head.replace("crt_", ""), "base64url").toString()) as object;
  const forge = (change: object) => `crt_${Buffer.from(JSON.stringify({ ...claims, ...change })).toString("base64url")}.${mac}`;
  assert.equal(forge({}), token);
  for (const forged of [
    forge({ scope: { sandboxId: other.sandboxId } }),
    forge({ expiresAtMs: 9e15 }),
    forge({ projectId: "root" }),
    `${head}.`,
    head,
    `${token}x`,
    token.slice(0, -2),
    "crt_.",
    "crt_e30.",
  ]) {
    assert.equal(await ask(`/sandboxes/${sandboxId}/contexts`, forged), 401, forged);
  }
});

proves("C6", "a sandbox's token is worth nothing after its end, from inside, or in another key's place", async (range) => {
  const { door, tenant, sandboxId, inside } = range;
  const { data } = await tenant.json<{ data: { accessToken: string } }>(
    "GET",
    `/2025-09-10/agents/accessToken?resourceType=sandbox&resourceId=${sandboxId}`,
  );
  const ask = async (headers: Record<string, string>, path = `/sandboxes/${sandboxId}/contexts`) =>
    (await fetch(door.origin + path, { headers })).status;
  const token = data.accessToken;
  assert.equal(await ask({ "agentrun-access-token": token }), 200);
  assert.equal(await ask({ authorization: `Bearer ${token}` }, "/api/sandboxes"), 403, "it is no key of the project");
  const { port } = new URL(door.origin);
  const call = await inside(
    `exec 3<>/dev/tcp/127.0.0.1/${port} && printf 'GET /sandboxes/${sandboxId}/contexts HTTP/1.0\\r\\nagentrun-access-token: ${token}\\r\\n\\r\\n' >&3 && cat <&3`,
  );
  assert.notEqual(call.exitCode, 0, "from inside there is no door to show it at");
  await tenant.json("DELETE", `/api/sandboxes/${sandboxId}`);
  assert.ok([401, 404, 410].includes(await ask({ "agentrun-access-token": token })), "after the end there is nothing that it opens");
  for (const path of [`/sandboxes/${sandboxId}/files?path=x`, `/sandboxes/${sandboxId}/processes`, "/api/sandboxes"])
    assert.ok([401, 403, 404, 410].includes(await ask({ "agentrun-access-token": token }, path)), path);
});
