import assert from "node:assert/strict";
import { INNER_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { answers, attempts, type Box, proves, type Range } from "#support/range.ts";

const sandbox = { template: "all-in-one" };
const PROFILE = "/home/user/.browser/Default";

const save = ({ tenant, sandboxId }: Pick<Range, "tenant"> & Pick<Box, "sandboxId">, name: string) =>
  tenant.send("PUT", `/api/sandboxes/${sandboxId}/browser-profiles/${name}`, {});

/** What stands in the folders of a profile: kind and name of each. */
const listed = async ({ inside }: Pick<Box, "inside">) =>
  (await inside(`cd ${PROFILE} && find Cookies* IndexedDB 'Local Storage' Extensions Preferences -printf '%y %p\\n' | sort`)).stdout;

const PLANTED = attempts(`
import stat
os.makedirs("${PROFILE}/IndexedDB/site/deep", exist_ok=True)
os.makedirs("${PROFILE}/Extensions/evil", exist_ok=True)
os.chdir("${PROFILE}/IndexedDB/site")
def write(path, text):
    with open(path, "w") as file: file.write(text)
write("plain", "kept"); write("deep/plain", "kept too"); write("${PROFILE}/Extensions/evil/run.js", "x"); write("/home/user/secret", "s3cret")
write("${PROFILE}/Preferences", "{}")
attempt("symlink", lambda: os.symlink("/etc/passwd", "link"))
attempt("folder_link", lambda: os.symlink("/etc", "folder"))
attempt("cookies_link", lambda: os.symlink("/etc/passwd", "${PROFILE}/Cookies"))
attempt("hard_link", lambda: os.link("/home/user/secret", "hard"))
attempt("fifo", lambda: os.mkfifo("pipe"))
attempt("socket", lambda: socket.socket(socket.AF_UNIX).bind("sock"))
attempt("device", lambda: os.mknod("device", stat.S_IFCHR | 0o666, os.makedev(1, 3)))
attempt("setuid", lambda: (write("tool", "#!/bin/sh"), os.chmod("tool", 0o6777)))
`);

proves(
  "Q1",
  "what code plants in the browser's profile is followed nowhere, and what comes back are plain files of a profile alone",
  async (range) => {
    const { inside, neighbour } = range;
    const { device, ...planted } = answers(await inside(PLANTED));
    assert.deepEqual(new Set(Object.values(planted)), new Set(["ok"]), "they can be planted");
    assert.match(device ?? "", /^E(PERM|ACCES)$/);
    assert.match((await inside(`cat ${PROFILE}/IndexedDB/site/link`)).stdout, /^root:/, "a link leads where its reader may go");
    assert.equal((await save(range, "trap")).status, 200);
    const victim = await neighbour({ ...sandbox, browserProfile: "trap" });
    assert.equal(
      await listed(victim),
      "d IndexedDB\nd IndexedDB/site\nd IndexedDB/site/deep\nf IndexedDB/site/deep/plain\nf IndexedDB/site/plain\nf IndexedDB/site/tool\n",
    );
    assert.match((await victim.inside(`stat -c '%a %u' ${PROFILE}/IndexedDB/site/tool`)).stdout, /^600 1000$/m);
    // A folder of the way itself is a link: nothing behind it is the profile's.
    await inside("mv ~/.browser ~/elsewhere && ln -s ~/elsewhere ~/.browser");
    assert.equal((await save(range, "behind")).status, 200);
    assert.equal(await listed(await neighbour({ ...sandbox, browserProfile: "behind" })), "");
  },
  { sandbox },
);

proves(
  "Q2",
  "a profile that is too large or of too many files, or whose browser does not answer, is refused, and what was kept stays",
  async (range) => {
    const { inside, send, tenant } = range;
    const kept = await (await save(range, "own")).json();
    const large = LIMITS.browserProfileBytes + 1;
    await inside(`mkdir -p ${PROFILE}/IndexedDB && truncate -s ${large} ${PROFILE}/IndexedDB/large`);
    assert.equal((await save(range, "own")).status, 413);
    await inside(`rm ${PROFILE}/IndexedDB/large && cd ${PROFILE}/IndexedDB && seq 1 300000 | xargs touch`, 300);
    assert.equal((await save(range, "own")).status, 413);
    await inside(`rm -r ${PROFILE}/IndexedDB`, 300);
    // The browser that runs is stopped in the middle: it neither closes nor answers, and is not waited for without end.
    await send("PUT", "/browser");
    await inside("pkill -STOP -x chromium");
    assert.equal((await save(range, "own")).status, 503);
    assert.deepEqual(await tenant.json("GET", "/api/browser-profiles/own"), kept);
    assert.equal((await save(range, "own")).status, 503, "who does not answer is not ended for that");
    await inside("pkill -KILL -x chromium");
  },
  { sandbox },
);

proves(
  "Q3",
  "a profile is its project's alone, saved and given by a key of it and by nothing else",
  async (range) => {
    const { door, send, sandboxId, stranger, tenant } = range;
    assert.equal((await save(range, "mine")).status, 200);
    const other = await stranger();
    for (const [method, path, body] of [
      ["GET", "/api/browser-profiles/mine"],
      ["DELETE", "/api/browser-profiles/mine"],
      ["POST", "/api/sandboxes", { ...sandbox, browserProfile: "mine" }],
      ["PUT", `/api/sandboxes/${sandboxId}/browser-profiles/theirs`, {}],
    ] as const)
      assert.equal((await other.send(method, path, body)).status, 404, `${method} ${path}`);
    for (const name of ["..%2Fmine", "%2e%2e", `${tenant.projectId}%2Fmine`, "mine%00", "__proto__", "constructor"])
      assert.equal((await other.send("GET", `/api/browser-profiles/${name}`)).status, 404, name);
    assert.deepEqual(await other.json("GET", "/api/browser-profiles"), { items: [] });
    const minted = await tenant.json<{ data: { accessToken: string } }>(
      "GET",
      `/2025-09-10/agents/accessToken?resourceType=sandbox&resourceId=${sandboxId}`,
    );
    const headers = { authorization: `Bearer ${minted.data.accessToken}` };
    assert.equal(
      (await fetch(`${door.origin}/sandboxes/${sandboxId}/browser`, { headers })).status,
      200,
      "the token is good for its sandbox",
    );
    for (const [method, path] of [
      ["PUT", `/api/sandboxes/${sandboxId}/browser-profiles/tokens`],
      ["GET", "/api/browser-profiles/mine"],
      ["DELETE", "/api/browser-profiles/mine"],
    ] as const)
      assert.equal((await fetch(door.origin + path, { method, headers })).status, 403, `${method} ${path} with a sandbox's token`);
    // What only the core may ask of a workspace, no client can.
    for (const method of ["POST", "PUT"]) {
      for (const name of [INNER_HEADER, INNER_HEADER.toUpperCase(), `x-${INNER_HEADER}`])
        assert.equal(
          (await send(method, "/profile", undefined, { [name]: "1", connection: INNER_HEADER })).status,
          404,
          `${method} ${name}`,
        );
    }
    assert.equal((await tenant.send("GET", "/api/browser-profiles/mine")).status, 200);
  },
  { sandbox },
);
