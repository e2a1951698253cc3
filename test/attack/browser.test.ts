import assert from "node:assert/strict";
import { arch } from "node:os";
import { answers, attempts, outside, proves } from "#support/range.ts";
import { until } from "#support/until.ts";
import { syscalls } from "#infra/local/sealed/syscalls.ts";

const processor = arch() === "arm64" ? "arm64" : "x64";
const numbers = new Map((["denied", "checked"] as const).flatMap((list) => syscalls(list, processor)).map((it) => [it.name, it.number]));
const sandbox = { template: "all-in-one" };

/** `rooted(work)` does something as root of a user namespace of its own, and whatever other kinds are asked for. */
const ROOTED = `
import fcntl, struct
USER, MOUNT, NET, PID = 0x10000000, 0x20000, 0x40000000, 0x20000000
own, group = os.getuid(), os.getgid()
def child(flags, work):
    pid = call(${numbers.get("clone")}, flags | 17, 0, 0, 0, 0)
    if pid == 0:
        try: work(); os._exit(0)
        except OSError as error: os._exit(error.errno or 255)
        except BaseException: os._exit(255)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code: raise OSError(code, "")
def rooted(work, more=0):
    def first():
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {own} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w") as file: file.write(text)
        work()
    child(USER | more, first)
`;

const WAYS = attempts(`${ROOTED}
attempt("user", lambda: rooted(lambda: None))
attempt("user_and_network", lambda: rooted(lambda: None, NET | PID))
attempt("user_and_mount", lambda: child(USER | MOUNT, lambda: None))
attempt("mount_after", lambda: rooted(lambda: call(${numbers.get("unshare")}, MOUNT)))
attempt("mount_tmpfs", lambda: rooted(lambda: (call(${numbers.get("unshare")}, MOUNT), call(${numbers.get("mount")}, b"none", b"/tmp", b"tmpfs", 0, 0))))
attempt("setns", lambda: rooted(lambda: call(${numbers.get("setns")}, os.open("/proc/self/ns/uts", os.O_RDONLY), 0)))
attempt("keys", lambda: rooted(lambda: call(${numbers.get("keyctl")}, -1, 0, 0, 0, 0)))
attempt("trace", lambda: rooted(lambda: call(${numbers.get("ptrace")}, 0x4206, os.getppid(), 0, 0)))
`);

proves(
  "P40",
  "beside a browser, code may be root of a namespace of users, processes and networks; it mounts, joins and traces nothing there",
  async ({ inside }) => {
    const free = answers(await outside(WAYS));
    assert.deepEqual([free["user_and_mount"], free["mount_after"], free["mount_tmpfs"]], ["ok", "ok", "ok"]);
    const { user, user_and_network: network, ...refused } = answers(await inside(WAYS));
    assert.deepEqual([user, network], ["ok", "ok"], "a browser's own sandbox needs these");
    for (const [name, said] of Object.entries(refused)) assert.equal(said, "EPERM", name);
  },
  { sandbox },
);

const NETWORK = attempts(`${ROOTED}
def device(request): fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), request, struct.pack("16sH22x", b"lo", 0x41))
def option(level, name): socket.socket(socket.AF_INET6 if level == 41 else socket.AF_INET).setsockopt(level, name, bytes(4))
attempt("netlink", lambda: rooted(lambda: socket.socket(16, socket.SOCK_RAW, 12), NET))
attempt("packet", lambda: rooted(lambda: socket.socket(17, socket.SOCK_RAW, 0), NET))
attempt("raw", lambda: rooted(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), NET))
attempt("device_up", lambda: rooted(lambda: device(0x8914), NET))
attempt("filters", lambda: rooted(lambda: option(0, 64), NET))
attempt("filters6", lambda: rooted(lambda: option(41, 64), NET))
attempt("multicast", lambda: rooted(lambda: option(0, 200), NET))
attempt("repair", lambda: rooted(lambda: option(6, 19), NET))
`);

proves(
  "P41",
  "who is root of a network of its own beside a browser administers nothing: no packet filters, devices, raw packets or repairs",
  async ({ inside }) => {
    const free = answers(await outside(NETWORK));
    assert.deepEqual([free["netlink"], free["packet"], free["raw"], free["device_up"]], ["ok", "ok", "ok", "ok"]);
    const stopped = answers(await inside(NETWORK));
    assert.deepEqual(Object.keys(stopped), Object.keys(free));
    for (const [name, said] of Object.entries(stopped)) assert.match(said, /^(EPERM|EAFNOSUPPORT)$/, name);
  },
  { sandbox },
);

/** Namespaces that are held open, until no more can be made; at most 80. */
const HOARD = attempts(`${ROOTED}
import signal
def hoard(flags):
    held = []
    try:
        while len(held) < 80:
            pid = call(${numbers.get("clone")}, flags | 17, 0, 0, 0, 0)
            if pid == 0: signal.pause()
            held.append(pid)
        said = "more"
    except OSError as error: said = errno.errorcode[error.errno]
    for pid in held: os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
    return said
print("users", hoard(USER)); print("networks", hoard(USER | NET))
`);

proves(
  "P42",
  "namespaces beside a browser are so many and no more, whoever makes them, and those that are given back can be had again",
  async ({ inside }) => {
    assert.deepEqual(answers(await outside(HOARD)), { users: "more", networks: "more" });
    for (const _ of [1, 2]) assert.deepEqual(answers(await inside(HOARD)), { users: "ENOSPC", networks: "ENOSPC" });
  },
  { sandbox },
);

/** Of each process of the browser: its kind, how many filters it lives under, and whether its user namespace is another. */
const PROCESSES = `for p in $(pgrep -f /usr/lib/chromium/chromium); do
kind=$(tr '\\0' ' ' </proc/$p/cmdline | grep -o -- '--type=[a-z-]*' | head -1); own=same
[ "$(readlink /proc/$p/ns/user)" = "$(readlink /proc/self/ns/user)" ] || own=another
echo "\${kind:-main} $(sed -n 's/^Seccomp_filters:\\t//p' /proc/$p/status) $own"; done`;

proves(
  "P43",
  "a page runs under the browser's own sandbox within ours: namespaces of its own and one more filter than the browser itself",
  async ({ inside, send }) => {
    assert.equal((await send("PUT", "/browser")).status, 200);
    let seen: string[][] = [];
    const pagesOf = () => seen.filter(([kind]) => kind === "--type=renderer");
    const look = async () => {
      seen = (await inside(PROCESSES)).stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" "));
      return pagesOf().some(([, filters]) => filters === "2");
    };
    await until("a page has its process", look, 60_000);
    const main = seen.find(([kind]) => kind === "main");
    assert.deepEqual(main?.slice(1), ["1", "same"], "the control: it is under our filter alone");
    for (const page of pagesOf()) assert.deepEqual(page.slice(1), ["2", "another"]);
  },
  { sandbox },
);
