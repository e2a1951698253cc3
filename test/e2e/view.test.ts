import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Control } from "#contract/control.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { drawnOn, openRfb } from "#support/rfb.ts";
import { endedSpans } from "#support/spans.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const SLOW_MS = 60_000;
/** Points of a screen that a pointer may take, and that a window takes at least. */
const [POINTER, WINDOW] = [48 * 48, 50_000];

/** AgentRun's own URL of a view, with the credential in the endpoint's path as its clients have it. */
const viewUrl = (box: Box, name = "liveview", apiKey = tenant.key.apiKey) =>
  `${door.origin.replace("http", "ws")}/k/${apiKey}/sandboxes/${box.id}/ws/${name}?tenantId=${door.rootKey.accountId}`;
const environment = { DISPLAY: ":1" };
const readFile = async (box: Box, path: string) => (await box.command(`cat ${path} 2>/dev/null`)).result?.stdout ?? "";
const control = async (box: Box) => Control.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/control`));

/** A window that writes down whatever is typed into it. */
async function openNotebook(box: Box): Promise<void> {
  await box.inside("PUT", "/display", {});
  await box.command("exec xterm -e sh -c 'cat > /tmp/typed'", { environment, background: true });
  // What is typed before the window has the focus is nobody's.
  const focused = 'xdotool search --class xterm | grep -qx "$(xdotool getwindowfocus)" && test -e /tmp/typed';
  const shown = async () => (await box.command(focused, { environment })).result?.exitCode === 0;
  await until("a window takes what is typed", shown, SLOW_MS);
}

test("the display is seen by any RFB client, by both of AgentRun's names and by several at once", async () => {
  await using box = await makeBox(tenant);
  using first = await openRfb(viewUrl(box));
  assert.deepEqual([first.width, first.height, first.name], [1280, 800, "Cleanroom"]);
  assert.ok(drawnOn(await first.frame()) <= POINTER, "an empty screen");
  await box.command("exec xterm", { environment, background: true });
  using second = await openRfb(viewUrl(box, "livestream"));
  await until("both see the window", async () => drawnOn(await first.frame()) > WINDOW && drawnOn(await second.frame()) > WINDOW, SLOW_MS);
  first[Symbol.dispose]();
  second[Symbol.dispose]();
  const seen = (await endedSpans(tenant, box.id, "desktop", 2)).filter(({ name }) => name.startsWith("openLive"));
  assert.deepEqual(seen.map(({ name }) => name).toSorted(), ["openLivestream", "openLiveview"]);
  for (const { attributes } of seen) assert.ok(Number(attributes["websocket.bytes_out"]) > 1000, "a picture is some bytes");
});

test("what an owner types in a view arrives, and is control for as long as it goes on", async () => {
  await using box = await makeBox(tenant);
  await openNotebook(box);
  using view = await openRfb(viewUrl(box));
  view.pointer(0, 10, 10);
  await view.frame();
  assert.deepEqual(await control(box), { held: false }, "a pointer that moves takes nothing");
  view.type("hello\n");
  await until("it was typed", async () => (await readFile(box, "/tmp/typed")) === "hello\n", SLOW_MS);
  const { held, holder } = await control(box);
  assert.deepEqual([held, holder?.you], [true, true]);
  view[Symbol.dispose]();
  await until("who has left gives back", async () => !(await control(box)).held, SLOW_MS);
});

test("while one has control no other does, and it is said who and since when", async () => {
  await using box = await makeBox(tenant);
  await openNotebook(box);
  const other = await tenant.json<typeof tenant.key>("POST", `/api/projects/${tenant.projectId}/keys`, {}, 201);
  await tenant.json("POST", `/api/sandboxes/${box.id}/control`, { name: "Ada", holdMs: 60_000 });
  assert.equal((await control(box)).holder?.name, "Ada");
  using view = await openRfb(viewUrl(box, "liveview", other.apiKey));
  view.type("no\n");
  view.pointer(1, 5, 5);
  view.cutText("no");
  await view.frame();
  using own = await openRfb(viewUrl(box));
  own.type("yes\n");
  await until("who has control types", async () => (await readFile(box, "/tmp/typed")) === "yes\n", SLOW_MS);
  assert.deepEqual(await tenant.json("DELETE", `/api/sandboxes/${box.id}/control`), { held: false });
  view.type("now\n");
  await until("who has none takes it once it is given back", async () => (await readFile(box, "/tmp/typed")) === "yes\nnow\n", SLOW_MS);
});

test("taking control twice holds it for longer; giving it back twice is giving once; nonsense is refused", async () => {
  await using box = await makeBox(tenant);
  const path = `/api/sandboxes/${box.id}/control`;
  const first = Control.parse(await tenant.json("POST", path, { name: "Ada", holdMs: 5000 }));
  const second = Control.parse(await tenant.json("POST", path, { holdMs: 60_000 }));
  assert.equal(second.holder?.since, first.holder?.since);
  assert.ok(Date.parse(second.holder?.until ?? "") > Date.parse(first.holder?.until ?? ""));
  await tenant.json("DELETE", path);
  await tenant.json("DELETE", path);
  for (const body of [{ name: "" }, { name: "a\u0007" }, { name: "x".repeat(65) }, { holdMs: 1e9 }, { holdMs: 0 }, { power: true }])
    await refused(tenant.send("POST", path, body), "invalid_request");
  await box[Symbol.asyncDispose]();
  await refused(tenant.send("POST", path, {}), "sandbox_ended");
  assert.deepEqual(await control(box), { held: false });
});
