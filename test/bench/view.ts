import { once } from "node:events";
import { newTenant, openDoor } from "#support/door.ts";
import { openRfb } from "#support/rfb.ts";
import { until } from "#support/until.ts";
import { callerOf, create, destroy } from "./caller.ts";
import { printTable, sample, summary, timeMs, type Figure } from "./stats.ts";

/** `npm run bench:view [runs]`: what a person waits for who looks at a sandbox, and an agent that acts on its desktop. */
const runs = Number(process.argv[2] ?? 30);
const KEYS = 300;
const SETTLE_MS = 60_000;
/** More than an empty screen is packed to, by far. */
const FULL_BYTES = 10 * 1024;
const TERMINAL = { rows: "24", cols: "80", protocol: "json" };

await using door = await openDoor({ environment: { CLEANROOM_MIN_PREPARED: "1", CLEANROOM_MAX_PREPARED: "4" } });
const tenant = await newTenant(door);
using caller = callerOf(door.origin, tenant);
const socketUrl = (id: string, path: string) => `${door.origin.replace("http", "ws")}/k/${tenant.key.apiKey}/sandboxes/${id}${path}`;

/** From the wish to look until the whole screen is there. */
async function firstFrame(id: string, query = ""): Promise<void> {
  using view = await openRfb(socketUrl(id, `/ws/liveview?${query}`));
  await view.packedFrame();
}

/** The same by a client who has each pixel as it is: at once half of what a sandbox may stream in a second. */
async function firstRawFrame(id: string): Promise<void> {
  using view = await openRfb(socketUrl(id, "/ws/liveview"));
  await view.frame();
}

/** In a sandbox of its own each time, which nobody has looked at before. */
async function inFresh(name: string, template: string, targetMs: number | undefined, look: (id: string) => Promise<void>): Promise<Figure> {
  const samplesMs: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const id = await create(caller, { template });
    samplesMs.push(await timeMs(() => look(id)));
    await destroy(caller, id);
  }
  return { name, samplesMs, ...(targetMs === undefined ? {} : { targetMs }) };
}

/** From a key to its echo, one at a time. */
async function keystrokes(id: string): Promise<Figure> {
  const socket = new WebSocket(socketUrl(id, `/processes/tty?${new URLSearchParams(TERMINAL).toString()}`));
  await once(socket, "open");
  let shown = "";
  let heard: (() => void) | undefined;
  socket.addEventListener("message", ({ data }: MessageEvent) => {
    const said = JSON.parse(data as string) as { type: string; data?: string };
    if (said.type !== "output") return;
    shown += said.data ?? "";
    heard?.();
  });
  const say = (data: string) => socket.send(JSON.stringify({ type: "input", data }));
  await until("a prompt is there", () => shown.includes("$ "), SETTLE_MS);
  const press = async () => {
    const before = shown.length;
    await new Promise<void>((resolve) => {
      heard = () => shown.length > before && resolve();
      say("x");
    });
  };
  const atPrompt = await sample("terminal: key → echo, at bash's prompt", KEYS, press);
  socket.close();
  await once(socket, "close");
  return { ...atPrompt, targetMs: 5 };
}

/** A screen that is not easily packed: a terminal full of text. */
async function fillWithText(id: string): Promise<number> {
  const command = "exec xterm -maximized -e sh -c 'ls --color=always -lR /usr/lib/python3 | head -500; exec sleep 1000'";
  await caller.json("POST", `/sandboxes/${id}/processes/cmd`, { command, background: true, environment: { DISPLAY: ":1" } });
  using view = await openRfb(socketUrl(id, "/ws/liveview"));
  let bytes = 0;
  await until("the screen is full", async () => (bytes = await view.packedFrame()) > FULL_BYTES, SETTLE_MS);
  return bytes;
}

const act = (id: string, action: object) => caller.json("POST", `/sandboxes/${id}/desktop/actions`, action);

const figures: Figure[] = [
  await inFresh("live view: connect → first frame, display not yet started", "code-interpreter", 150, firstFrame),
  await inFresh("live view: connect → first frame, desktop", "desktop", 150, firstFrame),
  await inFresh("live view recorded: connect → first frame", "code-interpreter", undefined, (id) => firstFrame(id, "recording=true")),
];
const id = await create(caller, { template: "desktop" });
await firstFrame(id);
figures.push({ ...(await sample("live view: connect → first frame, display running", runs, () => firstFrame(id))), targetMs: 150 });
const kib = Math.round((await fillWithText(id)) / 1024);
figures.push(
  { ...(await sample(`live view: connect → first frame, full of text (${kib} KiB)`, runs, () => firstFrame(id))), targetMs: 150 },
  await sample("live view, unpacked (4000 KiB): connect → first frame", runs, () => firstRawFrame(id)),
  await sample("desktop: screenshot", runs * 3, () => act(id, { type: "screenshot" })),
  await sample("desktop: click", runs * 3, () => act(id, { type: "click", x: 640, y: 300 })),
  await keystrokes(id),
);
await destroy(caller, id);
const rows = summary(figures);
printTable(rows);
console.log(JSON.stringify({ rows }));
