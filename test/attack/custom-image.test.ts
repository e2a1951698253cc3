import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import type { AddressInfo } from "node:net";
import { type Box, makeBox } from "#support/box.ts";
import { addServerImage, imageTemplate, type Itself } from "#support/custom-image.ts";
import { newTenant, openDoor } from "#support/door.ts";
import type { Reached } from "#support/port-server.ts";
import { outside } from "#support/range.ts";
import { cannotSeal } from "#support/sealed-host.ts";

const skip = cannotSeal() ?? false;
const bounded = { timeout: 240_000, skip };
const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
let image = "";
/** Of an image whose program is root, as most are. */
let template = "";
before(async () => {
  image = await addServerImage(door);
  template = await imageTemplate(tenant, { image });
});

/** Runs Python in the image's program itself. */
async function inside(box: Box, code: string): Promise<string> {
  return ((await (await box.inside("POST", "/run", code)).json()) as { said: string }).said.trim();
}

/** The same on the bare machine. */
async function onHost(code: string): Promise<string> {
  const encoded = Buffer.from(code).toString("base64");
  const { stdout, stderr } = await outside(`python3 -c "import base64; exec(base64.b64decode('${encoded}'))"`);
  return `${stdout}${stderr}`.trim();
}

/** What is tried, in Python. It runs once inside and once on the bare machine, and says of each attempt whether it was done. */
function attempts(tried: Record<string, string>): string {
  const head =
    "import ctypes, json, os, socket, stat\nlibc = ctypes.CDLL(None, use_errno=True)\ndef call(result):\n    if result < 0: raise OSError(ctypes.get_errno(), '')\n";
  const each = Object.entries(tried).map(
    ([what, code]) =>
      `try:\n    ${code}\n    print("done:", ${JSON.stringify(what)})\nexcept OSError as error:\n    print("refused:", ${JSON.stringify(what)})\n`,
  );
  return head + each.join("");
}

const verdicts = (said: string) => said.split("\n").filter((line) => /^(done|refused):/.test(line));

test("O3: an image's program, though root, is sealed as all other code: no rights, no way out, no kernel, no host", bounded, async () => {
  await using box = await makeBox(tenant, { template });
  const told = (await (await box.inside("GET", "/self")).json()) as Itself;
  assert.deepEqual([told.uid, told.gid, told.pid], [[0, 0, 0], [0, 0, 0], 1]);
  const status = "print(open('/proc/self/status').read())";
  const [own, hosts] = [await inside(box, status), await onHost(status)];
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) assert.match(own, new RegExp(`${set}:\\s0{16}\n`), set);
  assert.doesNotMatch(hosts, /CapEff:\s0{16}\n/);
  assert.match(own, /NoNewPrivs:\s1\n/);
  assert.match(own, /Seccomp:\s2\n/);

  await using listener = createServer();
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  const tried = {
    "the data folder": `os.listdir(${JSON.stringify(door.dataDir)})`,
    "a port of the host": `socket.create_connection(("127.0.0.1", ${port}), 5).close()`,
    "a raw socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()",
    "a setting of the kernel": "open('/proc/sys/kernel/core_pattern', 'r+b').close()",
    "the kernel's symbols": "call(len(open('/proc/kallsyms').read()) - 1)",
    "a device": "os.mknod('/tmp/probe-device', stat.S_IFBLK | 0o600, os.makedev(7, 0)); os.unlink('/tmp/probe-device')",
    "a file for somebody else":
      "open('/tmp/probe-owner', 'w').close(); os.chown('/tmp/probe-owner', 4242, 4242); os.unlink('/tmp/probe-owner')",
    "mounts of its own": "call(libc.unshare(0x20000)); call(libc.mount(None, b'/', None, 0x44000, None))",
    "a mount": "call(libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None))",
    "users of its own": "pid = os.fork(); os._exit(libc.unshare(0x10000000) != 0) if pid == 0 else call(-os.waitpid(pid, 0)[1])",
    "another root": "os.chroot('/tmp'); os.chdir('/')",
    "another user": "os.setresuid(4242, 4242, 4242)",
  };
  assert.deepEqual(
    verdicts(await onHost(attempts(tried))),
    Object.keys(tried).map((what) => `done: ${what}`),
  );
  assert.deepEqual(
    verdicts(await inside(box, attempts(tried))),
    Object.keys(tried).map((what) => `refused: ${what}`),
  );
  assert.equal(await inside(box, "import os; print(os.path.exists('/sys') and os.listdir('/sys'))"), "False");
  assert.match(
    await inside(box, "import os; print(*sorted(os.listdir('/dev')))"),
    /^(console )?core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero$/,
  );
  assert.equal(await inside(box, "print(open('/proc/net/dev').read().count(':'))"), "1", "no device of a network but loopback");
});

test("O4: it finds nothing of the workspace beside it, and no client asks the workspace what only the platform may", bounded, async () => {
  await using box = await makeBox(tenant, { template });
  const pids = "import os; print(*[p for p in os.listdir('/proc') if p.isdigit()])";
  assert.equal(await inside(box, pids), "1", "there are no processes but its own");
  assert.ok((await onHost(pids)).split(" ").length > 3);
  assert.equal(
    await inside(box, "import os; print(sorted(os.listdir('/proc/1/root')) == sorted(os.listdir('/')), os.path.exists('/opt'))"),
    "True False",
  );
  const descriptors =
    "import os; print(*sorted(os.readlink(f'/proc/self/fd/{n}').split(':')[0] for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}') or n in '012'))";
  for (const name of (await inside(box, descriptors)).split(" ")) assert.match(name, /^(\/dev\/null|pipe|socket|\/proc\/1\/fd)$/);
  const mounts = await inside(box, "print(open('/proc/self/mountinfo').read())");
  assert.doesNotMatch(mounts, new RegExp(`${door.dataDir}|/opt/cleanroom/workspace`));
  assert.match(readFileSync("/proc/self/mountinfo", "utf8"), / \/ /);
  await inside(box, "import os, signal; os.kill(-1, signal.SIGKILL)");
  assert.equal(await inside(box, "print(6 * 7)"), "42", "nobody was there to be killed");
  for (const [method, path] of [
    ["PUT", "/program"],
    ["GET", "/program"],
    ["PUT", "/environment"],
    ["GET", "/activity"],
    ["GET", "/snapshot"],
  ] as const) {
    const forged = { "cleanroom-inner": "1", "cleanroom-client": "0", "cleanroom-proof": "x" };
    const answer = await box.inside(method, path, method === "PUT" ? { variables: {} } : undefined, forged);
    assert.deepEqual([answer.status, ((await answer.json()) as Reached).path], [200, path], "the program itself answers");
  }
});

test("O5: what one does to its image no other sees; it ends at its disk and its memory", bounded, async () => {
  const written = readFileSync(`${import.meta.dirname}/../support/image-server.py`, "utf8");
  await using box = await makeBox(tenant, { template });
  await inside(
    box,
    "open('/app/server.py', 'w').write('gone'); import shutil; shutil.rmtree('/usr/lib/python3.11/json'); open('/app/added', 'w').write('x')",
  );
  assert.equal(await inside(box, "print(open('/app/server.py').read())"), "gone");
  await using other = await makeBox(tenant, { template });
  assert.equal(await inside(other, "print(open('/app/server.py').read())"), written.trim());
  assert.equal(await inside(other, "import os; print(os.path.exists('/app/added'))"), "False");
  const disk = await inside(other, "import os; facts = os.statvfs('/'); print(facts.f_blocks * facts.f_frsize >> 20)");
  assert.ok(Number(disk) > 400 && Number(disk) <= 512, `its disk has ${disk} MiB`);
  const hog =
    "import os\npid = os.fork()\nif pid == 0:\n    kept = [bytearray(os.urandom(1) * (16 << 20)) for _ in range(100)]\n    os._exit(0)\nprint(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
  assert.equal(await inside(other, hog), "-9");
  assert.equal(await inside(other, "print(6 * 7)"), "42", "it goes on");
});
