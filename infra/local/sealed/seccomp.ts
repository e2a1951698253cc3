import type { Profile } from "./profile.ts";
import { syscalls, type Architecture } from "./syscalls.ts";

const AUDIT_ARCH: Record<Architecture, number> = { x64: 0xc000003e, arm64: 0xc00000b7 };

/** What a filter may answer, as the kernel encodes it. */
export const ACTION = {
  allow: 0x7fff0000,
  kill: 0x80000000,
  notPermitted: errno(1),
  invalid: errno(22),
  noSuchCall: errno(38),
  noSuchProtocol: errno(93),
  noSuchFamily: errno(97),
} as const;

const LOAD = 0x20;
const EQUAL = 0x15;
const AT_LEAST = 0x35;
const ANY_BIT = 0x45;
const AND = 0x54;
const RETURN = 0x06;

/** Offsets in `struct seccomp_data`. Arguments are read by their low half: the kernel truncates these very ones. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const argument = (index: number) => 16 + 8 * index;

interface Instruction {
  code: number;
  value: number;
  ifTrue: number;
  ifFalse: number;
}

const load = (offset: number): Instruction => ({ code: LOAD, value: offset, ifTrue: 0, ifFalse: 0 });
const answer = (action: number): Instruction => ({ code: RETURN, value: action, ifTrue: 0, ifFalse: 0 });
/** Answers at once when the comparison holds and goes on otherwise, so that no jump is ever longer than one. */
const answerIf = (code: number, value: number, action: number): Instruction[] => [{ code, value, ifTrue: 0, ifFalse: 1 }, answer(action)];

const CLONE_NAMESPACES = 0x7e020000;
const NEW_USER = 0x10000000;
/** All of them but those of users, processes and networks. */
const CLONE_NEVER = 0x0e020000;
const TERMINAL_REQUESTS = [0x5412, 0x541c, 0x5423]; // TIOCSTI, TIOCLINUX, TIOCSETD
const PERSONALITIES = [0, 0xffffffff];
const AF = { unix: 1, inet: 2, inet6: 10 };
const PROTOCOLS = [0, 1, 6, 17, 58]; // the default, ICMP, TCP, UDP, ICMPv6

/**
 * The filter every process of a sandbox lives under, as a classic BPF program. What it does not name does not exist.
 * Constant answers depend on the number alone, so the kernel caches them and the length of the list costs nothing.
 * For a browser it gives way where its own sandbox needs it, and takes more where that lets others in.
 */
export function seccompFilter(architecture: Architecture, profile: Profile = "plain"): Uint8Array {
  const blocks = profile === "browser" ? { ...ARGUMENTS, ...FOR_BROWSERS } : ARGUMENTS;
  const checked = [...syscalls("checked", architecture), ...(profile === "browser" ? syscalls("browser", architecture) : [])];
  return encode([
    load(ARCHITECTURE),
    { code: EQUAL, value: AUDIT_ARCH[architecture], ifTrue: 1, ifFalse: 0 },
    answer(ACTION.kill),
    load(NUMBER),
    ...checked.flatMap(({ name, number }) => checkedCall(number, blocks[name] ?? [])),
    ...answersByNumber(architecture),
  ]);
}

/** The filter of each profile. */
export function seccompFilters(architecture: Architecture): Record<Profile, Uint8Array> {
  return { plain: seccompFilter(architecture), browser: seccompFilter(architecture, "browser") };
}

/** What each checked call does with its arguments; every list ends in an answer. */
const ARGUMENTS: Record<string, Instruction[]> = {
  clone: [load(argument(0)), ...answerIf(ANY_BIT, CLONE_NAMESPACES, ACTION.notPermitted), answer(ACTION.allow)],
  ioctl: [
    load(argument(1)),
    ...TERMINAL_REQUESTS.flatMap((request) => answerIf(EQUAL, request, ACTION.notPermitted)),
    answer(ACTION.allow),
  ],
  personality: [
    load(argument(0)),
    ...PERSONALITIES.flatMap((persona) => answerIf(EQUAL, persona, ACTION.allow)),
    answer(ACTION.notPermitted),
  ],
  socketpair: [load(argument(0)), ...answerIf(EQUAL, AF.unix, ACTION.allow), answer(ACTION.noSuchFamily)],
  socket: [
    load(argument(0)),
    ...answerIf(EQUAL, AF.unix, ACTION.allow),
    { code: EQUAL, value: AF.inet, ifTrue: 2, ifFalse: 0 },
    { code: EQUAL, value: AF.inet6, ifTrue: 1, ifFalse: 0 },
    answer(ACTION.noSuchFamily),
    load(argument(2)),
    ...PROTOCOLS.flatMap((protocol) => answerIf(EQUAL, protocol, ACTION.allow)),
    answer(ACTION.noSuchProtocol),
  ],
};

/**
 * Whoever makes a user namespace administers the network namespaces made in it. Of what only such a one can ask of the
 * kernel nothing is there: no packet filters, no routing of multicasts, no repairing of connections, no raw packets, and
 * devices are read and never set.
 */
const LEVELS = { ip: 0, tcp: 6, ipv6: 41 };
const DEVICE_REQUESTS = { first: 0x8910, after: 0x9000 };
const DEVICE_READS = [0x8910, 0x8912, 0x8913, 0x8915, 0x8919, 0x891b, 0x8921, 0x8927, 0x8933]; // SIOCGIF…
const TABLES_IPV6 = [64, 65, 68, 69];
const ROUTERS = 128;
const TCP_REPAIR = [19, 20, 21, 22];
const RAW = 3;

const optionsOf = (level: number, ...rules: Instruction[]): Instruction[] => [
  { code: EQUAL, value: level, ifTrue: 0, ifFalse: rules.length + 2 },
  load(argument(2)),
  ...rules,
  answer(ACTION.allow),
];

const socketOption = [
  load(argument(1)),
  ...optionsOf(LEVELS.ip, ...answerIf(AT_LEAST, 64, ACTION.notPermitted)),
  ...optionsOf(
    LEVELS.ipv6,
    ...TABLES_IPV6.flatMap((option) => answerIf(EQUAL, option, ACTION.notPermitted)),
    ...answerIf(AT_LEAST, ROUTERS, ACTION.notPermitted),
  ),
  ...optionsOf(LEVELS.tcp, ...TCP_REPAIR.flatMap((option) => answerIf(EQUAL, option, ACTION.notPermitted))),
  answer(ACTION.allow),
];

const FOR_BROWSERS: Record<string, Instruction[]> = {
  clone: [load(argument(0)), ...answerIf(ANY_BIT, CLONE_NEVER, ACTION.notPermitted), answer(ACTION.allow)],
  // By it a browser tries whether it can have its sandbox at all.
  unshare: [load(argument(0)), ...answerIf(EQUAL, NEW_USER, ACTION.allow), answer(ACTION.notPermitted)],
  // A page's process leaves all files behind by it.
  chroot: [answer(ACTION.allow)],
  setsockopt: socketOption,
  getsockopt: socketOption,
  ioctl: [
    load(argument(1)),
    ...TERMINAL_REQUESTS.flatMap((request) => answerIf(EQUAL, request, ACTION.notPermitted)),
    ...DEVICE_READS.flatMap((request) => answerIf(EQUAL, request, ACTION.allow)),
    ...answerIf(AT_LEAST, DEVICE_REQUESTS.after, ACTION.allow),
    ...answerIf(AT_LEAST, DEVICE_REQUESTS.first, ACTION.notPermitted),
    answer(ACTION.allow),
  ],
  socket: [
    load(argument(0)),
    ...answerIf(EQUAL, AF.unix, ACTION.allow),
    load(argument(1)),
    { code: AND, value: 0xf, ifTrue: 0, ifFalse: 0 },
    ...answerIf(EQUAL, RAW, ACTION.notPermitted),
    ...(ARGUMENTS["socket"] ?? []),
  ],
};

/** Skips the block for any other number. The number stays loaded, since only the block itself loads an argument. */
function checkedCall(number: number, block: Instruction[]): Instruction[] {
  return [{ code: EQUAL, value: number, ifTrue: 0, ifFalse: block.length }, ...block];
}

/** Numbers in ascending order, cut where the answer changes. x32 calls and new ones lie above the last cut. */
function answersByNumber(architecture: Architecture): Instruction[] {
  const answers = new Map<number, number>();
  for (const { number } of syscalls("allowed", architecture)) answers.set(number, ACTION.allow);
  for (const { number } of syscalls("denied", architecture)) answers.set(number, ACTION.notPermitted);
  const last = Math.max(...answers.keys());
  const program: Instruction[] = [];
  for (let number = 0; number <= last; number++) {
    const action = answers.get(number) ?? ACTION.noSuchCall;
    const next = answers.get(number + 1) ?? ACTION.noSuchCall;
    if (action !== next) program.push({ code: AT_LEAST, value: number + 1, ifTrue: 1, ifFalse: 0 }, answer(action));
  }
  return [...program, answer(ACTION.noSuchCall)];
}

function encode(program: Instruction[]): Uint8Array {
  if (program.length > 4096) throw new RangeError("a filter has at most 4096 instructions");
  const bytes = new Uint8Array(program.length * 8);
  const view = new DataView(bytes.buffer);
  program.forEach(({ code, value, ifTrue, ifFalse }, index) => {
    if (ifTrue > 255 || ifFalse > 255) throw new RangeError("a jump is too long");
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, ifTrue);
    view.setUint8(index * 8 + 3, ifFalse);
    view.setUint32(index * 8 + 4, value >>> 0, true);
  });
  return bytes;
}

function errno(number: number): number {
  return 0x00050000 | number;
}
