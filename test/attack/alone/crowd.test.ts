import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { NOTHING_PREPARED, newTenant, openDoor } from "#support/door.ts";
import { boxOf, proves, type Box } from "#support/range.ts";
import { until } from "#support/until.ts";

const CONNECTIONS = 1500;
const ASKED = 60;
const NOISE_MS = 4000;

/** How long a neighbour's execution takes, ms: the median, which the rest of a busy machine moves least. */
async function usual(box: Box): Promise<number> {
  const took: number[] = [];
  for (let asked = 0; asked < ASKED; asked += 1) {
    const startedAtMs = performance.now();
    const answer = await box.send("POST", "/contexts/execute", { language: "python", code: "1 + 1" });
    assert.equal(answer.status, 200, await answer.text());
    took.push(performance.now() - startedAtMs);
  }
  return took.toSorted((a, b) => a - b)[ASKED / 2] ?? 0;
}

/** Measures alone and then beside the noise, a few times, since others use this machine as well: one pair has to be quiet. */
async function unhurried(what: string, box: Box, beside: () => Promise<number>, tries = 3): Promise<void> {
  const seen: string[] = [];
  for (let tried = 0; tried < tries; tried += 1) {
    const alone = await usual(box);
    const disturbed = await beside();
    if (disturbed < alone * 2 + 50) return;
    seen.push(`${disturbed.toFixed(0)} ms ${what}, ${alone.toFixed(0)} ms alone`);
  }
  assert.fail(seen.join("; "));
}

/** Many connections that each say these words and then nothing. */
async function crowd(port: number, words: string) {
  const sockets: Socket[] = [];
  const gone = { count: 0 };
  for (let opened = 0; opened < CONNECTIONS; opened += 1) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => socket.destroy());
    socket.once("close", () => (gone.count += 1));
    socket.resume();
    await new Promise<void>((resolve) => socket.once("connect", resolve).once("close", resolve));
    socket.write(words);
    sockets.push(socket);
  }
  return {
    open: () => CONNECTIONS - gone.count,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

proves("N16", "thousands of connections that say little, and a sandbox that sends all it can, hardly slow anyone else down", async () => {
  await using door = await openDoor({ environment: NOTHING_PREPARED });
  const tenant = await newTenant(door);
  const make = async () => boxOf(tenant, (await tenant.json<{ id: string }>("POST", "/api/sandboxes", {}, 201)).id);
  const [box, loud] = [await make(), await make()];
  const port = Number(new URL(door.origin).port);
  assert.equal((await loud.inside("head -c 200M /dev/zero > big; stat -c %s big")).stdout, `${200 * 1024 * 1024}\n`);
  await usual(box);
  await unhurried("beside a sandbox that sends all it can", box, async () => {
    const reading = readAtPace(`${door.origin}/sandboxes/${loud.sandboxId}/files/content?path=big`, tenant.key.apiKey);
    const untilMs = performance.now() + NOISE_MS;
    let took = await usual(box);
    // A machine that is quick has asked before much could be sent.
    while (performance.now() < untilMs) took = await usual(box);
    const bytes = await reading.stop();
    assert.ok(bytes > 50 * 1024 * 1024, `it sent ${bytes} bytes meanwhile`);
    return took;
  });
  using silent = await crowd(port, "");
  using slow = await crowd(port, "POST /api/sandboxes HTTP/1.1\r\nhost: x\r\nx-slow: ");
  const open = () => silent.open() + slow.open();
  assert.ok(open() > CONNECTIONS * 1.9, "they are open");
  await unhurried(
    "among connections that say little",
    box,
    async () => {
      const took = await usual(box);
      assert.ok(open() > CONNECTIONS, "they were open all the while");
      return took;
    },
    1,
  );
  // Who does not say in time what they want is let go.
  await until("they are closed", () => open() === 0, 60_000);
});

/** Reads a file again and again, 100 MB a second at most, until it is told to stop; then it says how much came. */
const READER = `
const { setTimeout: pause } = require("node:timers/promises");
let bytes = 0;
process.once("SIGTERM", () => process.stdout.write(String(bytes), () => process.exit(0)));
(async () => {
  const startedAtMs = performance.now();
  for (;;) {
    const answer = await fetch(process.argv[1], { headers: { authorization: "Bearer " + process.env.KEY } });
    for await (const chunk of answer.body) {
      bytes += chunk.length;
      const aheadMs = bytes / 100_000 - (performance.now() - startedAtMs);
      if (aheadMs > 5) await pause(aheadMs);
    }
  }
})();`;

/** A reader in a process of its own; stopping answers how much it got. */
function readAtPace(url: string, apiKey: string) {
  const child = spawn(process.execPath, ["-e", READER, url], { env: { KEY: apiKey }, stdio: ["ignore", "pipe", "ignore"] });
  const counted = text(child.stdout);
  return {
    async stop(): Promise<number> {
      child.kill("SIGTERM");
      return Number(await counted);
    },
  };
}
