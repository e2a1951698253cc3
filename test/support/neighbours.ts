import { spawn } from "node:child_process";
import type { Usage } from "#contract/sandbox.ts";
import { type Box, makeBox } from "./box.ts";
import type { Tenant } from "./door.ts";
import { poolAtRest } from "./pool.ts";
import { until } from "./until.ts";

/** A neighbour that takes all that it can get of one thing, and how it is told that it does. */
export interface Noise {
  name: string;
  /** Shell that goes on for minutes unless it is ended. */
  command: string;
  /** Whether it has been at it for long enough to be felt, by what was measured from outside and by what its readers got. */
  isLoud: (now: Usage, before: Usage, readBytes: number) => boolean;
  /** How many clients read its output as fast as it comes; without, it runs in the background. */
  streams?: number;
}

const MIB = 1024 * 1024;
/** The smallest disk that a template can have, so that filling it does not take the host's. */
export const NOISY_TEMPLATE = { name: "noisy", cpu: 2, memoryMiB: 2048, diskMiB: 512 };

export const NOISES: readonly Noise[] = [
  {
    name: "a cpu burner",
    command: "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; wait",
    isLoud: (now, before) => now.cpuMs - before.cpuMs > 1000,
  },
  {
    name: "a fork bomb",
    command: "bomb() { setsid bash -c 'trap \"\" TERM; :' & bomb | bomb & }; bomb; sleep 300",
    isLoud: (now) => now.processes > 500,
  },
  {
    name: "a memory hog",
    command: `while :; do python3 -c 'held = []
while True: held.append(bytearray(b"x" * (8 << 20)))'; done`,
    isLoud: (now) => now.oomKills > 0,
  },
  {
    name: "a disk filler",
    command:
      "cd ~; while :; do dd if=/dev/zero of=fill bs=1M conv=fsync; rm -f fill; for i in $(seq 2000); do echo x > s$i; done; sync; rm -f s*; done",
    isLoud: (now) => now.diskBytes > 300 * MIB,
  },
  {
    name: "an output flood",
    command: "yes 'all work and no play makes a dull sandbox'",
    streams: 3,
    isLoud: (_now, _before, readBytes) => readBytes > 8 * MIB,
  },
];

/** A noisy sandbox that is at it. It ends with the block, and its readers with it. */
export async function openNoise(tenant: Tenant, origin: string, noise: Noise): Promise<AsyncDisposable & { box: Box }> {
  const known = await tenant.send("POST", "/api/templates", NOISY_TEMPLATE);
  await known.body?.cancel();
  const box = await makeBox(tenant, { template: NOISY_TEMPLATE.name });
  const readers: Reader[] = [];
  const readBytes = () => readers.reduce((sum, { bytes }) => sum + bytes, 0);
  const close = async () => {
    for (const reader of readers) await reader[Symbol.asyncDispose]();
    await box[Symbol.asyncDispose]();
  };
  try {
    const before = usageOf(await box.read());
    if (noise.streams === undefined) await box.command(noise.command, { background: true });
    for (let at = 0; at < (noise.streams ?? 0); at += 1)
      readers.push(readFlood(tenant, `${origin}/sandboxes/${box.id}/processes/cmd`, noise.command));
    await until(`${noise.name} is at it`, async () => noise.isLoud(usageOf(await box.read()), before, readBytes()), 60_000);
    // What is felt is the noise, and not that an instance is made for the one that it took.
    await poolAtRest(tenant, NOISY_TEMPLATE.name);
  } catch (error) {
    await close();
    throw error;
  }
  return { box, [Symbol.asyncDispose]: close };
}

function usageOf({ usage }: { usage?: Usage | undefined }): Usage {
  if (!usage) throw new Error("Nothing is measured of a sandbox that runs");
  return usage;
}

interface Reader extends AsyncDisposable {
  readonly bytes: number;
}

/** Reads a stream as fast as it comes in a process of its own, so that it costs whoever measures nothing; again when it was cut. */
function readFlood(tenant: Tenant, url: string, command: string): Reader {
  const headers = { authorization: `Bearer ${tenant.key.apiKey}`, "content-type": "application/json", accept: "text/event-stream" };
  const program = `const { request } = require("node:http");
const { url, headers, body } = JSON.parse(process.env.FLOOD);
let bytes = 0, told = 0;
(function read() {
  const asked = request(url, { method: "POST", headers }, (answer) => answer.on("data", ({ length }) => {
    bytes += length;
    if (bytes - told > 1 << 20) process.stdout.write((told = bytes) + "\\n");
  }).once("close", read));
  asked.once("error", () => process.exit());
  asked.end(body);
})();`;
  const env = { FLOOD: JSON.stringify({ url, headers, body: JSON.stringify({ command, timeout: 300 }) }) };
  const child = spawn(process.execPath, ["-e", program], { env, stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  let bytes = 0;
  child.stdout.on("data", (told: Buffer) => (bytes = Number(told.toString().trim().split("\n").at(-1))));
  return {
    get bytes() {
      return bytes;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

const ROUNDS = 3;

/**
 * What an execute takes alone and beside a noise, in turns: whatever else this machine does meanwhile is in both.
 * `runs` is how many samples each side has at least.
 */
export async function compare(
  victim: Box,
  noise: () => Promise<AsyncDisposable>,
  { runs, forMs }: { runs: number; forMs: number },
): Promise<{ aloneMs: number[]; besideMs: number[] }> {
  const turn = { runs: Math.ceil(runs / ROUNDS), forMs: forMs / ROUNDS };
  const aloneMs: number[] = [];
  const besideMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    aloneMs.push(...(await executeTimes(victim, turn)));
    await using _noise = await noise();
    besideMs.push(...(await executeTimes(victim, turn)));
  }
  return { aloneMs, besideMs };
}

/** Executes one thing after another for as long as both bounds ask, and answers what each took. */
export async function executeTimes(box: Box, { runs, forMs }: { runs: number; forMs: number }): Promise<number[]> {
  const samplesMs: number[] = [];
  const startedAtMs = performance.now();
  for (let atMs = startedAtMs; samplesMs.length < runs || atMs - startedAtMs < forMs;) {
    const answer = await box.inside("POST", "/contexts/execute", { code: "print(1)", language: "python" });
    if (!(await answer.text()).includes('"1\\n"')) throw new Error(`Not executed: ${answer.status}`);
    const nowMs = performance.now();
    samplesMs.push(nowMs - atMs);
    atMs = nowMs;
  }
  return samplesMs;
}
