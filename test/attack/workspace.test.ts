import assert from "node:assert/strict";
import { hostProcess } from "#support/host-process.ts";
import { answers, attempts, outside, proves, python, type Range } from "#support/range.ts";

/** Prints the number and the name of each process inside that is not the user's by all its uids. */
const KEPT = python(`
import os
for pid in sorted(int(p) for p in os.listdir("/proc") if p.isdigit()):
    with open(f"/proc/{pid}/status") as file: facts = dict(line.split(":", 1) for line in file.read().splitlines())
    if set(facts["Uid"].split()) != {"1000"}: print(pid, facts["Name"].strip())`);
/** Python for the number of the process that answers. */
const WORKSPACE = `next(int(p) for p in os.listdir("/proc") if p.isdigit() and open(f"/proc/{p}/comm").read().strip() == "workspace")`;

/** All that a sandbox is kept by: what holds its room, the seed that everything is forked from, and the server. */
async function kept({ inside }: Pick<Range, "inside">): Promise<string[]> {
  const lines = (await inside(KEPT)).stdout.trim().split("\n");
  assert.ok(lines.length >= 4 && lines.some((line) => line.endsWith(" workspace")), `what there is: ${lines.join(", ")}`);
  return lines.map((line) => line.split(" ")[0] ?? "");
}

/** The number of the process that starts the user's programs; it is the user's, and yet nobody may look into it. */
const launcher = async ({ inside }: Pick<Range, "inside">) => (await inside("pgrep -x launcher")).stdout.trim();

const lookInto = (pid: string) =>
  attempts(`
pid = ${pid}
def read(path, size):
    with open(path, "rb") as file: file.read(size)
for name in ("environ", "mem", "maps", "auxv", "pagemap", "smaps"):
    attempt(name, lambda: read(f"/proc/{pid}/{name}", 0 if name in ("mem", "pagemap") else 16))
attempt("mem-write", lambda: open(f"/proc/{pid}/mem", "r+b").close())
for name in ("cwd", "root", "exe"): attempt(name, lambda: os.readlink(f"/proc/{pid}/{name}"))
attempt("through-root", lambda: os.listdir(f"/proc/{pid}/root/"))
attempt("fd", lambda: os.listdir(f"/proc/{pid}/fd"))
attempt("fd0", lambda: os.readlink(f"/proc/{pid}/fd/0"))
attempt("task-environ", lambda: read(f"/proc/{pid}/task/{pid}/environ", 16))`);

const trace = (pid: string) =>
  attempts(`
pid = ${pid}
attempt("seize", lambda: call(101, 0x4206, pid, 0, 0))
attempt("vm-read", lambda: call(310, pid, 0, 0, 0, 0, 0))
attempt("vm-write", lambda: call(311, pid, 0, 0, 0, 0, 0))
attempt("take-descriptor", lambda: call(438, os.pidfd_open(pid), 3, 0))`);

proves("P12", "code cannot look into what keeps the sandbox: memory, environment, files, descriptors", async (range) => {
  const { inside } = range;
  using victim = hostProcess({ CANARY: "seen" });
  const free = { ...answers(await outside(lookInto(String(victim.pid)))), ...answers(await outside(trace(String(victim.pid)))) };
  const { "take-descriptor": taken, ...rest } = free;
  assert.equal(taken, "EBADF", "root on the host gets as far as to a descriptor that is not there");
  for (const [name, said] of Object.entries(rest)) assert.equal(said, "ok", `${name} as root on the host`);
  for (const pid of [...(await kept(range)), await launcher(range)]) {
    for (const [name, said] of Object.entries(answers(await inside(lookInto(pid)))))
      assert.match(said, /^(EACCES|EPERM)$/, `${name} of ${pid}`);
    for (const [name, said] of Object.entries(answers(await inside(trace(pid))))) assert.equal(said, "EPERM", `${name} of ${pid}`);
  }
});

const strike = (pid: string, uid: number) =>
  attempts(`
import signal, resource
pid = ${pid}
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
attempt("nice-group", lambda: os.setpriority(os.PRIO_PGRP, os.getpgid(pid), 19))
attempt("idle", lambda: os.sched_setscheduler(pid, 5, os.sched_param(0)))
attempt("affinity", lambda: os.sched_setaffinity(pid, {0}))
attempt("io", lambda: call(251, 1, pid, 3 << 13))
attempt("limits", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (1000, 1000)))
attempt("oom", lambda: os.close(os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)))
attempt("stop", lambda: os.kill(pid, signal.SIGSTOP))
attempt("debug", lambda: os.kill(pid, signal.SIGUSR1))
attempt("thread", lambda: [call(234, pid, int(t), signal.SIGSTOP) for t in os.listdir(f"/proc/{pid}/task")])
attempt("pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGSTOP))
attempt("kill", lambda: os.kill(pid, signal.SIGKILL))
attempt("setreuid", lambda: os.setreuid(${uid}, ${uid}))
attempt("setresuid", lambda: os.setresuid(${uid}, ${uid}, ${uid}))
attempt("setresgid", lambda: os.setresgid(${uid}, ${uid}, ${uid}))
attempt("fsuid", lambda: call(122, ${uid}) and call(122, -1) == ${uid} or (_ for _ in ()).throw(OSError(1, "")))`);

proves("P15", "code cannot kill, stop, slow down or become what keeps the sandbox", async (range) => {
  const { inside, send } = range;
  for (const pid of await kept(range)) {
    for (const [name, said] of Object.entries(answers(await inside(strike(pid, 0))))) {
      assert.equal(said, name === "oom" ? "EACCES" : "EPERM", `${name} of ${pid}`);
    }
  }
  assert.equal((await send("GET", "/health")).status, 200);
  assert.equal((await inside("echo still here")).stdout, "still here\n");
  // The same blows at a process of the user's own, and the same changes of identity to what one is already.
  const own = await inside(`sleep 60 & VICTIM=$! ${strike(`int(os.environ["VICTIM"])`, 1000)}`);
  for (const [name, said] of Object.entries(answers(own))) assert.equal(said, "ok", name);
});

const PLACES = ["/usr/bin/python3.11", "/usr/bin/setpriv", "/usr/bin/mkfifo", "/usr/local/bin/node", "/etc/ld.so.preload", "/etc/passwd"];
const REPLACE = (places: readonly string[]) =>
  attempts(`
for place in ${JSON.stringify(places)}:
    attempt(f"write:{place}", lambda: os.close(os.open(place, os.O_WRONLY)))
    attempt(f"beside:{place}", lambda: os.close(os.open(place + ".new", os.O_WRONLY | os.O_CREAT)))
    attempt(f"rename:{place}", lambda: os.rename(place, place + ".old"))
    attempt(f"over:{place}", lambda: (open("/home/user/planted", "w").close(), os.rename("/home/user/planted", place)))`);

proves("P21", "no program, library or setting that the workspace uses can be written, replaced or shadowed", async ({ inside }) => {
  const code = (await inside("find /opt/cleanroom/workspace -type f")).stdout.trim().split("\n");
  assert.ok(code.length > 20, "the workspace's own files are there to be tried");
  for (const [name, said] of Object.entries(answers(await inside(REPLACE([...PLACES, ...code])))))
    assert.match(said, /^(EACCES|EPERM|EROFS|EXDEV|EBUSY|ENOENT)$/, name);
  const own = answers(await inside(`touch ~/mine; ${REPLACE(["/home/user/mine"])}`));
  assert.deepEqual(Object.values(own), ["ok", "ok", "ok", "ok"]);
});

const spoken = (program: string) =>
  attempts(`
import subprocess
other = subprocess.Popen(["${program}", "-c", "import time; time.sleep(20)"])
attempt("own", lambda: os.close(os.open("/proc/self/exe", os.O_WRONLY)))
attempt("other", lambda: os.close(os.open(f"/proc/{other.pid}/exe", os.O_WRONLY)))
other.kill(); other.wait()
attempt("rested", lambda: os.close(os.open(os.path.realpath("${program}"), os.O_WRONLY)))`);

proves("P9", "a program that runs cannot be overwritten through /proc", async ({ inside }) => {
  for (const [name, said] of Object.entries(answers(await inside(spoken("/usr/bin/python3")))))
    assert.match(said, /^(EACCES|EROFS|ETXTBSY)$/, name);
  assert.equal(answers(await inside(`cp /usr/bin/python3.11 ~/python; ${spoken("/home/user/python")}`))["rested"], "ok");
});

const TRAP = `import os; open("/tmp/trap", "a").write(f"{os.getuid()}{os.geteuid()} " + open("/proc/self/status").read().split("CapPrm:")[1].split()[0] + chr(10))`;
const PLANT = `mkdir -p ~/.local/bin ~/.local/lib/python3.11/site-packages ~/node_modules/fs; cd ~; site=.local/lib/python3.11/site-packages
for f in .bashrc .profile .bash_profile .bash_logout; do echo 'echo "$UID$EUID $(sed -n s/CapPrm:.//p /proc/self/status)" >> /tmp/trap' > $f; done
mkdir -p .config/matplotlib .ipython; echo "backend: module://trap" > .config/matplotlib/matplotlibrc; echo "backend: module://trap" > matplotlibrc
for f in $site/sitecustomize.py $site/usercustomize.py sitecustomize.py _ast.py trap.py .pythonrc.py numpy.py pandas.py json.py zlib.py tarfile.py server.py transfer.py seed.py contexts.py; do echo '${TRAP}' > $f; done
echo "import sitecustomize" > $site/x.pth
printf 'node-options=--require=/home/user/trap.js' > .npmrc; echo 'require("fs").appendFileSync("/tmp/trap", process.getuid() + "" + process.geteuid() + " 0\\n")' > trap.js; cp trap.js node_modules/fs/index.js
for tool in mkfifo setpriv env tar find cp rm bash python3 node sh; do
printf '#!/bin/bash -p\\necho "$UID$EUID $(sed -n s/CapPrm:.//p /proc/$$/status)" >> /tmp/trap; exec /usr/bin/%s "$@"' $tool > .local/bin/$tool; chmod 755 .local/bin/$tool; done`;
const SPRUNG_AS_USER = /^10001000 0+$/;

proves("P18", "what is planted at home runs as the user or not at all, whatever the workspace does by itself", async ({ inside, send }) => {
  assert.equal((await inside(PLANT)).exitCode, 0);
  await inside("tar --version; bash -lc true");
  const trapped = (await inside("cat /tmp/trap; rm /tmp/trap")).stdout.trim().split("\n");
  assert.ok(trapped.length >= 2, "the traps spring where a program is asked for by name");
  for (const line of trapped) assert.match(line, SPRUNG_AS_USER);
  for (const language of ["python", "javascript"]) {
    await send("POST", "/contexts", { language });
    const answer = await send("POST", "/contexts/execute", { language, code: "6 * 7" });
    assert.match(await answer.text(), /42/, `${language} works all the same`);
  }
  assert.equal((await send("GET", "/filesystem/archive?path=/home/user/.local")).status, 200);
  assert.equal((await send("POST", "/filesystem/move", { source: "/home/user/trap.js", destination: "/dev/shm/trap.js" })).status, 200);
  assert.equal((await send("POST", "/filesystem/remove", { path: "/home/user/node_modules" })).status, 200);
  await Promise.all(Array.from({ length: 40 }, () => inside("true")));
  for (const line of (await inside("cat /tmp/trap 2>/dev/null; true")).stdout.split("\n").filter(Boolean))
    assert.match(line, SPRUNG_AS_USER);
});

const showsUserOnly = ({ stdout, stderr }: { stdout: string; stderr: string }) => {
  assert.match(stderr, /trap\.so/, "the user's own programs get the variables");
  assert.match(stdout, /^(10001000\n){2,}1000\n$/);
  assert.doesNotMatch(stderr, /setpriv/, "the launcher does not");
};

proves("P19", "no variable of a request or a sandbox reaches the program that sheds privilege", async ({ inside, send }) => {
  const variables = {
    LD_PRELOAD: "/home/user/trap.so",
    LD_AUDIT: "/home/user/trap.so",
    BASH_ENV: "/home/user/trap.sh",
    NODE_OPTIONS: "--require=/home/user/trap.js",
    PATH: "/home/user",
    IFS: "/",
    PYTHONPATH: "/home/user",
    PYTHONHOME: "/home/user",
    PYTHONSTARTUP: "/home/user/trap.py",
    PYTHONINSPECT: "1",
    PYTHONBREAKPOINT: "trap.trap",
    MPLCONFIGDIR: "/home/user",
  };
  await inside(
    `echo 'echo $UID$EUID >> /tmp/trap' > trap.sh; echo nothing > trap.so; echo 'require("fs").appendFileSync("/tmp/trap", process.getuid() + "" + process.geteuid() + "\\n")' > trap.js`,
  );
  const run = async (environment: object) => {
    const answer = await send("POST", "/processes/cmd", {
      command: "/usr/local/bin/node -e 0; /usr/bin/cat /tmp/trap; /usr/bin/id -u",
      environment,
    });
    return ((await answer.json()) as { result: { stdout: string; stderr: string } }).result;
  };
  showsUserOnly(await run(variables));
  await inside("rm /tmp/trap");
  assert.equal((await send("PUT", "/environment", { variables })).status, 204);
  showsUserOnly(await run({}));
});

const SCORES = python(`
import os, time
def score(pid): return int(open(f"/proc/{pid}/oom_score_adj").read())
# While the workspace starts a program it wears that program's score for the moment of the fork: the least of several looks is its own.
pid = ${WORKSPACE}
looks = []
for _ in range(20): looks.append(score(pid)); time.sleep(0.02)
print(min(looks), score("self"))
for wanted in (-1000, -1, 0, 99, 299):
    try: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), str(wanted).encode()); print(wanted)
    except OSError: pass`);

proves("P16", "code dies before the workspace when memory ends, and everything in a sandbox before the host's own", async ({ inside }) => {
  const [first = "", ...set] = (await inside(SCORES)).stdout.trim().split("\n");
  const [workspace = 0, own = 0] = first.split(" ").map(Number);
  const host = Number((await outside("cat /proc/self/oom_score_adj")).stdout);
  assert.ok(own > workspace && workspace > host, `${own} > ${workspace} > ${host}`);
  // Only a root that may set limits can set the floor; elsewhere code can make itself as precious as the host's own, and no more.
  const capabilities = BigInt(`0x${(await outside("sed -n 's/CapEff:.//p' /proc/self/status")).stdout.trim()}`);
  const floor = (capabilities & (1n << 24n)) === 0n ? host : workspace;
  for (const score of set) assert.ok(Number(score) >= floor, `it made its score ${score}`);
  assert.match((await outside(SCORES.replace(WORKSPACE, "1"))).stdout, /299/, "the probe can change a score");
});

const FILES = ["maps", "environ", "mem", "auxv", "smaps", "fd/3", "fdinfo/3", "root/proc/self/maps"];

proves("P20", "the API neither reads nor signals what keeps the sandbox, by any of its numbers", async (range) => {
  const { inside, send } = range;
  const tasks = (await inside(python(`import os\npid = ${WORKSPACE}\nprint(*os.listdir(f"/proc/{pid}/task"))`))).stdout.trim().split(" ");
  const numbers = new Set(["self", "thread-self", ...(await kept(range)), ...tasks]);
  for (const task of numbers) {
    for (const file of FILES) {
      const answer = await send("GET", `/files?path=/proc/${task}/${file}`);
      assert.ok([400, 403, 404, 409].includes(answer.status), `${task}/${file}: ${answer.status} ${(await answer.text()).slice(0, 200)}`);
    }
    if (!/^\d+$/.test(task)) continue;
    assert.equal((await send("POST", `/processes/${task}/signal`, { signal: "SIGKILL" })).status, 403, task);
    assert.equal((await send("DELETE", `/processes/${task}`)).status, 403, task);
    assert.deepEqual(((await (await send("GET", `/processes/${task}`)).json()) as { environment: object }).environment, {});
  }
  const own = (await inside("sleep 60 > /dev/null 2>&1 & echo $!")).stdout.trim();
  assert.equal((await send("GET", `/files?path=/proc/${own}/maps`)).status, 200, "a process of the user's may be read");
  assert.equal((await send("POST", `/processes/${own}/signal`, { signal: "SIGKILL" })).status, 204, "and signalled");
});
