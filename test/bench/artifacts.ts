import { randomBytes } from "node:crypto";
import { newTenant, openDoor } from "#support/door.ts";
import { callerOf, type Caller } from "./caller.ts";
import { openFileFloor } from "./file-floor.ts";
import { type Figure, printTable, sample, summary } from "./stats.ts";

const MIB = 1024 * 1024;
const SIZE_MIB = 256;
/** Seven tenths of the floor's speed. */
const TARGET_RATIO = 1 / 0.7;

/** An artifact up and down, beside a plain file that goes the same way: through one local connection and onto the disk. */
export async function artifacts(caller: Caller, runs: number): Promise<Figure[]> {
  await using floor = await openFileFloor();
  using plain = callerOf(floor.origin, { key: { apiKey: "none" } });
  const bytes = randomBytes(SIZE_MIB * MIB);
  const kept: string[] = [];
  const copyUp = await sample(`${SIZE_MIB} MiB into a plain file`, runs, () => plain.bytes("PUT", "/", bytes), 1);
  const up = await sample(
    `${SIZE_MIB} MiB artifact up`,
    runs,
    async () => {
      // Each is another content, so that none is there already.
      bytes.writeUInt32LE(kept.length, 0);
      const { id } = await caller.json<{ id: string }>("POST", "/api/uploads", { name: "bench", sizeBytes: bytes.length }, 201);
      await caller.bytes("PUT", `/api/uploads/${id}/parts/1`, bytes);
      kept.push((await caller.json<{ id: string }>("POST", `/api/uploads/${id}/complete`, {}, 201)).id);
    },
    1,
  );
  const copyDown = await sample(`${SIZE_MIB} MiB out of a plain file`, runs, () => plain.bytes("GET", "/"), 1);
  const { url } = await caller.json<{ url: string }>("POST", `/api/artifacts/${kept.at(-1)}/link`, {}, 201);
  const { pathname, search } = new URL(url);
  const down = await sample(
    `${SIZE_MIB} MiB artifact down`,
    runs,
    async () => {
      const size = await caller.bytes("GET", pathname + search);
      if (size !== bytes.length) throw new Error(`the download has ${size} bytes`);
    },
    1,
  );
  for (const id of kept) await caller.json("DELETE", `/api/artifacts/${id}`, undefined, 204);
  return [
    copyUp,
    { ...up, against: copyUp.name, targetRatio: TARGET_RATIO },
    copyDown,
    { ...down, against: copyDown.name, targetRatio: TARGET_RATIO },
  ];
}

if (import.meta.main) {
  await using door = await openDoor({ environment: {} });
  using caller = callerOf(door.origin, await newTenant(door));
  const rows = summary(await artifacts(caller, Number(process.argv[2] ?? 10)));
  printTable(rows);
  console.log(JSON.stringify({ rows }));
}
