import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { until } from "#support/until.ts";
import { outside, type Range } from "#support/range.ts";

/** A sandbox as the host's root sees it: its processes' numbers and the engine's folder for it. Only for controls and for searches from outside. */
export interface HostView {
  pids: number[];
  socketPath: string;
}

/** Finds a sandbox's processes on the host by one with a name of its own, and the rest by their shared namespace. */
export async function hostView({ inside, door }: Pick<Range, "inside" | "door">): Promise<HostView> {
  const marker = `99.${Math.trunc(Math.random() * 1e9)}1`;
  await inside(`sleep ${marker} > /dev/null 2>&1 & exit 0`);
  let namespace = "";
  await until("the sandbox is seen on the host", async () => (namespace = await namespaceOf(marker)) !== "");
  const pids: number[] = [];
  for (const pid of await processes()) if ((await namespaceOfProcess(pid)) === namespace) pids.push(pid);
  return { pids, socketPath: await socketOf(join(door.dataDir, "run"), pids) };
}

async function processes(): Promise<number[]> {
  return (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
}

const namespaceOfProcess = (pid: number) => readlink(`/proc/${pid}/ns/pid`).catch(() => "");

async function namespaceOf(marker: string): Promise<string> {
  for (const pid of await processes()) {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line === `sleep\0${marker}\0`) return namespaceOfProcess(pid);
  }
  return "";
}

async function socketOf(runDir: string, pids: readonly number[]): Promise<string> {
  for (const name of await readdir(runDir)) {
    const started = await readFile(join(runDir, name, "started.json"), "utf8").catch(() => "");
    if (pids.some((pid) => new RegExp(`\\b${pid}\\b`).test(started))) return join(runDir, name, "http.sock");
  }
  throw new Error(`No instance under ${runDir} has the processes ${pids.join(", ")}`);
}

const SEARCH = `
import array, itertools, json, sys
PAGE = 4096
order = json.load(sys.stdin)
needles = [one.encode() for one in order["needles"]]
found = set()
for pid in order["pids"]:
    try:
        regions = [line.split() for line in open(f"/proc/{pid}/maps")]
        memory, pages = open(f"/proc/{pid}/mem", "rb", 0), open(f"/proc/{pid}/pagemap", "rb")
    except OSError: continue
    for region in regions:
        if not region[1].startswith("r") or region[-1] in ("[vvar]", "[vsyscall]"): continue
        first, end = (int(part, 16) // PAGE for part in region[0].split("-"))
        pages.seek(8 * first)
        # Only what is there, in memory or swapped out: reading the rest would put it there, for as long as the process lives.
        held = [first + at for at, entry in enumerate(array.array("Q", pages.read(8 * (end - first)))) if entry >> 62]
        for _, run in itertools.groupby(enumerate(held), lambda place: place[1] - place[0]):
            run = [page for _, page in run]
            start, stop, rest = run[0] * PAGE, (run[-1] + 1) * PAGE, b""
            while start < stop:
                try: memory.seek(start); piece = memory.read(min(stop - start, 8 << 20))
                except (OSError, ValueError): break
                if not piece: break
                found.update(index for index, needle in enumerate(needles) if needle in rest + piece)
                rest = piece[-256:]; start += len(piece)
print(json.dumps(sorted(found)))
`;

/** Which of these texts stand anywhere in the memory of these processes. */
export async function searchMemory(pids: readonly number[], needles: readonly string[]): Promise<string[]> {
  const order = Buffer.from(JSON.stringify({ pids, needles })).toString("base64");
  const { stdout, stderr } = await outside(`base64 -d <<< ${order} | /usr/bin/python3 -c '${SEARCH}'`);
  if (stdout === "") throw new Error(stderr);
  return (JSON.parse(stdout) as number[]).map((index) => needles[index] ?? "");
}
