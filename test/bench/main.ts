import { randomBytes } from "node:crypto";
import { cpus, totalmem } from "node:os";
import { localConfig } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";
import { artifacts } from "./artifacts.ts";
import { callerOf, command, create, destroy, execute, type Caller } from "./caller.ts";
import { measurePeers } from "./peers.ts";
import { openSocketFloor } from "./socket.ts";
import { printTable, sample, summary, timeMs, type Figure } from "./stats.ts";

/**
 * `npm run bench [runs]`: what a client of the door waits for, beside what the bare machine and others on it take for
 * the like in the same run. Every figure goes through HTTP; nothing is timed from inside.
 */
const runs = Number(process.argv[2] ?? 100);
/** Round trips are those of a server that has served: its code is compiled by then. */
const SERVED = 300;
const FLOOR = "bubblewrap";
const BIG_BYTES = 100 * 1024 * 1024;
const AT_ONCE = 100;
const ROUNDS = 3;
const FIGURE = `import pandas as pd, matplotlib.pyplot as plt
pd.DataFrame({"a": range(9)}).plot(); plt.show()
print("drawn")`;

/** Whole lives one after another: each is made, asked for its first output, and destroyed. */
async function lives(name: string, caller: Caller, first: (id: string) => Promise<void>, targets: Targets): Promise<Figure[]> {
  const made: number[] = [];
  const answered: number[] = [];
  const destroyed: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    let id = "";
    const createMs = await timeMs(async () => (id = await create(caller)));
    made.push(createMs);
    answered.push(createMs + (await timeMs(() => first(id))));
    destroyed.push(await timeMs(() => destroy(caller, id)));
  }
  return [
    { name: `create (before ${name})`, samplesMs: made, against: FLOOR },
    { name: `create + ${name}`, samplesMs: answered, against: FLOOR, ...targets },
    { name: `destroy (after ${name})`, samplesMs: destroyed, targetMs: 10 },
  ];
}
interface Targets {
  targetMs: number;
  targetP95Ms: number;
}

/** So many lives begun in one moment, out of a pool of as many: each is timed from that moment to its output. */
async function crowd(caller: Caller): Promise<Figure> {
  const template = `crowd-${process.pid}`;
  const scaling = { minPrepared: AT_ONCE, maxPrepared: AT_ONCE };
  await caller.json("POST", "/api/templates", { name: template, scaling }, 201);
  const samplesMs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await until("the pool is full", async () => (await readyOf(caller, template)) >= AT_ONCE, 120_000);
    const ids = await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        let id = "";
        const one = async () => {
          id = await create(caller, { template });
          await execute(caller, id, "print(1)", "1\n");
        };
        samplesMs.push(await timeMs(one));
        return id;
      }),
    );
    for (const id of ids) await destroy(caller, id);
  }
  await caller.json("DELETE", `/api/templates/${template}`, undefined, 204);
  return { name: `${AT_ONCE} creates + print(1) at once`, samplesMs, targetMs: 200, targetP95Ms: 400 };
}

async function readyOf(caller: Caller, template: string): Promise<number> {
  return (await caller.json<{ prepared: { ready: number } }>("GET", `/api/templates/${template}`)).prepared.ready;
}

/** Round trips in a sandbox that is there. */
async function inside(caller: Caller): Promise<Figure[]> {
  const id = await create(caller);
  const warm = await sample("execute, warm context", runs, () => execute(caller, id, "print(1)", "1\n"), SERVED);
  const echo = await sample("command echo", runs, () => command(caller, id, "echo 1", /^1\n$/), SERVED);
  await destroy(caller, id);
  const drawn: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    const fresh = await create(caller);
    drawn.push(await timeMs(() => execute(caller, fresh, FIGURE, "drawn\n")));
    await destroy(caller, fresh);
  }
  return [
    { ...warm, targetMs: 2 },
    { ...echo, against: "sh -c echo alone", targetMs: 4 },
    { name: "import pandas + a first figure, fresh sandbox", samplesMs: drawn, targetMs: 100 },
  ];
}

async function pauses(caller: Caller): Promise<Figure[]> {
  const id = await create(caller);
  await execute(caller, id, "print(1)", "1\n");
  const paused: number[] = [];
  const resumed: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    paused.push(await timeMs(() => caller.json("POST", `/api/sandboxes/${id}/pause`)));
    resumed.push(await timeMs(() => caller.json("POST", `/api/sandboxes/${id}/resume`)));
  }
  await destroy(caller, id);
  return [
    { name: "pause", samplesMs: paused, targetMs: 5 },
    { name: "resume", samplesMs: resumed, targetMs: 5 },
  ];
}

async function transfers(caller: Caller): Promise<Figure[]> {
  await using floor = await openSocketFloor();
  const bytes = randomBytes(BIG_BYTES);
  const id = await create(caller);
  const path = `/sandboxes/${id}/files/content?path=${encodeURIComponent("/home/user/big.bin")}`;
  const times = Math.min(runs, 20);
  const copy = await sample("100 MiB through one local socket", times, () => floor.copy(bytes));
  const up = await sample("100 MiB up", times, () => caller.bytes("PUT", path, bytes));
  const down = await sample("100 MiB down", times, async () => {
    const size = await caller.bytes("GET", path);
    if (size !== BIG_BYTES) throw new Error(`the download has ${size} bytes`);
  });
  await destroy(caller, id);
  const against = copy.name;
  return [copy, { ...up, against, targetRatio: 1.5 }, { ...down, against, targetRatio: 1.5 }];
}

async function measure(caller: Caller): Promise<Figure[]> {
  const first = (id: string) => execute(caller, id, "print(1)", "1\n");
  // The pool learns what is wanted, and the server's code is compiled, before anything is counted.
  for (let i = 0; i < 20; i += 1) {
    const id = await create(caller);
    await first(id);
    await destroy(caller, id);
  }
  const python = (id: string) => command(caller, id, "python3 -c 'print(1)'", /^1\n$/);
  const node = (id: string) => command(caller, id, "node -v", /^v\d/);
  return [
    ...(await lives("print(1) by execute", caller, first, { targetMs: 8, targetP95Ms: 25 })),
    ...(await lives("python3 by command", caller, python, { targetMs: 20, targetP95Ms: 50 })),
    ...(await lives("node -v by command", caller, node, { targetMs: 20, targetP95Ms: 50 })),
    await crowd(caller),
    ...(await inside(caller)),
    ...(await pauses(caller)),
    ...(await transfers(caller)),
    ...(await artifacts(caller, Math.min(runs, 10))),
  ];
}

const { figures: floors, missing } = await measurePeers(Math.min(runs, 30), currentRoot(localConfig()).root);
await using door = await openDoor({ environment: {} });
using caller = callerOf(door.origin, await newTenant(door));
const rows = summary([...floors, ...(await measure(caller))]);
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30), node: process.version };
printTable(rows);
for (const line of missing) console.log(`not measured, not installed: ${line}`);
console.log(JSON.stringify({ machine, rows }));
