import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { hostProcess } from "#support/host-process.ts";
import { answers, attempts, outside, proves } from "#support/range.ts";

const seen = (marker: string) => `cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '[s]leep ${marker}'; true`;

const KILL_ALL = `
import os
done = 0
for pid in range(1, 400000):
    try:
        if pid != os.getpid(): os.kill(pid, 9); done += 1
    except OSError: pass
try: os.kill(-1, 9)
except OSError: pass
print("killed", done, "of 399999, then all")`;

proves("P1", "a sandbox sees, signals and ends only its own processes", async ({ inside, neighbour, send }) => {
  using victim = hostProcess();
  assert.equal((await outside(seen(victim.marker))).stdout.trim(), "1");
  assert.equal((await inside(seen(victim.marker))).stdout.trim(), "0");
  const other = await neighbour();
  await other.inside(`sleep ${victim.marker} > /dev/null 2>&1 & exit 0`);
  assert.equal((await other.inside(seen(victim.marker))).stdout.trim(), "1");
  assert.equal((await inside(seen(victim.marker))).stdout.trim(), "0");
  // By an interpreter, since a command dies with the launcher, which is among those that it kills.
  const answer = await send("POST", "/contexts/execute", { language: "python", code: KILL_ALL });
  const { stdout } = (await answer.json()) as { stdout: string };
  assert.match(stdout, /killed \d+ of 399999, then all/);
  await inside("kill -9 -1");
  assert.ok(victim.alive(), "the host's process lives");
  assert.equal((await other.inside(seen(victim.marker))).stdout.trim(), "1", "the neighbour's process lives");
  assert.equal((await send("GET", "/health")).status, 200, "and so does the sandbox's own workspace");
  assert.equal((await inside("echo again")).stdout, "again\n");
});

const OUTSIDERS = (pid: number) =>
  attempts(`
import signal
attempt("signal", lambda: os.kill(${pid}, 0))
attempt("pidfd", lambda: os.close(os.pidfd_open(${pid})))
attempt("proc", lambda: os.listdir("/proc/${pid}"))
attempt("environ", lambda: open("/proc/${pid}/environ").read())
`);

proves("P17", "a host process cannot be reached by its number either", async ({ inside }) => {
  using victim = hostProcess();
  for (const [name, said] of Object.entries(answers(await outside(OUTSIDERS(victim.pid))))) assert.equal(said, "ok", name);
  for (const [name, said] of Object.entries(answers(await inside(OUTSIDERS(victim.pid))))) assert.match(said, /^(ESRCH|ENOENT)$/, name);
});

proves("P14", "the host's abstract and named unix sockets cannot be connected to", async ({ inside, door }) => {
  const name = `cleanroom-attack-${process.pid}`;
  const listener = spawn(
    "/usr/bin/python3",
    [
      "-c",
      `import socket
s = socket.socket(socket.AF_UNIX); s.bind("\\0${name}"); s.listen(8); print("ready", flush=True); s.settimeout(60)
while True: s.accept()[0].close()`,
    ],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  try {
    await once(listener.stdout, "data");
    const probe = attempts(`
def reach(address):
    s = socket.socket(socket.AF_UNIX); s.settimeout(2); s.connect(address)
attempt("abstract", lambda: reach("\\0${name}"))
import glob
for path in glob.glob("${door.dataDir}/run/*/http.sock")[:1] or ["${door.dataDir}/run/none/http.sock"]:
    attempt("engine", lambda: reach(path))
attempt("docker", lambda: reach("/var/run/docker.sock"))
`);
    const free = answers(await outside(probe));
    assert.deepEqual([free["abstract"], free["engine"]], ["ok", "ok"]);
    const stopped = answers(await inside(probe));
    assert.deepEqual(stopped, { abstract: "ECONNREFUSED", engine: "ENOENT", docker: "ENOENT" });
  } finally {
    listener.kill("SIGKILL");
  }
});

/** The descriptors of a program that a shell started with one left open, once it has said its first word on descriptor 3. */
async function descriptorsOf(command: string): Promise<string[]> {
  const child = spawn("/bin/bash", ["-c", `exec 77</etc/hostname; exec ${command}`], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
    env: {},
  });
  try {
    await once(child.stdio[3] as Duplex, "data");
    return await readdir(`/proc/${child.pid}/fd`);
  } finally {
    child.kill("SIGKILL");
  }
}

proves("H3", "a file that somebody left open above the engine is closed before the first sandbox is made", async () => {
  const speaker = `/usr/bin/python3 -c 'import os, time; os.write(3, b"ready"); time.sleep(60)'`;
  assert.ok((await descriptorsOf(speaker)).includes("77"), "a plain program keeps what it was given");
  assert.ok(!(await descriptorsOf(`/usr/bin/python3 -I -S -B infra/local/sealed/maker/main.py ${process.pid}`)).includes("77"));
});
