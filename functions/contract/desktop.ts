import * as z from "zod";
import { asDesktopAction } from "./desktop-words.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

const { desktopTextChars, desktopWaitMaxMs, desktopScrollMax, desktopPathPoints } = LIMITS;

/** A place on the screen, in its own pixels from the top left; one outside is refused with the bounds. */
const Side = z.number().min(-1_000_000).max(1_000_000);
const Point = z.strictObject({ x: Side, y: Side });
const Button = z.enum(["left", "middle", "right"]);
/** Keys held down meanwhile, such as `ctrl`. */
const Held = z.array(z.string().min(1).max(32)).max(4).optional();
/** Whether the answer carries a picture of the screen as it is afterwards. */
const Pictured = z.boolean().default(false);

const at = { x: Side, y: Side, keys: Held, screenshot: Pictured };
const anywhere = { x: Side.optional(), y: Side.optional(), keys: Held, screenshot: Pictured };

/**
 * One action on the desktop, by its `type`, as agents that use computers say it. Where there is no place, it happens where
 * the pointer is. `keypress` takes chords: `["ctrl", "shift", "t"]` or `"ctrl+shift+t"`.
 */
export const DesktopAction = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("screenshot") }),
  z.strictObject({ type: z.literal("click"), ...anywhere, button: Button.default("left") }),
  z.strictObject({ type: z.literal("double_click"), ...anywhere, button: Button.default("left") }),
  z.strictObject({ type: z.literal("triple_click"), ...anywhere, button: Button.default("left") }),
  z.strictObject({ type: z.literal("move"), ...at }),
  z.strictObject({
    type: z.literal("drag"),
    path: z.array(Point).min(2).max(desktopPathPoints),
    button: Button.default("left"),
    keys: Held,
    screenshot: Pictured,
  }),
  z.strictObject({
    type: z.literal("scroll"),
    ...anywhere,
    /** Notches of the wheel: down and right are positive. */
    scrollX: z.int().min(-desktopScrollMax).max(desktopScrollMax).default(0),
    scrollY: z.int().min(-desktopScrollMax).max(desktopScrollMax).default(0),
  }),
  z.strictObject({ type: z.literal("type"), text: z.string().min(1).max(desktopTextChars), screenshot: Pictured }),
  z.strictObject({
    type: z.literal("keypress"),
    keys: z.union([z.string().min(1).max(200), z.array(z.string().min(1).max(32)).min(1).max(8)]),
    screenshot: Pictured,
  }),
  z.strictObject({ type: z.literal("wait"), ms: z.int().min(0).max(desktopWaitMaxMs).default(1000), screenshot: Pictured }),
  z.strictObject({ type: z.literal("cursor_position"), screenshot: Pictured }),
  z.strictObject({ type: z.literal("screen_size"), screenshot: Pictured }),
]);
export type DesktopAction = z.output<typeof DesktopAction>;

/** What an action came to. `screenshot` is a PNG in base64. */
export const DesktopResult = z.object({
  type: z.string(),
  cursor: z.object({ x: z.int(), y: z.int() }),
  screen: z.object({ width: z.int(), height: z.int() }),
  screenshot: z.string().optional(),
});
export type DesktopResult = z.output<typeof DesktopResult>;

/** The same from the workspace to the core, with a small JPEG for the log. */
export const DesktopDone = DesktopResult.extend({ thumbnail: z.string().optional() });
export type DesktopDone = z.output<typeof DesktopDone>;

/** Passed on by the core alone, which sees that nobody has control and writes it down. */
export const actOnDesktop = operation({
  id: "actOnDesktop",
  method: "post",
  path: "/desktop/actions",
  summary: "Do one thing on the sandbox's desktop with mouse or keyboard, or look at it",
  body: DesktopAction,
  status: 200,
  returns: DesktopResult,
  errors: ["invalid_request", "display_unavailable", "control_held"],
});

/** The same as the door answers it, which understands other ways to say an action too. */
export const actOnDesktopAtDoor = () =>
  operation({
    ...actOnDesktop,
    path: "/sandboxes/:sandboxId/desktop/actions",
    params: z.object({ sandboxId: z.string() }),
    body: z.preprocess(asDesktopAction, DesktopAction),
  });
