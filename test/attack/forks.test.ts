import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { projectDir } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { createSealedMaker } from "#infra/local/sealed/sealed.ts";
import { alteredWorkspace, startInstance } from "#support/altered.ts";
import { hostView, searchMemory } from "#support/host-view.ts";
import { outside, proves, python, type Box } from "#support/range.ts";
import { tempDir } from "#support/temp.ts";

// Interpreters are forks of a process that has loaded their libraries ahead, outside of every sandbox.

const execute = async ({ send }: Pick<Box, "send">, code: string, language = "python") => {
  const answer = (await (await send("POST", "/contexts/execute", { language, code })).json()) as { stdout: string; stderr: string };
  return answer.stdout + answer.stderr;
};

const BEGINNING = `
import os, re, threading
open_now = sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}"))
print("descriptors", open_now)
print("variables", sorted(v.partition("=")[0] for v in open("/proc/self/environ").read().strip(chr(0)).split(chr(0))))
print("command", open("/proc/self/cmdline").read().strip(chr(0)))
print("elsewhere", sorted({line.split()[5] for line in open("/proc/self/maps") if len(line.split()) > 5 and not line.split()[5].startswith(("/usr/", "["))}))
print("threads", len(os.listdir("/proc/self/task")))
print("places", os.readlink("/proc/self/root"), os.getcwd())
print("signals", *(line.split()[1] for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn"))))`;

proves("P22", "an interpreter begins with nothing of what it was forked from: no descriptor, variable, file or thread", async (range) => {
  const plain = await outside(`exec 77</etc/hostname; PLANTED=1 ${python(BEGINNING)}`);
  assert.match(plain.stdout, /descriptors \[.*77.*\][^]*PLANTED/, "the probe sees what was left");
  const said = await execute(range, BEGINNING);
  assert.match(
    said,
    /^descriptors \[0, 1, 2, 3\]\nvariables \['CLEANROOM_TREE'\]\ncommand python3\nelsewhere \[\]\nthreads 1\nplaces \/ \/home\/user\n/,
  );
});

proves("P24", "what one sandbox held in memory is in no later one's, nor in what all of them are forked from", async (range) => {
  const [variable, value, file, output] = Array.from({ length: 4 }, () => `canary-${crypto.randomUUID()}`) as [
    string,
    string,
    string,
    string,
  ];
  await range.send("PUT", "/environment", { variables: { PLANTED: variable } });
  await execute(range, `kept = ${JSON.stringify(value)}`);
  await range.send("PUT", "/files/content?path=planted", file);
  await range.inside(`echo ${output}; sleep 600 > /dev/null 2>&1 & true`);
  const needles = [variable, value, file, output];
  const own = await hostView(range);
  const found = await searchMemory(own.pids, needles);
  assert.ok(
    [variable, value].every((one) => found.includes(one)),
    `the search finds them where they are: ${found.join(", ")}`,
  );
  const zygote = await parentOfAll(own.pids);
  assert.deepEqual(await searchMemory([zygote], needles), []);
  assert.deepEqual(await searchMemory([zygote], ["cleanroom"]), ["cleanroom"], "its memory can be searched");
  for (let made = 0; made < 3; made += 1) {
    const later = await range.neighbour();
    await execute(later, "1");
    const { pids } = await hostView({ inside: later.inside, door: range.door });
    assert.ok(pids.every((pid) => !own.pids.includes(pid)));
    assert.deepEqual(await searchMemory(pids, needles), []);
  }
});

/** The process outside of a sandbox that one inside is a child of, and that is no bubblewrap. */
async function parentOfAll(pids: readonly number[]): Promise<number> {
  for (const pid of pids) {
    const parent = Number(/^PPid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8").catch(() => ""))?.[1]);
    if (pids.includes(parent) || !parent) continue;
    if ((await readFile(`/proc/${parent}/cmdline`, "utf8")).includes("zygote.py")) return parent;
  }
  throw new Error(`Nothing outside is a parent of ${pids.join(", ")}`);
}

const DRAWN = `
import random, secrets, tempfile, uuid, os, numpy
print(random.random(), numpy.random.rand(), numpy.random.default_rng().random(), random.SystemRandom().random(),
      secrets.token_hex(8), uuid.uuid4(), uuid.uuid1(), os.path.basename(tempfile.mktemp()), os.urandom(8).hex())`;

proves("P25", "no two interpreters draw the same numbers, though they are forks of one", async (range) => {
  const twins = await outside(
    python(`
import os, random
drawer = random.Random()
for _ in range(2):
    pid = os.fork()
    if pid == 0: print(drawer.random(), flush=True); os._exit(0)
    os.waitpid(pid, 0)`),
  );
  const [one, other] = twins.stdout.trim().split("\n");
  assert.equal(one, other, "forks that do not draw again draw the same");
  const { id } = (await (await range.send("POST", "/contexts", { language: "python" })).json()) as { id: string };
  const second = (await (await range.send("POST", "/contexts/execute", { contextId: id, code: DRAWN })).json()) as { stdout: string };
  const drawn = [
    await execute(range, DRAWN),
    second.stdout,
    await execute(await range.neighbour(), DRAWN),
    await execute(await range.neighbour(), DRAWN),
  ];
  const all = drawn.flatMap((line) => line.trim().split(" "));
  assert.equal(all.length, 4 * 9, drawn.join(""));
  assert.equal(new Set(all).size, all.length, drawn.join(""));
});

/** A fault that leaves a folder from outside open in every interpreter. */
const LEAK = {
  "zygote.py": [
    [
      "        init, listener, output, *groups = descriptors\n",
      `        init, listener, output, *groups = descriptors\n        leak = os.open("/", os.O_RDONLY)\n`,
    ],
    [
      `        os.closerange(5, os.sysconf("SC_OPEN_MAX"))\n`,
      `        os.dup2(leak, 5)\n        os.closerange(6, os.sysconf("SC_OPEN_MAX"))\n`,
    ],
    [`        os.close(4)\n`, `        os.dup2(5, 4)\n        os.close(5)\n`],
  ],
  "born.py": [[`    os.closerange(4, os.sysconf("SC_OPEN_MAX"))\n`, `    os.closerange(5, os.sysconf("SC_OPEN_MAX"))\n`]],
} as const;
const NO_LANDLOCK = [["        lock.confine()\n", ""]] as const;

const THROUGH = `
import errno, os, subprocess
def attempt(name, work):
    try: work(); print(name, "ok")
    except OSError as error: print(name, errno.errorcode[error.errno])
attempt("read", lambda: os.close(os.open("etc/passwd", os.O_RDONLY, dir_fd=4)))
attempt("up", lambda: os.close(os.open("..", os.O_RDONLY, dir_fd=4)))
attempt("read-self", lambda: os.close(os.open("/proc/self/exe", os.O_RDONLY)))
attempt("run-self", lambda: subprocess.run(["/proc/self/exe", "-c", ""], check=True))
attempt("own", lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)))`;

const landlock = Number(
  execFileSync("/usr/bin/python3", ["-c", "import ctypes; print(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1))"]).toString(),
);
const noLandlock = landlock < 1 ? { skip: "this kernel has no Landlock" } : {};

proves(
  "P23",
  "through a folder from outside that a fault left open no file can be opened, nor can the program that forks are of",
  async () => {
    await using dir = await tempDir();
    await using maker = await createSealedMaker({
      dataDir: join(dir.path, "data"),
      root: currentRoot({ dataDir: "", projectDir: projectDir() }),
    });
    const leaking = await alteredWorkspace(join(dir.path, "leaking"), LEAK);
    const open = await alteredWorkspace(join(dir.path, "open"), { ...LEAK, "zygote.py": [...LEAK["zygote.py"], ...NO_LANDLOCK] });
    await using without = await startInstance(maker, "without", open);
    assert.equal(await without.run(THROUGH), "read ok\nup ok\nread-self ok\nrun-self ok\nown ok\n", "without Landlock all of it works");
    await using held = await startInstance(maker, "held", leaking);
    assert.equal(await held.run(THROUGH), "read EACCES\nup EACCES\nread-self EACCES\nrun-self EACCES\nown ok\n");
  },
  noLandlock,
);

/** What code writes where only its interpreter should: frames that nobody asked for, broken ones, endless ones, and descriptors. */
const FORGED: Record<string, string> = {
  noise: `channel.send(os.urandom(100_000))`,
  "a frame without end": `channel.send((0x7fffffff).to_bytes(4, "little") + b"x" * 100_000)`,
  "frames that say it is done": `channel.send(frame(b"done", b"ok") * 1000)`,
  "results that nobody asked for": `channel.send(frame(b"result", b"main", b"text/plain", b"forged" * 1000) * 50)`,
  "an error in the server's words": `channel.send(frame(b"error", b"Problem", b"internal", b"\\xff" * 5000))`,
  "parts longer than their frame": `channel.send((8).to_bytes(4, "little") + (500).to_bytes(4, "little") + b"1234")`,
  "descriptors by the hundred": `[socket.send_fds(channel, [frame(b"began")], list(range(3)) * 80) for _ in range(50)]`,
  "nothing any more": `channel.shutdown(socket.SHUT_RDWR)`,
};
const FORGE = (work: string) => `
import os, socket
channel = socket.socket(fileno=os.dup(3))
channel.setblocking(False)
def frame(*parts):
    body = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    return len(body).to_bytes(4, "little") + body
try: ${work}
except BlockingIOError: pass`;

proves("P26", "code that speaks in its interpreter's name to the workspace harms its own interpreter at most", async (range) => {
  const { send, inside } = range;
  const server = (await inside("pgrep -x workspace")).stdout.trim();
  const { pids } = await hostView(range);
  const descriptors = async () =>
    (await outside(`for p in ${pids.join(" ")}; do [ "$(cat /proc/$p/comm)" = workspace ] && ls /proc/$p/fd | wc -l; done`)).stdout;
  await execute(range, "kept = 'mine'");
  const before = Number(await descriptors());
  assert.ok(before > 3, "its descriptors can be counted");
  for (const [what, work] of Object.entries(FORGED)) {
    const contextId = `forger-${Object.keys(FORGED).indexOf(what)}`;
    const forge = () => send("POST", "/contexts/execute", { contextId, code: FORGE(work), timeout: 10 });
    const answer = await forge();
    assert.equal(answer.status, 200, `${what}: ${(await answer.text()).slice(0, 300)}`);
    await (await forge()).text();
    assert.equal((await send("POST", `/contexts/${contextId}/restart`)).status, 200, what);
    const again = (await (await send("POST", "/contexts/execute", { contextId, code: "print(6 * 7)" })).json()) as { stdout: string };
    assert.equal(again.stdout, "42\n", `${what}: a fresh one takes its place`);
    assert.equal((await send("DELETE", `/contexts/${contextId}`)).status, 204, what);
    assert.equal(await execute(range, "print(kept)"), "mine\n", `${what}: another interpreter knows nothing of it`);
    assert.equal((await inside("echo fine")).stdout, "fine\n", what);
  }
  assert.equal((await inside("pgrep -x workspace")).stdout.trim(), server, "it is the same process still");
  assert.ok(Number(await descriptors()) < before + 20, `it holds ${await descriptors()} descriptors after ${before}`);
});
