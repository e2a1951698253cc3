import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import * as z from "zod";
import { TemplateNow } from "#contract/template.ts";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";

const SANDBOXES = 60;
const AT_ONCE = 4;
/** Where a marker can be left: a detector that could not write or could not see one there would prove nothing. */
const PLACES = ["/home/user", "/tmp", "/dev/shm", "/var/tmp", "process", "socket", "variable", "module", "environment"];

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);

const Seen = z.object({ found: z.array(z.string()), written: z.array(z.string()), born: z.string() });
type Seen = z.output<typeof Seen>;

/** Looks for what another left in each place, leaves markers in all of them, and says which instance it was. */
const detector = (mark: string, ownVariable: string) => `
import builtins, ctypes, glob, json, os, socket, subprocess, sys
mark = ${JSON.stringify(mark)}
own = mark + "-" + os.urandom(8).hex()
folders = ["/"] + [os.path.join("/", name) for name in os.listdir("/") if name not in ("proc", "sys")]
folders += ["/home/user", "/dev/shm", "/dev/mqueue", "/var/tmp", "/run/lock", "/usr/local", "/etc"]
found, written = [], []

def read(path):
    try:
        with open(path, "rb") as file: return file.read()
    except OSError: return b""

def shared_memory():
    return len(read("/proc/sysvipc/shm").splitlines()) - 1

def reaches():
    client = socket.socket(socket.AF_UNIX)
    try: client.connect("\\0" + mark)
    except OSError: return False
    finally: client.close()
    return True

def key(number):
    ask = "import ctypes; print(ctypes.CDLL(None).syscall(%d, b'user', b'%s', b'x', 1, -4))" % (number, mark)
    return subprocess.run([sys.executable, "-I", "-S", "-c", ask], capture_output=True, text=True).stdout.strip()

for folder in dict.fromkeys(folders):
    if glob.glob(os.path.join(glob.escape(folder), mark + "*")): found.append(folder)
if any(mark.encode() in read(path) for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline")): found.append("process")
if reaches(): found.append("socket")
if mark.replace("-", "_") in globals(): found.append("variable")
if hasattr(builtins, mark): found.append("module")
if any(mark in value and value != ${JSON.stringify(ownVariable)} for value in os.environ.values()): found.append("environment")
if shared_memory() > 0: found.append("shared memory")
if key(249).isdigit(): found.append("keyring")

for folder in dict.fromkeys(folders):
    try: open(os.path.join(folder, own), "w").close()
    except OSError: continue
    written.append(folder)
left = subprocess.Popen(["/bin/sleep", "10000"], env={"LEFT": own}, start_new_session=True)
written.append("process")
listening = socket.socket(socket.AF_UNIX)
if not reaches():
    listening.bind("\\0" + mark)
    listening.listen()
written.append("socket")
globals()[mark.replace("-", "_")] = own
written.append("variable")
setattr(builtins, mark, own)
written.append("module")
os.environ["LEFT_BY_CODE"] = own
written.append("environment")
if subprocess.run(["ipcmk", "-M", "64"], capture_output=True).returncode == 0: written.append("shared memory")
if key(248).isdigit(): written.append("keyring")
started = read("/proc/1/stat").decode().rpartition(") ")[2].split()[19]
names = sorted(os.listdir("/proc/self/ns"))
born = " ".join([started] + [os.readlink("/proc/self/ns/" + name) for name in names])
print(json.dumps({"found": found, "written": written, "born": born}))
`;

test("a sandbox never sees what another left, and no instance serves a second one", async () => {
  const mark = `left${randomBytes(6).toString("hex")}`;
  const births: string[] = [];
  const endings: Promise<void>[] = [];
  const lane = async (_: unknown, number: number) => {
    for (let i = 0; i < SANDBOXES / AT_ONCE; i += 1) {
      // Variables that come with a sandbox are one more thing to leave behind.
      const variable = `${mark}-${number}-${i}`;
      const code = detector(mark, variable);
      const box = await makeBox(tenant, { environment: { LEFT_BY_CALLER: variable } });
      const first = await look(box.execute(code));
      assert.deepEqual(first.found, []);
      births.push(first.born);
      if (i === 0) await proveDetector(await look(box.execute(code)), first);
      // The next creation runs beside this destruction.
      endings.push(Promise.resolve(box[Symbol.asyncDispose]()));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  await Promise.all(endings);
  assert.equal(births.length, SANDBOXES);
  assert.equal(new Set(births).size, SANDBOXES, "no two were born in the same namespaces at the same moment");
});

test("an instance that waits is used by the next sandbox, and another takes its place", async () => {
  const prepared = async () => TemplateNow.parse(await tenant.json("GET", "/api/templates/waiting")).prepared;
  const scaling = { minPrepared: 1, maxPrepared: 2 };
  const made = await tenant.json<{ scaling: object }>(
    "POST",
    "/api/templates",
    { name: "waiting", cpu: 0.5, memoryMiB: 512, scaling },
    201,
  );
  assert.deepEqual(made.scaling, scaling);
  await until("one waits", async () => (await prepared()).ready === 1, 30_000);
  await using box = await makeBox(tenant, { template: "waiting" });
  assert.equal((await box.execute("print(1)")).stdout, "1\n");
  await until("another waits", async () => (await prepared()).ready === 1, 30_000);
  await tenant.json("PATCH", "/api/templates/waiting", { scaling: { minPrepared: 0, maxPrepared: 0 } });
  await until("none waits", async () => (await prepared()).ready === 0, 30_000);
  assert.equal((await box.execute("print(2)")).stdout, "2\n");
});

async function look(execution: Promise<{ stdout: string }>): Promise<Seen> {
  const { stdout, ...rest } = await execution;
  assert.notEqual(stdout, "", JSON.stringify(rest));
  return Seen.parse(JSON.parse(stdout));
}

/** A control: asked again in the same sandbox, it finds everything that it had left there. */
async function proveDetector(again: Seen, first: Seen): Promise<void> {
  for (const place of PLACES) assert.ok(first.written.includes(place), `no marker could be left in ${place}`);
  assert.deepEqual(again.found.toSorted(), first.written.toSorted());
  assert.equal(again.born, first.born);
}
