import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { createServer, type AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { answers, attempts, boxOf, outside, proves } from "#support/range.ts";

/** What a closed network answers: no route, no device, nobody there. Never a connection, and never a wait. */
const CLOSED = /^(ENETUNREACH|EADDRNOTAVAIL|ENETDOWN|EHOSTUNREACH|ECONNREFUSED|EPERM|EACCES|NoSuchName|EINVAL)$/;

/** Tries to connect to each host and port. Forms that only some parsers understand go through the system's own resolver. */
const reach = (targets: readonly [string, number][]) =>
  attempts(`
class NoSuchName(Exception): pass
def reach(host, port):
    try: numeric = socket.inet_ntoa(socket.inet_aton(host))
    except OSError: numeric = None
    try: info = socket.getaddrinfo(numeric or host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror: raise NoSuchName()
    with socket.socket(info[0], socket.SOCK_STREAM) as s:
        s.settimeout(3); s.connect(info[4])
for host, port in ${JSON.stringify(targets)}:
    attempt(f"{host}:{port}", lambda: reach(host, port))`);

const METADATA = [
  "169.254.169.254",
  "2852039166",
  "0xa9fea9fe",
  "0251.0376.0251.0376",
  "169.16689662",
  "::ffff:169.254.169.254",
  "64:ff9b::a9fe:a9fe",
  "fd00:ec2::254",
  "100.100.100.200",
  "168.63.129.16",
  "metadata.google.internal",
];

proves("N1", "no cloud's metadata address answers, in any way of writing it", async ({ inside, door }) => {
  const port = Number(new URL(door.origin).port);
  const forms = ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "::ffff:127.0.0.1"].map((form): [string, number] => [
    form,
    port,
  ]);
  for (const [form, said] of Object.entries(answers(await outside(reach(forms)))))
    assert.equal(said, "ok", `the probe understands ${form}`);
  const said = answers(await inside(reach(METADATA.map((host): [string, number] => [host, 80]))));
  assert.equal(Object.keys(said).length, METADATA.length);
  for (const [host, answer] of Object.entries(said)) assert.match(answer, CLOSED, host);
});

proves("N2", "no port of the host or of a private network can be reached: not the door's, not the engine's", async ({ inside, door }) => {
  await using server = await listen();
  const ports = [door.origin, door.tlsOrigin, door.engineOrigin].map((origin) => Number(new URL(origin).port)).concat(server.port);
  const own = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal);
  const hosts = ["127.0.0.1", "localhost", "0.0.0.0", ...own.map(({ address }) => address)];
  const targets = hosts.flatMap((host) => ports.map((port): [string, number] => [host, port]));
  const loopback = ports.map((port): [string, number] => ["127.0.0.1", port]);
  for (const [target, said] of Object.entries(answers(await outside(reach(loopback))))) assert.equal(said, "ok", target);
  const private_ = ["10.0.0.1", "172.17.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fe80::1", "::1"].flatMap((host) =>
    [22, 80, 2375, 6379].map((port): [string, number] => [host, port]),
  );
  for (const [target, said] of Object.entries(answers(await inside(reach([...targets, ...private_]))))) assert.match(said, CLOSED, target);
});

const NAMES = `
import struct, time
def ask(server, port, kind, tcp):
    label = b"secret-" + b"x" * 50
    name = b"".join(bytes([len(p)]) + p for p in (label, b"example", b"com")) + b"\\0"
    message = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + name + struct.pack(">2H", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
        s.settimeout(3); s.connect((server, port))
        s.sendall((struct.pack(">H", len(message)) if tcp else b"") + message); assert s.recv(16)
`;

proves("N4", "no name can be asked for: by no resolver, record, port or protocol", async ({ inside }) => {
  await using server = await listen();
  await using echo = await echoUdp();
  const free = answers(
    await outside(
      attempts(`${NAMES}
attempt("udp", lambda: ask("127.0.0.1", ${echo.port}, 16, False))
attempt("tcp", lambda: ask("127.0.0.1", ${server.port}, 10, True))`),
    ),
  );
  assert.deepEqual(free, { udp: "ok", tcp: "ok" });
  const said = answers(
    await inside(
      attempts(`${NAMES}
for server in ("8.8.8.8", "1.1.1.1", "100.100.2.136", "127.0.0.53", "127.0.0.1"):
    for kind in (1, 16, 10):
        attempt(f"udp-{server}-{kind}", lambda: ask(server, 53, kind, False))
    for port in (53, 853, 443): attempt(f"tcp-{server}-{port}", lambda: ask(server, port, 1, True))
attempt("host-udp", lambda: ask("127.0.0.1", ${echo.port}, 16, False))
def resolve(name):
    try: socket.getaddrinfo(name, 80)
    except socket.gaierror: raise PermissionError(1, "")
for name in ("example.com", "metadata", "x" * 60 + ".example.com", "localhost.attacker.example"): attempt("name-" + name[:20], lambda: resolve(name))`),
    ),
  );
  for (const [name, answer] of Object.entries(said)) assert.match(answer, CLOSED, name);
});

const SENDERS = `
def datagram(host, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as s: s.settimeout(3); s.connect((host, port)); s.send(b"hello"); assert s.recv(16)
def stream(host, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as s: s.settimeout(3); s.connect((host, port))
for name in list(os.environ):
    if name.lower().endswith("_proxy"): del os.environ[name]
`;

const AWAY = `
attempt("quic", lambda: datagram("1.1.1.1", 443))
attempt("tcp6", lambda: stream("2606:4700:4700::1111", 443, socket.AF_INET6))
attempt("udp6", lambda: datagram("2606:4700:4700::1111", 443, socket.AF_INET6))
attempt("multicast", lambda: datagram("224.0.0.251", 5353))
attempt("broadcast", lambda: datagram("255.255.255.255", 67))
attempt("icmp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).sendto(b"\\x08" + b"\\0" * 7, ("1.1.1.1", 0)))
attempt("sctp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).connect(("1.1.1.1", 80)))`;

proves("N8", "there is no route for any protocol, and no device but the sandbox's own loopback", async ({ inside }) => {
  await using server = await listen();
  await using echo = await echoUdp();
  const near = `${SENDERS}
attempt("tcp", lambda: stream("127.0.0.1", ${server.port}))
attempt("udp", lambda: datagram("127.0.0.1", ${echo.port}))`;
  assert.deepEqual(answers(await outside(attempts(near))), { tcp: "ok", udp: "ok" });
  const said = answers(await inside(attempts(near + AWAY)));
  for (const [name, answer] of Object.entries(said)) assert.match(answer, /^(E\w+)$/, name);
  assert.ok(!Object.values(said).includes("ETIMEDOUT"), "nothing waits for an answer that cannot come");
  assert.equal(
    (
      await inside(
        "ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1; cat /proc/net/route | tail -n +2; env | grep -i proxy; true",
      )
    ).stdout.trim(),
    "lo",
  );
});

proves("N17", "one sandbox's loopback is its own: neighbours find nothing there, and it works inside", async ({ inside, neighbour }) => {
  const serve = `python3 -c 'import socket,time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", 8765)); s.listen()
s.settimeout(60)
while True: s.accept()[0].close()' > /dev/null 2>&1 & for i in $(seq 100); do bash -c ': < /dev/tcp/127.0.0.1/8765' 2>/dev/null && break; sleep 0.05; done; exit 0`;
  await inside(serve);
  const probe = reach([["127.0.0.1", 8765]]);
  assert.deepEqual(answers(await inside(probe)), { "127.0.0.1:8765": "ok" });
  const other = await neighbour();
  assert.deepEqual(answers(await other.inside(probe)), { "127.0.0.1:8765": "ECONNREFUSED" });
});

proves("N15", "the network stays closed when a sandbox was paused, restored from a snapshot or forked", async (range) => {
  const { door, tenant, sandboxId, neighbour } = range;
  const ports = [door.origin, door.engineOrigin].map((origin) => Number(new URL(origin).port));
  const away = ["169.254.169.254", "100.100.100.200", "10.0.0.1", "8.8.8.8"].map((host): [string, number] => [host, 80]);
  const targets = [...ports.map((port): [string, number] => ["127.0.0.1", port]), ...away];
  const devices = "cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/route | tail -n +2; readlink /proc/self/ns/net";
  const before = (await range.inside(devices)).stdout;
  assert.match(before, /^ *lo\nnet:/, "one device and no route");
  await tenant.json("POST", `/api/sandboxes/${sandboxId}/pause`);
  await tenant.json("POST", `/api/sandboxes/${sandboxId}/resume`);
  assert.equal((await range.inside(devices)).stdout, before, "it is the same network as it was");
  await tenant.json("POST", `/api/sandboxes/${sandboxId}/snapshots`, { name: "network" }, 201);
  const restored = await neighbour({ snapshot: "network" });
  const { items } = await tenant.json<{ items: { id: string }[] }>("POST", `/api/sandboxes/${sandboxId}/fork`, { count: 1 }, 201);
  const forked = boxOf(tenant, items[0]?.id ?? "");
  const loopback = targets.filter(([host]) => host === "127.0.0.1");
  for (const [target, said] of Object.entries(answers(await outside(reach(loopback))))) assert.equal(said, "ok", target);
  for (const [what, box] of Object.entries({ resumed: range, restored, forked })) {
    for (const [target, said] of Object.entries(answers(await box.inside(reach(targets)))))
      assert.match(said, CLOSED, `${what}: ${target}`);
    assert.match((await box.inside(devices)).stdout, /^ *lo\nnet:/, what);
  }
  await tenant.json("DELETE", `/api/sandboxes/${forked.sandboxId}`);
});

/** A listener of the host that answers whatever it hears. */
async function listen() {
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, [Symbol.asyncDispose]: async () => void server.close() };
}

async function echoUdp() {
  const socket = createSocket("udp4");
  socket.on("message", (message, from) => socket.send(message, from.port, from.address));
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return { port: socket.address().port, [Symbol.asyncDispose]: async () => void socket.close() };
}
