import assert from "node:assert/strict";
import { test } from "node:test";
import { ACTION, seccompFilter } from "#infra/local/sealed/seccomp.ts";
import { syscalls, type Architecture } from "#infra/local/sealed/syscalls.ts";

const AUDIT: Record<Architecture, number> = { x64: 0xc000003e, arm64: 0xc00000b7 };
const ARCHITECTURES: Architecture[] = ["x64", "arm64"];

/** Runs a classic BPF program over one `struct seccomp_data`, as the kernel would; a jump outside throws. */
function judge(program: Uint8Array, arch: number, number: number, args: bigint[] = []): number {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, number >>> 0, true);
  data.setUint32(4, arch, true);
  args.forEach((value, index) => data.setBigUint64(16 + index * 8, value, true));
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  for (let at = 0; ; at += 1) {
    const operation = code.getUint16(at * 8, true);
    const value = code.getUint32(at * 8 + 4, true);
    const jump = (holds: boolean) => code.getUint8(at * 8 + (holds ? 2 : 3));
    if (operation === 0x20) accumulator = data.getUint32(value, true);
    else if (operation === 0x15) at += jump(accumulator === value);
    else if (operation === 0x35) at += jump(accumulator >= value);
    else if (operation === 0x45) at += jump((accumulator & value) !== 0);
    else if (operation === 0x54) accumulator = (accumulator & value) >>> 0;
    else if (operation === 0x06) return value;
    else throw new Error(`An unknown instruction ${operation} at ${at}`);
  }
}

function numberOf(name: string, architecture: Architecture): number {
  for (const list of ["allowed", "denied", "checked"] as const) {
    const found = syscalls(list, architecture).find((entry) => entry.name === name);
    if (found) return found.number;
  }
  throw new Error(`${architecture} has no ${name}`);
}

function call(architecture: Architecture, name: string, ...args: (number | bigint)[]): number {
  return judge(seccompFilter(architecture), AUDIT[architecture], numberOf(name, architecture), args.map(BigInt));
}

for (const architecture of ARCHITECTURES) {
  const filter = seccompFilter(architecture);

  test(`${architecture}: every call of the lists gets its list's answer`, () => {
    for (const { name, number } of syscalls("allowed", architecture)) {
      assert.equal(judge(filter, AUDIT[architecture], number), ACTION.allow, name);
    }
    for (const { name, number } of syscalls("denied", architecture)) {
      assert.equal(judge(filter, AUDIT[architecture], number), ACTION.notPermitted, name);
    }
  });

  test(`${architecture}: no two names share a number`, () => {
    const all = (["allowed", "denied", "checked"] as const).flatMap((list) => syscalls(list, architecture));
    assert.equal(new Set(all.map(({ number }) => number)).size, all.length);
  });

  test(`${architecture}: the ways out of a sandbox are refused`, () => {
    const ways = ["ptrace", "process_vm_readv", "process_vm_writev", "bpf", "io_uring_setup", "io_uring_enter", "userfaultfd"];
    ways.push("unshare", "setns", "mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "fsmount", "mount_setattr");
    ways.push("keyctl", "add_key", "request_key", "perf_event_open", "kexec_load", "init_module", "finit_module", "delete_module");
    ways.push("open_by_handle_at", "pidfd_getfd", "swapon", "reboot", "quotactl", "acct", "settimeofday", "clock_settime", "chroot");
    for (const name of ways) assert.equal(call(architecture, name), ACTION.notPermitted, name);
  });

  test(`${architecture}: what nobody named does not exist`, () => {
    assert.equal(judge(filter, AUDIT[architecture], 435), ACTION.noSuchCall, "clone3");
    for (const number of [500, 4095, 0x3fffffff, 0xffffffff]) assert.equal(judge(filter, AUDIT[architecture], number), ACTION.noSuchCall);
  });

  test(`${architecture}: a program of another architecture ends`, () => {
    assert.equal(judge(filter, 0x40000003, 1), ACTION.kill);
    assert.equal(judge(filter, AUDIT[architecture === "x64" ? "arm64" : "x64"], 1), ACTION.kill);
  });

  test(`${architecture}: threads and children start, in no namespace of their own`, () => {
    const thread = 0x3d0f00;
    assert.equal(call(architecture, "clone", thread), ACTION.allow);
    assert.equal(call(architecture, "clone", 17), ACTION.allow);
    for (const bit of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
      assert.equal(call(architecture, "clone", thread | bit), ACTION.notPermitted, bit.toString(16));
    }
    assert.equal(call(architecture, "clone", 0x100000000n | 0x10000000n), ACTION.notPermitted, "the upper half hides nothing");
  });

  test(`${architecture}: sockets are local, TCP, UDP or ping`, () => {
    for (const family of [1, 2, 10]) assert.equal(call(architecture, "socket", family, 1, 0), ACTION.allow);
    for (const family of [0, 3, 16, 17, 29, 31, 38, 40, 44]) assert.equal(call(architecture, "socket", family, 1, 0), ACTION.noSuchFamily);
    assert.equal(call(architecture, "socket", 2, 1, 6), ACTION.allow);
    for (const protocol of [33, 132, 136, 255, 262]) assert.equal(call(architecture, "socket", 2, 1, protocol), ACTION.noSuchProtocol);
    assert.equal(call(architecture, "socketpair", 1, 1, 0), ACTION.allow);
    assert.equal(call(architecture, "socketpair", 30, 1, 0), ACTION.noSuchFamily);
  });

  test(`${architecture}: nobody types into another's terminal`, () => {
    const readSize = 0x5413;
    assert.equal(call(architecture, "ioctl", 0, readSize), ACTION.allow);
    for (const request of [0x5412, 0x541c, 0x5423]) assert.equal(call(architecture, "ioctl", 0, request), ACTION.notPermitted);
    assert.equal(call(architecture, "ioctl", 0, 0x700005412n), ACTION.notPermitted, "the upper half hides nothing");
  });
}

test("x64: the second numbering of its calls does not exist", () => {
  assert.equal(judge(seccompFilter("x64"), AUDIT.x64, 0x40000000 | numberOf("read", "x64")), ACTION.noSuchCall);
  assert.equal(judge(seccompFilter("x64"), AUDIT.x64, 0x40000000 | 521), ACTION.noSuchCall);
});

test("an architecture's personality stays the plain one", () => {
  assert.equal(call("x64", "personality", 0), ACTION.allow);
  assert.equal(call("x64", "personality", 0xffffffff), ACTION.allow);
  assert.equal(call("x64", "personality", 0x40000), ACTION.notPermitted);
});

for (const architecture of ARCHITECTURES) {
  const filter = seccompFilter(architecture, "browser");
  const asked = (name: string, ...args: (number | bigint)[]) =>
    judge(filter, AUDIT[architecture], numberOf(name, architecture), args.map(BigInt));

  test(`${architecture}: a browser may part its pages by users, processes and networks, and by nothing else`, () => {
    for (const flags of [0x10000000, 0x20000000, 0x40000000, 0x70000011]) assert.equal(asked("clone", flags), ACTION.allow);
    for (const bit of [0x20000, 0x2000000, 0x4000000, 0x8000000])
      assert.equal(asked("clone", bit | 0x10000000), ACTION.notPermitted, bit.toString(16));
    assert.equal(asked("chroot"), ACTION.allow);
    assert.equal(asked("unshare", 0x10000000), ACTION.allow);
    for (const flags of [0, 0x20000, 0x40000000, 0x50000000]) assert.equal(asked("unshare", flags), ACTION.notPermitted);
    for (const name of ["setns", "mount", "umount2", "pivot_root", "ptrace", "bpf", "keyctl", "io_uring_setup"])
      assert.equal(asked(name), ACTION.notPermitted, name);
    assert.equal(judge(filter, AUDIT[architecture], 435), ACTION.noSuchCall, "clone3");
  });

  test(`${architecture}: who administers a network of its own beside a browser has nothing to administer`, () => {
    const [ip, tcp, ipv6] = [0, 6, 41];
    for (const name of ["setsockopt", "getsockopt"]) {
      for (const [level, option] of [
        [ip, 1],
        [ip, 50],
        [tcp, 1],
        [tcp, 13],
        [ipv6, 26],
        [ipv6, 67],
        [1, 2],
      ] as const)
        assert.equal(asked(name, 3, level, option), ACTION.allow, `${level} ${option}`);
      for (const [level, option] of [
        [ip, 64],
        [ip, 65],
        [ip, 200],
        [ipv6, 64],
        [ipv6, 69],
        [ipv6, 200],
        [tcp, 19],
      ] as const)
        assert.equal(asked(name, 3, level, option), ACTION.notPermitted, `${level} ${option}`);
    }
    for (const request of [0x5413, 0x541b, 0x8913, 0x8927, 0x80045430]) assert.equal(asked("ioctl", 3, request), ACTION.allow);
    for (const request of [0x8914, 0x8916, 0x8924, 0x89f1, 0x8946, 0x5412]) assert.equal(asked("ioctl", 3, request), ACTION.notPermitted);
    for (const [family, type, protocol] of [
      [2, 1, 0],
      [10, 0x80802, 17],
      [1, 3, 0],
    ] as const)
      assert.equal(asked("socket", family, type, protocol), ACTION.allow);
    for (const family of [2, 10]) assert.equal(asked("socket", family, 0x80003, 1), ACTION.notPermitted);
    for (const family of [16, 17, 40]) assert.equal(asked("socket", family, 1, 0), ACTION.noSuchFamily);
  });
}
