import * as z from "zod";
import { DesktopAction, DesktopResult } from "#contract/desktop.ts";
import { newImages } from "./images.ts";
import { CHANGES, type Hints, type Outcome, READS, text, tool, type Tool, type Work } from "./tool.ts";

const Done = DesktopResult.omit({ screenshot: true });

/** A tool's words for each action that the desktop knows; the rest of it is the action's own schema. */
const WORDS: Record<DesktopAction["type"], { name: string; title: string; description: string; hints: Hints }> = {
  screenshot: { name: "desktop_screenshot", title: "Look at the screen", description: "A picture of the whole screen.", hints: READS },
  click: {
    name: "desktop_click",
    title: "Click",
    description: "Clicks at a place of the screen, in its pixels from the top left; without one, where the pointer is.",
    hints: CHANGES,
  },
  double_click: {
    name: "desktop_double_click",
    title: "Double-click",
    description: "Clicks twice at a place of the screen.",
    hints: CHANGES,
  },
  triple_click: {
    name: "desktop_triple_click",
    title: "Triple-click",
    description: "Clicks three times, which mostly selects a line or paragraph.",
    hints: CHANGES,
  },
  move: { name: "desktop_move", title: "Move the pointer", description: "Moves the pointer to a place of the screen.", hints: CHANGES },
  drag: {
    name: "desktop_drag",
    title: "Drag",
    description: "Presses at the first place of a path, moves along it, lets go at the last.",
    hints: CHANGES,
  },
  scroll: {
    name: "desktop_scroll",
    title: "Scroll",
    description: "Turns the wheel by so many notches at a place of the screen: down and right are positive.",
    hints: CHANGES,
  },
  type: { name: "desktop_type", title: "Type", description: "Types text where the keyboard's focus is.", hints: CHANGES },
  keypress: {
    name: "desktop_key",
    title: "Press keys",
    description: "Presses a chord such as ctrl+l, or one key such as Return.",
    hints: CHANGES,
  },
  wait: { name: "desktop_wait", title: "Wait", description: "Waits for so many milliseconds.", hints: READS },
  cursor_position: {
    name: "desktop_cursor",
    title: "Where the pointer is",
    description: "The pointer's place on the screen.",
    hints: READS,
  },
  screen_size: {
    name: "desktop_size",
    title: "How large the screen is",
    description: "The screen's width and height in pixels.",
    hints: READS,
  },
};

export const DESKTOP_TOOLS: readonly Tool[] = DesktopAction.options.map((action) => {
  const type = action.shape.type.value;
  return tool({
    ...WORDS[type],
    input: (action as z.ZodObject).omit({ type: true }),
    output: Done,
    run: (input, work) => act(DesktopAction.parse({ type, ...input }), work),
  });
});

async function act(action: DesktopAction, work: Work): Promise<Outcome> {
  const { screenshot, ...done } = await work.desktop(action);
  const images = newImages();
  if (screenshot !== undefined) images.add(screenshot);
  const { cursor, screen } = done;
  const words = `${done.type}: the pointer is at (${cursor.x}, ${cursor.y}) of a screen of ${screen.width} by ${screen.height}.`;
  return { value: done, content: [text(words), ...images.content] };
}
