import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { hostView } from "#support/host-view.ts";
import { answers, attempts, outside, proves, python, type Box, type Range } from "#support/range.ts";
import { until } from "#support/until.ts";
import { usageOf, worksWell } from "#support/wellbeing.ts";

/** A sandbox with little memory, so that taking it all is quick. */
async function smallBox({ tenant, neighbour }: Range, memoryMiB = 512): Promise<Box> {
  await tenant.json("POST", "/api/templates", { name: "small", cpu: memoryMiB / 1024, memoryMiB }, 201);
  return neighbour({ template: "small" });
}

/** The sandbox under attack ends when it is told to, and is replaced at once. */
async function ends(range: Range): Promise<void> {
  const { state } = await range.tenant.json<{ state: string }>("DELETE", `/api/sandboxes/${range.sandboxId}`);
  assert.equal(state, "ended");
  await worksWell(await range.neighbour());
}

/** The same probe as a plain process of the host, under a small limit of its own instead of none: a control must not do the harm. */
const limited = (limits: string, probe: string) => outside(`(ulimit ${limits}; ${probe})`);

const SPAWN = (most: number) =>
  attempts(`
import time
children = []
def spawn():
    for _ in range(${most}):
        pid = os.fork()
        if pid == 0: time.sleep(30); os._exit(0)
        children.append(pid)
attempt("spawn", spawn)
print("spawned", len(children), flush=True)
for pid in children: os.kill(pid, 9)`);

proves("P2", "a fork bomb meets its limit; neighbours work, and the sandbox ends when told", async (range) => {
  const free = answers(await outside(SPAWN(1500)));
  assert.deepEqual(free, { spawn: "ok", spawned: "1500" }, "the host has room for as many");
  const stopped = answers(await range.inside(SPAWN(20_000)));
  assert.equal(stopped["spawn"], "EAGAIN");
  assert.ok(Number(stopped["spawned"]) < 20_000);
  const threads = answers(
    await range.inside(
      attempts(`
import threading, time
def storm():
    for n in range(20000): threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); globals()["made"] = n
attempt("threads", storm)
print("made", made, flush=True)
os._exit(0)`),
    ),
  );
  assert.equal(threads["threads"], "RuntimeError");
  // A storm of zombies, and the classic bomb: what it starts starts more, detached from whoever could be told to stop.
  await range.inside(`python3 -c 'import os,time
for _ in range(200):
    if os.fork() == 0: os._exit(0)
time.sleep(60)' > /dev/null 2>&1 & exit 0`);
  await range.send("POST", "/processes/cmd", {
    command: "bomb() { setsid bash -c 'trap \"\" TERM; :' & bomb | bomb & }; bomb; sleep 60",
    background: true,
  });
  const other = await range.neighbour();
  await worksWell(other);
  const { processes } = await usageOf(range, range);
  assert.ok(processes > 1, `${processes} processes are counted`);
  await ends(range);
  await worksWell(other);
});

const GROW = `python3 -c 'held = []
while True: held.append(bytearray(b"x" * (8 << 20)))'`;

proves("T11", "whoever takes all memory dies of it alone: the answer says oom, the sandbox counts it and works on", async (range) => {
  const plain = await limited("-v 2000000", GROW);
  assert.match(plain.stderr, /MemoryError/, "the probe takes all that there is");
  const box = await smallBox(range);
  const before = await usageOf(range, box);
  const hog = await box.inside(GROW);
  assert.equal(hog.status, "oom");
  assert.equal(hog.exitCode, 137);
  assert.equal((await box.inside("echo alive")).stdout, "alive\n");
  const cell = (await (
    await box.send("POST", "/contexts/execute", {
      language: "python",
      code: "held = []\nwhile True: held.append(bytearray(b'x' * (8 << 20)))",
    })
  ).json()) as { results: { type: string; status?: string; stateKept?: boolean }[] };
  const end = cell.results.at(-1);
  assert.deepEqual([end?.status, end?.stateKept], ["oom", false]);
  const after = await usageOf(range, box);
  assert.ok(after.oomKills >= before.oomKills + 2, `${before.oomKills} → ${after.oomKills}`);
  assert.ok(after.memoryPeakBytes <= 512 * 1024 * 1024, "never more than its limit");
  await worksWell(range);
});

const hoard = (megabytes: number) =>
  attempts(`
import mmap
MB = 1 << 20
def fill(write):
    for _ in range(${megabytes}): write(b"x" * MB)
def shared():
    with open("/dev/shm/fill", "wb", 0) as file: fill(file.write)
def hidden():
    global kept
    kept = os.memfd_create("kept"); fill(lambda piece: os.write(kept, piece))
def locked():
    area = mmap.mmap(-1, 256 * MB)
    if libc.mlock(ctypes.addressof(ctypes.c_char.from_buffer(area)), 256 * MB) != 0: raise OSError(ctypes.get_errno(), "")
attempt("shared", shared); os.path.exists("/dev/shm/fill") and os.remove("/dev/shm/fill")
attempt("locked", locked)
attempt("hidden", hidden)`);

proves(
  "T19",
  "memory by every other door counts as the sandbox's own: shared memory, files in memory, pipes, locked pages",
  async (range) => {
    assert.deepEqual({ ...answers(await outside(hoard(20))), locked: "" }, { shared: "ok", hidden: "ok", locked: "" });
    // The smallest there is: the workspace itself holds more of it than the process that hides all its memory elsewhere.
    const box = await smallBox(range, 256);
    const said = await box.inside(hoard(700));
    assert.match(said.stdout, /^shared ENOSPC$/m, "shared memory has a size of its own");
    assert.doesNotMatch(said.stdout, /hidden ok/, "a file in memory is paid for");
    assert.equal(said.status, "oom");
    assert.equal((await box.inside("echo alive")).stdout, "alive\n");
  },
);

const FLOOD_BYTES = 300 * 1024 * 1024;

proves("T10", "a flood of output is cut and counted, whoever reads it, and costs nobody else memory", async (range) => {
  const flood = `head -c ${FLOOD_BYTES} /dev/zero | tr '\\0' 'y'`;
  assert.equal((await outside(`${flood} | wc -c`)).stdout.trim(), String(FLOOD_BYTES));
  const engine = await memoryOf(range.door.pid);
  const answer = await range.send("POST", "/processes/cmd", { command: flood, timeout: 60 });
  const { result } = (await answer.json()) as { result: { stdout: string; dropped: { stdout: number } } };
  assert.ok(result.stdout.length < 8 * 1024 * 1024, `${result.stdout.length} characters came`);
  assert.match(result.stdout, /bytes dropped/);
  assert.ok(result.dropped.stdout > FLOOD_BYTES - 8 * 1024 * 1024, "what was dropped is said");
  const cell = (await (
    await range.send("POST", "/contexts/execute", {
      language: "python",
      code: "import sys\nfor _ in range(100): sys.stdout.write('z' * (1 << 20))",
    })
  ).json()) as { stdout: string };
  assert.ok(cell.stdout.length < 8 * 1024 * 1024);
  // A reader who never reads holds the writer back, and is no reason to remember what it did not take.
  const stalled = new AbortController();
  const stream = await range.send("POST", "/processes/cmd", { command: "yes", timeout: 60 }, { accept: "text/event-stream" });
  const reader = stream.body?.getReader();
  await reader?.read();
  const kept = await range.send("POST", "/processes/cmd", { command: flood, background: true });
  const { processId } = (await kept.json()) as { processId: string };
  await until(
    "the flood in the background has ended",
    async () => ((await (await range.send("GET", `/processes/${processId}`)).json()) as { status: string }).status === "completed",
    60_000,
  );
  const other = await range.neighbour();
  await worksWell(other);
  assert.equal((await range.inside("echo fine")).stdout, "fine\n", "also while one of its readers sleeps");
  stalled.abort();
  await reader?.cancel();
  const { memoryBytes } = await usageOf(range, range);
  assert.ok(memoryBytes < 900 * 1024 * 1024, `${memoryBytes} bytes in the sandbox`);
  const grown = (await memoryOf(range.door.pid)) - engine;
  assert.ok(grown < 200 * 1024, `the engine grew by ${grown} KiB`);
});

async function memoryOf(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]);
}

const BURN = python(`
import time, os
for _ in range(5):
    if os.fork() == 0: break
until = time.time() + 3
while time.time() < until: pass`);

proves("T12", "whoever burns all processors gets its share and no more, and neighbours work meanwhile", async (range) => {
  await range.tenant.json("POST", "/api/templates", { name: "slow", cpu: 0.2, memoryMiB: 512 }, 201);
  const slow = await range.neighbour({ template: "slow" });
  const other = await range.neighbour();
  const free = Number(
    (
      await outside(`python3 -c 'import time, os
until = time.time() + 20
while time.process_time() < 0.6 and time.time() < until: pass
print(time.process_time())'`)
    ).stdout,
  );
  assert.ok(free > 0.5, "the probe burns where nothing stops it");
  const before = await usageOf(range, slow);
  const startedAtMs = performance.now();
  const burning = slow.inside(BURN);
  await worksWell(other);
  await burning;
  const tookMs = performance.now() - startedAtMs;
  const { cpuMs } = await usageOf(range, slow);
  assert.ok(cpuMs - before.cpuMs > 20, "it burned");
  assert.ok(cpuMs - before.cpuMs < tookMs * 0.2 * 1.5 + 100, `${cpuMs - before.cpuMs} ms of processor in ${tookMs} ms`);
  await worksWell(other);
});

proves("T20", "a sandbox that does all of it at once ends when told, and leaves nothing on the host", async (range) => {
  const { pids, socketPath } = await hostView(range);
  assert.ok(pids.length > 2);
  await range.send("POST", "/processes/cmd", {
    background: true,
    command: `cd ~; for i in 1 2 3 4 5; do (trap '' TERM INT HUP; while :; do :; done) & done; yes > fill & cat /dev/zero | tail & python3 -c 'import os,time
while True:
    try: os.fork()
    except OSError: time.sleep(0.01)' & mkfifo p; cat p & exec 9<>p; sleep 100`,
  });
  await worksWell(await range.neighbour());
  await ends(range);
  for (const pid of pids)
    assert.equal((await outside(`readlink /proc/${pid}/ns/pid`)).stdout === "" || !(await isOf(pid, pids)), true, `${pid} is gone`);
  const folder = socketPath.split("/").at(-2) ?? "";
  assert.ok(!(await readdir(`${range.door.dataDir}/run`)).includes(folder), "its folder is gone");
  assert.equal(
    (await outside(`grep -rl . /sys/fs/cgroup --include=cgroup.procs 2>/dev/null | grep ${folder}; find /sys/fs/cgroup -name ${folder}`))
      .stdout,
    "",
    "its control groups are gone",
  );
  assert.equal((await outside(`losetup -a | grep ${folder}; grep ${folder} /proc/mounts`)).stdout, "", "its mounts and disks are gone");
});

/** Whether a number still belongs to a process of the sandbox, and not to one that came after. */
async function isOf(pid: number, pids: readonly number[]): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return pids.includes(pid) && line.includes("/opt/cleanroom/workspace/");
}
