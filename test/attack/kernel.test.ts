import assert from "node:assert/strict";
import { arch } from "node:os";
import { answers, attempts, outside, proves, python } from "#support/range.ts";
import { syscalls } from "#infra/local/sealed/syscalls.ts";

const numbers = new Map(syscalls("denied", arch() === "arm64" ? "arm64" : "x64").map(({ name, number }) => [name, number]));

/** Calls with arguments that can do no harm, since a control runs them as root: each fails for its arguments where nothing forbids it. */
const HARMLESS: Record<string, string> = {
  bpf: "-1, 0, 0",
  io_uring_setup: "0, 0",
  userfaultfd: "-1",
  keyctl: "-1, 0, 0, 0, 0",
  add_key: "0, 0, 0, 0, 0",
  request_key: "0, 0, 0, 0",
  perf_event_open: "0, 0, -1, -1, 0",
  kexec_load: "0, 0xffff, 0, 0",
  init_module: "0, 0, 0",
  finit_module: "-1, 0, 0",
  delete_module: "0, 0",
  open_by_handle_at: "-1, 0, 0",
  name_to_handle_at: "-1, 0, 0, 0, 0",
  fanotify_init: "-1, 0",
  memfd_secret: "-1",
  process_vm_readv: "0, 0, 0, 0, 0, 0",
  pidfd_getfd: "-1, -1, 0",
  ptrace: "0x4206, -1, 0, 0",
  syslog: "-1, 0, 0",
  swapon: "0, 0",
  reboot: "0, 0, 0, 0",
  acct: "1",
  settimeofday: "1, 0",
  clock_settime: "0, 0",
  quotactl: "-1, 0, 0, 0",
};

const asCalls = (table: Record<string, string>) =>
  attempts(
    Object.entries(table)
      .map(([name, given]) => `attempt("${name}", lambda: call(${numbers.get(name)}, ${given}))`)
      .join("\n"),
  );

proves("P6", "calls into large parts of the kernel are refused before their arguments are looked at", async ({ inside }) => {
  const table = Object.fromEntries(Object.entries(HARMLESS).filter(([name]) => numbers.has(name)));
  const free = answers(await outside(asCalls(table)));
  const stopped = answers(await inside(asCalls(table)));
  assert.deepEqual(Object.keys(stopped), Object.keys(table));
  for (const [name, said] of Object.entries(stopped)) assert.equal(said, "EPERM", name);
  const reached = Object.values(free).filter((said) => said !== "EPERM" && said !== "ENOSYS").length;
  assert.ok(reached > Object.keys(table).length / 2, `most of the calls exist on this host: ${JSON.stringify(free)}`);
});

const NAMESPACES = attempts(`
import resource
CLONE_NEWUSER = 0x10000000
def child(work):
    pid = os.fork()
    if pid == 0:
        try: work(); os._exit(0)
        except OSError as error: os._exit(error.errno or 255)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code: raise OSError(code, "")
attempt("unshare_user", lambda: child(lambda: call(${numbers.get("unshare")}, CLONE_NEWUSER)))
attempt("unshare_mount", lambda: child(lambda: call(${numbers.get("unshare")}, 0x20000)))
attempt("clone_user", lambda: child(lambda: os._exit(0) if call(${arch() === "arm64" ? 220 : 56}, CLONE_NEWUSER | 17, 0, 0, 0, 0) == 0 else os.wait()))
attempt("setns", lambda: child(lambda: call(${numbers.get("setns")}, os.open("/proc/self/ns/uts", os.O_RDONLY), 0)))
attempt("mount_tmpfs", lambda: child(lambda: (call(${numbers.get("unshare")}, 0x20000), call(${numbers.get("mount")}, 0, b"/", 0, 0x44000, 0), call(${numbers.get("mount")}, b"none", b"/mnt", b"tmpfs", 0, 0))))
attempt("chroot", lambda: child(lambda: call(${numbers.get("chroot")}, b"/tmp")))
attempt("fsopen", lambda: child(lambda: call(${numbers.get("fsopen")}, b"tmpfs", 0)))
`);

proves("P3", "no namespace can be made or entered, and nothing mounted", async ({ inside }) => {
  const free = answers(await outside(NAMESPACES));
  assert.deepEqual(
    Object.entries(free).filter(([, said]) => said !== "ok"),
    [],
    "root on the bare host may do all of it",
  );
  for (const [name, said] of Object.entries(answers(await inside(NAMESPACES)))) assert.equal(said, "EPERM", name);
});

const SETTINGS = attempts(`
def write(path, flags=os.O_WRONLY):
    os.close(os.open(path, flags))
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
             "/proc/sys/fs/file-max", "/proc/sys/kernel/randomize_va_space", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
             "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory.max", "/sys/kernel/security", "/sys/kernel/debug"):
    attempt(path, lambda: write(path))
`);

proves("P4", "no setting of the kernel can be opened for writing", async ({ inside }) => {
  const free = answers(await outside(SETTINGS));
  assert.equal(free["/proc/sys/kernel/core_pattern"], "ok");
  for (const [path, said] of Object.entries(answers(await inside(SETTINGS)))) assert.match(said, /^(EACCES|EROFS|EPERM|ENOENT)$/, path);
});

const SOCKETS = attempts(`
for name, family, kind, protocol in (
    ("alg", 38, 5, 0), ("packet", 17, 3, 0), ("vsock", 40, 1, 0), ("netlink", 16, 3, 0), ("xdp", 44, 3, 0), ("key", 15, 3, 2), ("bluetooth", 31, 3, 1),
    ("raw-icmp", 2, 3, 1), ("raw-any", 2, 3, 255), ("raw6", 10, 3, 58), ("sctp", 2, 1, 132), ("mptcp", 2, 1, 262), ("udplite", 2, 2, 136),
    ("tcp", 2, 1, 0), ("unix", 1, 1, 0)):
    attempt(name, lambda: socket.socket(family, kind, protocol).close())
`);

proves("P5", "only TCP, UDP, ping and unix sockets exist; raw, packet, netlink, vsock and crypto ones do not", async ({ inside }) => {
  const free = answers(await outside(SOCKETS));
  for (const name of ["packet", "netlink", "raw-icmp", "raw-any", "raw6"]) assert.equal(free[name], "ok", `${name} on the bare host`);
  const { tcp, unix, ...others } = answers(await inside(SOCKETS));
  assert.deepEqual([tcp, unix], ["ok", "ok"]);
  for (const [name, said] of Object.entries(others)) assert.match(said, /^(EPERM|EAFNOSUPPORT|EPROTONOSUPPORT)$/, name);
});

const DEVICES = attempts(`
import stat, glob, tempfile
for path in ("/dev/kvm", "/dev/mem", "/dev/kmem", "/dev/fuse", "/dev/loop-control", "/dev/nbd0", "/dev/loop0", "/dev/vda", "/dev/sda", "/dev/net/tun", "/dev/vsock"):
    attempt(path, lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))
place = tempfile.mkdtemp()
attempt("mknod-block", lambda: os.mknod(place + "/b", stat.S_IFBLK | 0o600, os.makedev(7, 0)))
attempt("mknod-memory", lambda: os.mknod(place + "/c", stat.S_IFCHR | 0o600, os.makedev(1, 1)))
attempt("remake-null", lambda: os.rename("/dev/null", "/dev/null") if os.access("/dev", os.W_OK) else open("/dev/other", "x"))
import shutil; shutil.rmtree(place)
`);

proves("P7", "no device but null, zero, full, random and the terminal exists, and none can be made", async ({ inside }) => {
  const free = answers(await outside(DEVICES));
  assert.deepEqual([free["mknod-block"], free["mknod-memory"], free["/dev/loop-control"]], ["ok", "ok", "ok"]);
  const stopped = answers(await inside(DEVICES));
  for (const [name, said] of Object.entries(stopped))
    assert.match(said, name.startsWith("/dev/") ? /^ENOENT$/ : /^(EPERM|EROFS|EACCES)$/, name);
  const there = (await inside("ls /dev")).stdout.split(/\s+/).filter(Boolean);
  const known = new Set("core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero console".split(" "));
  assert.deepEqual(
    there.filter((name) => !known.has(name)),
    [],
  );
});

const STATUS = python(`
facts = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
for name in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"):
    print(name, *facts[name].split())
`);

proves("P10", "code has no capability, cannot gain one by any program, and lives under the filter", async ({ inside }) => {
  assert.match((await outside(STATUS)).stdout, /CapEff 0*[1-9a-f]/, "the probe sees capabilities where there are some");
  const said = (await inside(STATUS)).stdout;
  for (const name of ["CapInh", "CapPrm", "CapEff", "CapAmb"]) assert.match(said, new RegExp(`${name} 0+\\n`));
  assert.match(said, /Uid 1000 1000 1000 1000\nGid 1000 1000 1000 1000\nGroups( 1000)?\n/);
  assert.match(said, /NoNewPrivs 1\nSeccomp 2\n/);
  // What keeps the sandbox has no use for capabilities either; one is held and never in effect.
  const powers = (await inside("grep -h -E '^Cap(Inh|Eff|Bnd|Amb)' /proc/[0-9]*/status | sort | uniq -c")).stdout;
  assert.match(powers, /^( +\d+ Cap\w+:\t0{16}\n){4}$/);
  // A program that is root's and set-uid where there are any; a copy of our own that says it is.
  const raised = await inside(
    "cp /usr/bin/id ~/id && chmod 6755 ~/id && ~/id -u; for f in $(find /usr -perm -4000 -type f); do echo $f; $f --version; done | head; su -c id </dev/null 2>&1; true",
  );
  assert.match(raised.stdout, /^1000\n/);
  assert.doesNotMatch(raised.stdout, /uid=0/);
});

const HOST_FACTS = `
hostname; cat /proc/sys/kernel/hostname; cat /etc/hostname; cat /etc/machine-id; cat /sys/class/dmi/id/product_uuid /sys/class/dmi/id/product_name /sys/class/net/*/address; cat /proc/cmdline
cut -d' ' -f4,5,10- /proc/self/mountinfo; cat /proc/self/cgroup; cat /proc/partitions /proc/diskstats /proc/modules /proc/net/route /proc/net/arp /proc/net/unix /proc/net/tcp; ls /sys /sys/class/net; ls /dev/disk /boot; cat /proc/keys /proc/kallsyms /proc/interrupts /proc/iomem | head -50; true`;

const alone = (text: string) => new RegExp(`(?<![\\w-])${text.replace(/[^\w]/g, "\\$&")}(?![\\w-])`);

proves(
  "H1",
  "nothing inside names the host: its name, machine, disks, paths, network, boot line or neighbours",
  async ({ inside, door }) => {
    const facts = (await outside("hostname; cat /etc/machine-id /sys/class/dmi/id/product_uuid /sys/class/net/*/address 2>/dev/null; true"))
      .stdout;
    const names = facts.split("\n").filter((line) => line.length > 1 && line !== "00:00:00:00:00:00" && line !== "localhost");
    assert.ok(names.length > 0, "the host has a name to look for");
    const bootWords = (await outside("cat /proc/cmdline")).stdout.split(/\s+/).filter((word) => word.includes("="));
    const free = (await outside(HOST_FACTS)).stdout;
    const said = (await inside(HOST_FACTS)).stdout;
    for (const name of [...names, ...bootWords]) {
      assert.match(free, alone(name), "the probe finds it on the host");
      assert.doesNotMatch(said, alone(name));
    }
    for (const path of [door.dataDir, "/work/", "/root/.", "node_modules"]) assert.ok(!said.includes(path), `the sandbox knows ${path}`);
    // What was built on the host and is shown inside was built by nobody and nowhere.
    const inFiles = `grep -rlaF -e ${process.cwd()} -e ${door.dataDir}`;
    assert.match((await outside(`${inFiles} /proc/self/cmdline`)).stdout, /cmdline/);
    assert.equal((await inside(`${inFiles} /opt/cleanroom /etc`)).stdout, "");
    assert.match(said, /^sandbox\n/);
    assert.match(said, /^0::\/$/m, "its control group is the root of its own view");
  },
);

proves("H2", "a program starts with its three standard descriptors and no other", async ({ inside }) => {
  // The listing's own descriptor is among those listed, and closed by the time that they are looked at.
  const probe = `/usr/bin/python3 -c 'import os
print([n for n in sorted(map(int, os.listdir("/proc/self/fd"))) if n > 2 and os.path.exists(f"/proc/self/fd/{n}")])'`;
  assert.match((await outside(`exec 77</etc/hostname; ${probe}`)).stdout, /77/, "the probe sees a descriptor left open");
  assert.equal((await inside(probe)).stdout.trim(), "[]");
  assert.equal((await inside(`${probe} & wait`)).stdout.trim(), "[]");
});

const CRASH = python(`
import ctypes, os, resource
print("limits", *resource.getrlimit(resource.RLIMIT_CORE))
try: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)); print("raised")
except (OSError, ValueError): pass
os.makedirs("/tmp/crash-here", exist_ok=True); os.chdir("/tmp/crash-here")
pid = os.fork()
if pid == 0: ctypes.string_at(0)
_, status = os.waitpid(pid, 0)
print("signal", os.WTERMSIG(status), "dumped", os.WCOREDUMP(status), *os.listdir("."))
for name in os.listdir("."): os.remove(name)
os.rmdir("/tmp/crash-here")`);

proves("H4", "a crash leaves no core dump, inside or with whoever collects them on the host", async ({ inside, send }) => {
  const pattern = (await outside("cat /proc/sys/kernel/core_pattern")).stdout.trim();
  const plain = (await outside(`ulimit -c unlimited; ${CRASH}`)).stdout;
  assert.match(plain, /raised\nsignal 11/, "root on the host raises its limit, and the probe crashes");
  // Where dumps are piped to a program of the host's, what it does with this one is its own affair.
  if (!pattern.startsWith("|")) assert.match(plain, /dumped True/);
  assert.match((await inside(CRASH)).stdout, /^limits [01] [01]\nsignal 11 dumped False\n$/);
  const code = `import subprocess; print(subprocess.run(${JSON.stringify(CRASH)}, shell=True, capture_output=True, text=True).stdout)`;
  const said = (await (await send("POST", "/contexts/execute", { language: "python", code })).json()) as { stdout: string };
  assert.match(said.stdout, /^limits [01] [01]\nsignal 11 dumped False\n/, "nor from an interpreter");
});
