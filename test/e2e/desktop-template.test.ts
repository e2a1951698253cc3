import assert from "node:assert/strict";
import { after, test } from "node:test";
import { DesktopResult } from "#contract/desktop.ts";
import { Display } from "#contract/display.ts";
import { type Box, makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());
const tenant = await newTenant(door);
const LIMIT = { timeout: 240_000 };
const SLOW_MS = 90_000;
const environment = { DISPLAY: ":1" };
/** From where xdotool says that a window is, which counts its frame twice, to the middle of its title. */
const TITLE_ABOVE = 32;

const act = async (box: Box, action: object) =>
  DesktopResult.parse(await tenant.json("POST", `/sandboxes/${box.id}/desktop/actions`, action));
const said = async (box: Box, command: string) => (await box.command(command, { environment })).result?.stdout ?? "";

/** Waits for a window of a class that has the focus, and answers where it is. */
async function windowOf(box: Box, name: string): Promise<{ x: number; y: number; width: number; height: number }> {
  const geometry = () => said(box, `xdotool search --onlyvisible --class ${name} getwindowgeometry --shell`);
  await until(`a window of ${name} is there`, async () => /HEIGHT=/.test(await geometry()), SLOW_MS);
  const told = await geometry();
  const [x = 0, y = 0, width = 0, height = 0] = ["X", "Y", "WIDTH", "HEIGHT"].map((part) =>
    Number(new RegExp(`^${part}=(-?\\d+)$`, "m").exec(told)?.[1]),
  );
  return { x, y, width, height };
}

test("a desktop is there when its sandbox is: a terminal opens from the panel, and what is typed there is done", LIMIT, async () => {
  await using box = await makeBox(tenant, { template: "desktop", environment: { GREETING: "hello from here" } });
  await until("its display runs", async () => Display.parse(await tenant.json("GET", `/sandboxes/${box.id}/display`)).running, SLOW_MS);
  await until("the panel is there", async () => (await said(box, "xdotool search --onlyvisible --class tint2")) !== "", SLOW_MS);
  await act(box, { type: "click", x: 21, y: 782 });
  const terminal = await windowOf(box, "xterm");
  await act(box, { type: "click", x: terminal.x + 50, y: terminal.y + 50 });
  await act(box, { type: "type", text: 'echo "$GREETING, $((6 * 7))" > ~/answer\n' });
  await until("the command was run", async () => (await said(box, "cat ~/answer")) === "hello from here, 42\n", SLOW_MS);

  await act(box, {
    type: "drag",
    path: [
      { x: terminal.x + 200, y: terminal.y - TITLE_ABOVE },
      { x: terminal.x + 150, y: terminal.y - TITLE_ABOVE - 50 },
    ],
  });
  await until("the window has moved", async () => (await windowOf(box, "xterm")).y < terminal.y - 20, SLOW_MS);
  const moved = await windowOf(box, "xterm");
  await act(box, { type: "double_click", x: moved.x + 200, y: moved.y - TITLE_ABOVE });
  await until("it fills the screen above the panel", async () => (await windowOf(box, "xterm")).width > 1200, SLOW_MS);
  assert.ok((await windowOf(box, "xterm")).height < 800 - 36);
  await act(box, { type: "keypress", keys: "alt+F4" });
  await until("it is closed", async () => (await said(box, "pgrep -x xterm")) === "", SLOW_MS);

  // The menu of the screen itself, by mouse and keyboard.
  await act(box, { type: "click", x: 640, y: 300, button: "right" });
  await act(box, { type: "keypress", keys: "Down" });
  await act(box, { type: "keypress", keys: "Down" });
  await act(box, { type: "keypress", keys: "Return" });
  await windowOf(box, "pcmanfm");
  const { screenshot = "" } = await act(box, { type: "screenshot" });
  assert.ok(Buffer.from(screenshot, "base64").length > 10_000, "there is something to see");
});

test("the browser of the desktop's menu runs under its own sandbox, beside the one that DevTools drive", LIMIT, async () => {
  await using box = await makeBox(tenant, { template: "desktop", environment: { CLEANROOM_DISPLAY_SIZE: "1024x768" } });
  await until("it has the size that was asked for", async () => (await act(box, { type: "screen_size" })).screen.width === 1024, SLOW_MS);
  await until("the panel is there", async () => (await said(box, "xdotool search --onlyvisible --class tint2")) !== "", SLOW_MS);
  await act(box, { type: "click", x: 85, y: 750 });
  await windowOf(box, "chromium");
  const flags = await said(box, "tr '\\0' ' ' < /proc/$(pgrep -o -x chromium)/cmdline");
  assert.doesNotMatch(flags, /no-sandbox|remote-debugging/);
  const renderer = await said(box, "for p in $(pgrep -f -- --type=renderer); do grep -h ^Seccomp: /proc/$p/status; done | sort -u");
  assert.match(renderer, /^Seccomp:\t2\n$/);
  const version = await tenant.json<{ Browser: string }>("GET", `/sandboxes/${box.id}/json/version`);
  assert.match(version.Browser, /^Chrome\//);
});
