import assert from "node:assert/strict";
import { INNER_HEADER } from "#contract/inner.ts";
import type { Snapshot } from "#contract/snapshot.ts";
import { proves, type Range } from "#support/range.ts";

const take = ({ tenant, sandboxId }: Pick<Range, "tenant" | "sandboxId">, name: string) =>
  tenant.json<Snapshot>("POST", `/api/sandboxes/${sandboxId}/snapshots`, { name }, 201);

proves("S1", "another project's snapshot does not exist, and whether somebody else has the same bytes cannot be told", async (range) => {
  const { inside, send, stranger, tenant } = range;
  const bytes = Buffer.from("known to both ".repeat(50_000));
  await send("PUT", "/files/content?path=known", bytes);
  const own = await take(range, "mine");
  assert.equal((await take(range, "mine-again")).newBytes, 0, "the owner's own bytes are shared");
  const other = await stranger();
  for (const [method, path, body] of [
    ["GET", "/api/snapshots/mine"],
    ["DELETE", "/api/snapshots/mine"],
    ["POST", "/api/sandboxes", { snapshot: "mine" }],
    ["POST", `/api/sandboxes/${range.sandboxId}/snapshots`, { name: "theirs" }],
    ["POST", `/api/sandboxes/${range.sandboxId}/fork`, {}],
  ] as const)
    assert.equal((await other.send(method, path, body)).status, 404, `${method} ${path}`);
  for (const name of ["..%2Fmine", "%2e%2e", `${tenant.projectId}%2Fmine`, "mine%00"])
    assert.equal((await other.send("GET", `/api/snapshots/${name}`)).status, 404, name);
  assert.deepEqual(await other.json("GET", "/api/snapshots"), { items: [] });
  const { id } = await other.json<{ id: string }>("POST", "/api/sandboxes", {}, 201);
  await other.send("PUT", `/sandboxes/${id}/files/content?path=known`, bytes);
  const theirs = await take({ tenant: other, sandboxId: id }, "mine");
  assert.equal(theirs.newBytes, theirs.sizeBytes);
  await other.json("DELETE", `/api/sandboxes/${id}`);
  assert.deepEqual(await tenant.json("GET", "/api/snapshots/mine"), own);
  assert.match((await inside("wc -c < known")).stdout, /^700000$/m);
});

proves("S2", "files that come back have no more rights, lead nowhere else and are no devices", async (range) => {
  const { inside, neighbour } = range;
  const planted = await inside(`cp /bin/true tool && chmod 6777 tool && mkdir shared && chmod 2777 shared && ln -s /etc/shadow way
    ln -s /proc/self self && mkfifo pipe && python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('sock')" && stat -c %a tool shared`);
  assert.match(planted.stdout, /^6777\n2777$/m, "they can be planted");
  await take(range, "trap");
  const victim = await neighbour({ snapshot: "trap" });
  const found = await victim.inside(
    "stat -c '%n %F %a %u' tool shared; readlink way self; ls pipe sock; find / -xdev -perm /6000 -user 1000 2>/dev/null",
  );
  assert.match(found.stdout, /^tool regular file 777 1000\nshared directory 777 1000\n\/etc\/shadow\n\/proc\/self\n$/);
});

proves("S3", "no client can ask a workspace for what only the core may, in whatever spelling", async (range) => {
  const { inside, send } = range;
  await take(range, "control");
  const names = [INNER_HEADER, INNER_HEADER.toUpperCase(), "Cleanroom_Inner", `x-${INNER_HEADER}`];
  for (const path of ["/snapshot", "//snapshot", "/snapshot/", "/snapshot?x=1", "/%73napshot"]) {
    for (const name of names) {
      assert.equal((await send("GET", path, undefined, { [name]: "1" })).status, 404, `GET ${path} with ${name}`);
      const put = await send("PUT", path, Buffer.alloc(1024), { [name]: "1", connection: INNER_HEADER }).catch(() => undefined);
      assert.equal(put?.status ?? 404, 404, `PUT ${path} with ${name}`);
    }
  }
  assert.match((await inside("ls -A ~/.bashrc")).stdout, /bashrc/, "nothing was replaced");
});
