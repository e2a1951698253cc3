"""What a process gives up before untrusted code comes near it, by system calls that Python does not offer."""

import ctypes
import os
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
ALL_BUT_PROCESSES = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWNET

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 2, 4, 15, 22, 24
PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 28, 36, 38, 47
AMBIENT_CLEAR_ALL = 4
SECCOMP_FILTER = 2
# Root's uid means nothing to exec, a change of uid changes no capability, none can be made ambient; all for good.
POWERLESS_ROOT = 0b11001111
CAPABILITY_VERSION = 0x20080522
CAPABILITIES_MOST = 64
# Among the permitted of the capabilities from 32 on.
WAKE_ALARM = 1 << 35 - 32
ROOT, USER = 0, 1000
# Landlock's calls carry the same numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
RULESET_VERSION, PATH_BENEATH = 1, 1
# What each version of Landlock can judge of files: how many rights, from the lowest bit.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
MAKE_DEVICES = 1 << 6 | 1 << 11
SCOPES_SINCE, SCOPES = 6, 0b11  # abstract sockets, signals


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def control(option, *values):
    """`prctl`: an operation on this process, its arguments numbers or pointers."""
    words = [ctypes.c_ulong(value) if isinstance(value, int) else value for value in (*values, 0, 0, 0, 0)[:4]]
    return check(LIBC.prctl(option, *words), f"prctl {option}")


def keep_capabilities(wanted_high=0):
    """Gives up every capability but those wanted, as far as they are held: of the ones from 32 on, permitted and never in effect."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()
    check(LIBC.capget(header, held), "capget")
    check(LIBC.capset(header, (ctypes.c_uint32 * 6)(0, 0, 0, 0, held[4] & wanted_high, 0)), "capset")


def join(namespace, kinds):
    """Moves this process into `kinds` of namespaces of the process or namespace that the descriptor stands for."""
    check(LIBC.setns(namespace, kinds), "setns")


def take_rights():
    """
    The user's rights for good, with root's uid kept beside them: the kernel judges every file by the user's, and no
    process of the user's, which has these three times over, may signal or trace this one. No capability is left but one
    that means nothing in a sandbox and is never in effect: whoever has none may not slow down, or hold to one processor,
    a process that has any. What is started from here loses it on the way.
    """
    os.setgroups([])
    forgo_capabilities()
    os.setresgid(ROOT, USER, ROOT)
    os.setresuid(ROOT, USER, ROOT)
    keep_capabilities(WAKE_ALARM)
    control(PR_SET_NO_NEW_PRIVS, 1)


def become(uid, gid, groups):
    """Somebody's rights and nobody else's, for good, and no capability: root's uid is one like any other then."""
    os.setgroups(groups)
    forgo_capabilities()
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    keep_capabilities()
    control(PR_SET_NO_NEW_PRIVS, 1)


def forgo_capabilities():
    """None can be gained any more, whatever is started or becomes of the uid."""
    control(PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL)
    for capability in range(CAPABILITIES_MOST):
        if LIBC.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
    control(PR_SET_SECUREBITS, POWERLESS_ROOT)


def confine():
    """
    Landlock, where the kernel has it: files are those below our root, however another one may be reached; no devices are
    made, nothing is mounted; signals and abstract sockets end at this process's descendants. Answers its version, or 0.
    """
    version = LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), RULESET_VERSION)
    if version < 1:
        return 0
    rights = (1 << FILE_RIGHTS[min(version, max(FILE_RIGHTS))]) - 1
    words = [rights] if version < 4 else [rights, 0] if version < SCOPES_SINCE else [rights, 0, SCOPES]
    handled = struct.pack(f"{len(words)}Q", *words)
    rules = check(LIBC.syscall(CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0), "landlock")
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = struct.pack("=Qi", rights & ~MAKE_DEVICES, root)
        check(LIBC.syscall(ADD_RULE, rules, PATH_BENEATH, allowed, 0), "landlock rule")
        check(LIBC.syscall(RESTRICT_SELF, rules, 0), "landlock restriction")
    finally:
        os.close(root)
        os.close(rules)
    return version


def filter_calls(program):
    """From here on the kernel answers only the system calls that the filter, classic BPF, lets pass."""
    kept = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // 8, ctypes.cast(kept, ctypes.c_char_p))
    control(PR_SET_SECCOMP, SECCOMP_FILTER, ctypes.byref(described))


def main():
    """Runs a program as user code is run, for those who want to see that the lock holds."""
    take_rights()
    print(f"landlock {confine()}", flush=True)
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
