import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeBox } from "#support/box.ts";
import { newTenant, NOTHING_PREPARED, startDoor, type Tenant } from "#support/door.ts";
import { familyOf, functionPid, peakMiB } from "#support/processes.ts";

const MIB = 1024 * 1024;
const SIZE_MIB = 1024;
const GROWTH_MAX_MIB = 80;

/** Sends a file made as it is read, so that the sender holds no more of it than a piece. */
async function upload(tenant: Tenant, path: string, sizeMiB: number): Promise<string> {
  const piece = randomBytes(MIB);
  const hash = createHash("sha256");
  let left = sizeMiB;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (left === 0) return controller.close();
      left -= 1;
      piece.writeUInt32LE(left);
      hash.update(piece);
      controller.enqueue(new Uint8Array(piece));
    },
  });
  const answer = await fetch(path, { method: "PUT", body, duplex: "half", headers: { authorization: `Bearer ${tenant.key.apiKey}` } });
  assert.equal(answer.status, 200, await answer.text());
  return hash.digest("hex");
}

async function download(tenant: Tenant, path: string): Promise<string> {
  const answer = await fetch(path, { headers: { authorization: `Bearer ${tenant.key.apiKey}` } });
  const hash = createHash("sha256");
  for await (const chunk of answer.body ?? []) hash.update(chunk);
  return hash.digest("hex");
}

test("a gigabyte goes in and comes out byte for byte, and no process on its way grows with it", async () => {
  // One sandbox is one workspace to look at.
  await using door = await startDoor(NOTHING_PREPARED);
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  const path = `${door.origin}/sandboxes/${box.id}/files/content?path=large.bin`;
  await upload(tenant, path, 16);
  await download(tenant, path);
  const workspace = familyOf(door.pid).find(({ pid }) => readFileSync(`/proc/${pid}/comm`, "utf8") === "workspace\n");
  assert.ok(workspace);
  const onTheWay = { gateway: functionPid(door, "cleanroom-gateway"), engine: door.pid, workspace: workspace.pid };
  const before = Object.values(onTheWay).map(peakMiB);
  const sent = await upload(tenant, path, SIZE_MIB);
  assert.equal(await download(tenant, path), sent);
  const grown = Object.entries(onTheWay).map(([name, pid], index) => ({ name, byMiB: peakMiB(pid) - (before[index] ?? 0) }));
  assert.deepEqual(
    grown.filter(({ byMiB }) => !(byMiB < GROWTH_MAX_MIB)),
    [],
  );
});
