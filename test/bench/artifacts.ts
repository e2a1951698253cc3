import { randomBytes } from "node:crypto";
import { newTenant, openDoor } from "#support/door.ts";
import { callerOf, type Caller } from "./caller.ts";
import { openFileFloor } from "./file-floor.ts";
import { type Figure, printTable, summary, timeMs } from "./stats.ts";

const MIB = 1024 * 1024;
const SIZE_MIB = 256;
/** Seven tenths of the floor's speed. */
const TARGET_RATIO = 1 / 0.7;

/** An artifact up and down, beside a plain file that goes the same way: through one local connection and onto the disk. */
export async function artifacts(caller: Caller, runs: number, sizeMiB = SIZE_MIB): Promise<Figure[]> {
  await using floor = await openFileFloor();
  using plain = callerOf(floor.origin, { key: { apiKey: "none" } });
  const bytes = randomBytes(sizeMiB * MIB);
  let made = 0;
  let kept = "";
  const letGo = () => caller.json("DELETE", `/api/artifacts/${kept}`, undefined, 204);
  const [copyUp, up] = await inTurns(
    runs,
    { name: `${sizeMiB} MiB into a plain file`, work: () => plain.bytes("PUT", "/", bytes) },
    {
      name: `${sizeMiB} MiB artifact up`,
      // Each is another content, so that none is there already; the one before is gone, as the file is.
      before: async () => {
        if (kept !== "") await letGo();
        bytes.writeUInt32LE((made += 1), 0);
      },
      work: async () => {
        const { id } = await caller.json<{ id: string }>("POST", "/api/uploads", { name: "bench", sizeBytes: bytes.length }, 201);
        await caller.bytes("PUT", `/api/uploads/${id}/parts/1`, bytes);
        kept = (await caller.json<{ id: string }>("POST", `/api/uploads/${id}/complete`, {}, 201)).id;
      },
    },
  );
  const { url } = await caller.json<{ url: string }>("POST", `/api/artifacts/${kept}/link`, {}, 201);
  const { pathname, search } = new URL(url);
  const [copyDown, down] = await inTurns(
    runs,
    { name: `${sizeMiB} MiB out of a plain file`, work: () => plain.bytes("GET", "/") },
    {
      name: `${sizeMiB} MiB artifact down`,
      work: async () => {
        const size = await caller.bytes("GET", pathname + search);
        if (size !== bytes.length) throw new Error(`the download has ${size} bytes`);
      },
    },
  );
  await letGo();
  return [
    copyUp,
    { ...up, against: copyUp.name, targetRatio: TARGET_RATIO },
    copyDown,
    { ...down, against: copyDown.name, targetRatio: TARGET_RATIO },
  ];
}

interface Turn {
  name: string;
  before?: () => Promise<void>;
  work: () => Promise<unknown>;
}

/** One of each after the other, once more than is counted: what else the machine does meanwhile comes to both. */
async function inTurns(runs: number, floor: Turn, own: Turn): Promise<[Figure, Figure]> {
  const [floorMs, ownMs]: [number[], number[]] = [[], []];
  for (let run = 0; run <= runs; run += 1) {
    floorMs.push(await timeMs(floor.work));
    await own.before?.();
    ownMs.push(await timeMs(own.work));
  }
  return [
    { name: floor.name, samplesMs: floorMs.slice(1) },
    { name: own.name, samplesMs: ownMs.slice(1) },
  ];
}

/** `npm run bench:artifacts [runs] [MiB]`. */
if (import.meta.main) {
  await using door = await openDoor({ environment: {} });
  using caller = callerOf(door.origin, await newTenant(door));
  const rows = summary(await artifacts(caller, Number(process.argv[2] ?? 10), Number(process.argv[3] ?? SIZE_MIB)));
  printTable(rows);
  console.log(JSON.stringify({ rows }));
}
