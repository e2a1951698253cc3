import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ActionLog } from "#contract/action.ts";
import { DesktopResult } from "#contract/desktop.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const SLOW_MS = 60_000;
const environment = { DISPLAY: ":1" };

const path = (box: Box) => `/sandboxes/${box.id}/desktop/actions`;
const act = async (box: Box, action: object) => DesktopResult.parse(await tenant.json("POST", path(box), action));
const typed = async (box: Box) => (await box.command("cat /tmp/typed")).result?.stdout ?? "";

/** Where what came of the other words ends; less than none when one of it is missing, or came before another. */
const inOrder = (all: string) =>
  ["a", "\u0002", "[<65;", "[<64;", "[<32;"].reduce((from, one) => (from < 0 ? from : all.indexOf(one, from)), 0);

/** A terminal in the middle of the screen that writes down what it is given, raw. */
async function openNotebook(box: Box): Promise<void> {
  await act(box, { type: "screen_size" });
  const command = "exec xterm -u8 -e sh -c 'stty raw -echo; printf \"\\033[?1003h\\033[?1006h\"; cat > /tmp/typed'";
  await box.command(command, { environment, background: true });
  const ready = "xdotool search --class xterm && xdotool getwindowfocus && test -e /tmp/typed";
  await until("a window takes what is typed", async () => (await box.command(ready, { environment })).result?.exitCode === 0, SLOW_MS);
}

test("an agent sees the screen, moves the pointer, and is told where it is", async () => {
  await using box = await makeBox(tenant);
  const size = await act(box, { type: "screen_size" });
  assert.deepEqual(size.screen, { width: 1280, height: 800 });
  assert.equal(size.screenshot, undefined);
  const moved = await act(box, { type: "move", x: 100.4, y: 200, screenshot: true });
  assert.deepEqual(moved.cursor, { x: 100, y: 200 });
  assert.deepEqual((await act(box, { type: "cursor_position" })).cursor, { x: 100, y: 200 });
  const { screenshot = "" } = await act(box, { type: "screenshot" });
  const png = Buffer.from(screenshot, "base64");
  assert.equal(png.toString("latin1", 1, 4), "PNG");
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [1280, 800]);
  assert.equal(Buffer.from(moved.screenshot ?? "", "base64").toString("latin1", 1, 4), "PNG");
});

test("what an agent types arrives, in any script; chords arrive as chords", async () => {
  await using box = await makeBox(tenant);
  await openNotebook(box);
  await act(box, { type: "type", text: 'Hello, "World"! {x} ~ 100%\n' });
  await until("it was typed", async () => (await typed(box)) === 'Hello, "World"! {x} ~ 100%\r', SLOW_MS);
  await act(box, { type: "type", text: "żółć 你好 Ωμέγα €" });
  await until("it was typed", async () => (await typed(box)).endsWith("żółć 你好 Ωμέγα €"), SLOW_MS);
  await act(box, { type: "keypress", keys: ["ctrl", "c"] });
  await act(box, { type: "keypress", keys: "shift+1" });
  await act(box, { type: "keypress", keys: "Page_Down" });
  await act(box, { type: "keypress", keys: "ctrl+shift+a" });
  await until("chords arrive", async () => (await typed(box)).endsWith("\u0003!\u001b[6~\u0001"), SLOW_MS);
});

test("clicks, drags and the wheel arrive with the button and at the place that was meant", async () => {
  await using box = await makeBox(tenant);
  await openNotebook(box);
  const reports = async () => [...(await typed(box)).matchAll(/\[<(\d+);\d+;\d+([Mm])/g)].map(([, button, end]) => `${button}${end}`);
  const middle = { x: 640, y: 400 };
  await act(box, { type: "click", ...middle });
  await until("a click", async () => (await reports()).join() === "35M,0M,0m" || (await reports()).join() === "0M,0m", SLOW_MS);
  await act(box, { type: "double_click", ...middle });
  await act(box, { type: "click", ...middle, button: "middle" });
  await act(box, { type: "scroll", ...middle, scrollY: 2 });
  await act(box, { type: "scroll", scrollY: -1 });
  await until(
    "all",
    async () => (await reports()).filter((one) => !one.startsWith("35")).join() === "0M,0m,0M,0m,0M,0m,1M,1m,65M,65M,64M",
    SLOW_MS,
  );
  const before = (await reports()).length;
  await act(box, { type: "drag", path: [middle, { x: 660, y: 420 }, { x: 700, y: 440 }] });
  const dragged = async () =>
    (await reports())
      .slice(before)
      .filter((one) => !one.startsWith("35"))
      .join();
  await until("a drag moves with the button down", async () => /^0M,(32M,)+0m$/.test(await dragged()), SLOW_MS);
});

test("the words of other agents' tools mean the same", async () => {
  await using box = await makeBox(tenant);
  await openNotebook(box);
  await act(box, { action: "mouse_move", coordinate: [10, 20] });
  assert.deepEqual((await act(box, { action: "cursor_position" })).cursor, { x: 10, y: 20 });
  await act(box, { action: "left_click", coordinate: [640, 400] });
  await act(box, { action: "type", text: "a" });
  await act(box, { action: "key", text: "ctrl+b" });
  await act(box, { action: "scroll", coordinate: [640, 400], scroll_direction: "down", scroll_amount: 1 });
  await act(box, { type: "scroll", x: 640, y: 400, scroll_x: 0, scroll_y: -100 });
  await act(box, { action: "left_click_drag", start_coordinate: [600, 400], coordinate: [700, 410] });
  await until("all arrive", async () => inOrder(await typed(box)) >= 0, SLOW_MS);
});

test("what the screen has not, no key is, or nobody could type is refused with what would do", async () => {
  await using box = await makeBox(tenant);
  const bad = async (action: object, word: RegExp) => {
    const problem = await refused(tenant.send("POST", path(box), action), "invalid_request");
    assert.match(JSON.stringify(problem), word, JSON.stringify(action));
  };
  await bad({ type: "click", x: 5000, y: 10 }, /1280 by 800/);
  await bad({ type: "move", x: -1, y: 10 }, /1280 by 800/);
  await bad(
    {
      type: "drag",
      path: [
        { x: 1, y: 1 },
        { x: 1, y: 800 },
      ],
    },
    /1280 by 800/,
  );
  await bad({ type: "click", x: 1e300, y: 1 }, /body\.x/);
  await bad({ type: "click", x: 3 }, /both/);
  await bad({ type: "keypress", keys: "ctrl+Florb" }, /Florb.*no key/);
  await bad({ type: "keypress", keys: ["Return; rm -rf /"] }, /no key/);
  await bad({ type: "type", text: "a\u0000b" }, /U\+0000/);
  await bad({ type: "type", text: "x".repeat(10_001) }, /body\.text/);
  await bad({ type: "type", text: "" }, /body\.text/);
  await bad({ type: "wait", ms: 1e9 }, /body\.ms/);
  await bad({ type: "scroll", x: 1, y: 1, scrollY: 1e6 }, /body\.scrollY/);
  await bad({ type: "dance" }, /body\.type/);
  await bad({ type: "click", x: 1, y: 1, force: true }, /force/);
  await bad({}, /body\.type/);
  await bad([], /body/);
  assert.equal((await act(box, { type: "cursor_position" })).type, "cursor_position");
});

test("each action is written down with a picture, and never what was typed; while a person has control the agent only looks", async () => {
  await using box = await makeBox(tenant);
  await act(box, { type: "click", x: 5, y: 6 });
  await act(box, { type: "type", text: "hunter2-is-secret" });
  await tenant.json("POST", `/api/sandboxes/${box.id}/control`, { name: "Ada" });
  const held = await refused(tenant.send("POST", path(box), { type: "click", x: 1, y: 1 }), "control_held");
  assert.match(held.detail, /^Ada has had control/);
  assert.ok((await act(box, { type: "screenshot" })).screenshot);
  await tenant.json("DELETE", `/api/sandboxes/${box.id}/control`);
  await act(box, { type: "move", x: 1, y: 1 });
  const log = ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${box.id}/actions`));
  const said = log.items.map(({ summary }) => summary);
  assert.deepEqual(said, [
    "Moved the pointer to (1, 1)",
    "Ada gave control back",
    "Looked at the screen",
    "Ada took control",
    "Typed 17 characters",
    "Clicked the left button at (5, 6)",
  ]);
  assert.doesNotMatch(JSON.stringify(log), /hunter2/);
  const picture = await tenant.send("GET", `/api/sandboxes/${box.id}/actions/${log.items.at(-1)?.id}/screenshot`);
  assert.equal(Buffer.from(await picture.arrayBuffer()).toString("latin1", 6, 10), "JFIF");
});
