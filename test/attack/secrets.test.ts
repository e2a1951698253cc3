import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { signAcs3 } from "#contract/acs3.ts";
import { signProof } from "#contract/proof.ts";
import { hostView, searchMemory } from "#support/host-view.ts";
import { proves, python, type Range } from "#support/range.ts";
import { until } from "#support/until.ts";

interface Secrets {
  signingKey: string;
  engineKeyId: string;
  engineKeySecret: string;
}

const readSecrets = async ({ door }: Range) => JSON.parse(await readFile(join(door.dataDir, "secrets.json"), "utf8")) as Secrets;

/** Looks through all that code can read: environments, command lines, its own memory's files, and the whole disk. */
const search = (needles: readonly string[]) =>
  python(`
import os, glob
needles = [bytes.fromhex(one) for one in ${JSON.stringify(needles.map((needle) => Buffer.from(needle).toString("hex")))}]
found = set()
def look(path, size):
    try:
        with open(path, "rb") as file: text = file.read(size)
    except OSError: return
    found.update(i for i, needle in enumerate(needles) if needle in text)
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"): look(path, 1 << 20)
for top in ("/home", "/tmp", "/etc", "/opt", "/root", "/var", "/run", "/mnt", "/dev/shm", "/srv", "/usr/local"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path): look(path, 16 << 20)
print(sorted(found))`);

proves(
  "C1",
  "no key of the platform, an operator or a project is anywhere in a sandbox: not on disk, in an environment or in memory",
  async (range) => {
    const { inside, send, tenant, door } = range;
    const secrets = await readSecrets(range);
    const canary = `canary-${crypto.randomUUID()}`;
    const needles = [
      door.rootKey.accessKeySecret,
      door.rootKey.apiKey,
      tenant.key.accessKeySecret,
      secrets.engineKeySecret,
      secrets.engineKeyId,
      secrets.signingKey,
      canary,
    ];
    await send("PUT", "/files/content?path=planted", canary);
    assert.equal((await inside(search(needles))).stdout.trim(), "[6]", "the search finds what was planted and nothing else");
    await send("POST", "/contexts/execute", { language: "python", code: `kept = ${JSON.stringify(canary)}` });
    const { pids } = await hostView(range);
    assert.deepEqual(await searchMemory(pids, needles), [canary], "nor does the host find more in the sandbox's memory");
  },
);

const word = () => `word-${crypto.randomUUID()}`;

proves("T3", "a caller's credentials, cookies and address stop at the door: they are not even in the workspace's memory", async (range) => {
  const { send, tenant, sandboxId } = range;
  const { pids } = await hostView(range);
  const [passed, cookie, forwarded, ticket, agentrun, proof, ownSession] = [word(), word(), word(), word(), word(), word(), word()];
  const headers = {
    "x-passed": passed,
    cookie: `session=${cookie}`,
    "x-forwarded-for": forwarded,
    "agentrun-access-token": agentrun,
    "cleanroom-proof": proof,
    "cleanroom-session-id": ownSession,
    "x-fc-account-id": word(),
  };
  const done = new AbortController();
  const held = fetch(`${range.door.origin}/sandboxes/${sandboxId}/processes/cmd?ticket=${ticket}&Authorization=${ticket}`, {
    method: "POST",
    headers: { ...headers, authorization: `Bearer ${tenant.key.apiKey}`, "content-type": "application/json" },
    body: JSON.stringify({ command: "touch ~/begun; sleep 30", timeout: 30 }),
    signal: done.signal,
  }).catch(() => undefined);
  try {
    await until("the request is being answered", async () => (await send("GET", "/filesystem/stat?path=begun")).status === 200);
    const found = await searchMemory(pids, [
      passed,
      cookie,
      forwarded,
      ticket,
      agentrun,
      proof,
      ownSession,
      headers["x-fc-account-id"],
      tenant.key.accessKeySecret,
    ]);
    assert.deepEqual(found, [passed]);
  } finally {
    done.abort();
    await held;
  }
});

/** Asks a workspace over its own socket, as only the host's root can, without the door or the engine between. */
function ask(socketPath: string, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, headers: { host: "sandbox", ...headers } }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    call.on("error", reject);
    call.end();
  });
}

proves("T14", "a workspace answers nobody without the door's proof for that one session, on whatever way they come", async (range) => {
  const { tenant, sandboxId, door } = range;
  const { socketPath } = await hostView(range);
  const session = `${tenant.projectId}_${sandboxId}`;
  const key = createPrivateKey({ key: Buffer.from((await readSecrets(range)).signingKey, "base64"), format: "der", type: "pkcs8" });
  const { privateKey: another } = generateKeyPairSync("ed25519");
  const soon = Date.now() + 60_000;
  const good = signProof(key, session, soon);
  const name = { "cleanroom-session-id": session };
  const attempts: Record<string, Record<string, string>> = {
    nothing: {},
    "only the session": name,
    "another key": { ...name, "cleanroom-proof": signProof(another, session, soon) },
    "another session's proof": { ...name, "cleanroom-proof": signProof(key, "other", soon) },
    "a good proof for another session": { "cleanroom-session-id": "other", "cleanroom-proof": signProof(key, "other", soon) },
    "an old proof": { ...name, "cleanroom-proof": signProof(key, session, Date.now() - 1) },
    "a later end": { ...name, "cleanroom-proof": good.replace(/^\d+/, String(soon + 1)) },
    "no signature": { ...name, "cleanroom-proof": `${soon}.` },
    "not a number": { ...name, "cleanroom-proof": `Infinity.${good.split(".")[1]}` },
    "a door's own key": { ...name, authorization: `Bearer ${tenant.key.apiKey}` },
  };
  const path = "/contexts";
  assert.equal(await ask(socketPath, path, { ...name, "cleanroom-proof": good }), 200, "the real proof opens it");
  for (const [what, headers] of Object.entries(attempts)) assert.equal(await ask(socketPath, path, headers), 401, `${what}, on the socket`);
  const way = `${door.engineOrigin}/door/cleanroom-workspace${path}`;
  assert.equal((await fetch(way, { headers: { ...name, "cleanroom-proof": good } })).status, 200);
  for (const [what, headers] of Object.entries(attempts)) {
    const { status } = await fetch(way, { headers });
    assert.ok(status >= 400 && status < 500, `${what}, through the engine: ${status}`);
  }
});

proves("T18", "the engine takes orders from its own key alone: unsigned, altered and repeated calls are refused", async (range) => {
  const { door, tenant } = range;
  const { engineKeyId, engineKeySecret } = await readSecrets(range);
  const url = "/2023-03-30/functions";
  const { host } = new URL(door.engineOrigin);
  const sign = (key: { accessKeyId: string; accessKeySecret: string }, now = Date.now()) =>
    signAcs3({ method: "GET", url, headers: { host, "x-acs-version": "2023-03-30" } }, key, now);
  const call = (headers: Record<string, string>, path = url, method = "GET") => speakHttp(door.engineOrigin, method, path, headers);
  const own = { accessKeyId: engineKeyId, accessKeySecret: engineKeySecret };
  const signed = sign(own);
  assert.equal(await call(signed), 200);
  const refused: Record<string, Promise<number>> = {
    unsigned: call({}),
    "signed before": call(signed),
    "for another path": call(sign(own), "/2023-03-30/functions/cleanroom-workspace/sessions"),
    "for another method": call(sign(own), url, "DELETE"),
    "by a project's key": call(sign(tenant.key)),
    "by the root key": call(sign(door.rootKey)),
    "by a guessed secret": call(sign({ ...own, accessKeySecret: "guess" })),
    "an hour old": call(sign(own, Date.now() - 3_600_000)),
    "with a bearer key": call({ authorization: `Bearer ${door.rootKey.apiKey}` }),
  };
  for (const [what, status] of Object.entries(refused)) assert.ok([400, 401, 403].includes(await status), `${what}: ${await status}`);
});

function speakHttp(origin: string, method: string, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const call = request(origin + path, { method, headers }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    call.on("error", reject);
    call.end();
  });
}
