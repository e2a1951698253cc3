type Words = Record<string, unknown>;

/** Pixels that one notch of a wheel is, where somebody scrolls by pixels. */
const NOTCH_PIXELS = 100;
const BUTTONS: Readonly<Record<string, string>> = { wheel: "middle" };
const CLICKS: Readonly<Record<string, Words>> = {
  left_click: { type: "click", button: "left" },
  right_click: { type: "click", button: "right" },
  middle_click: { type: "click", button: "middle" },
};
const DIRECTIONS: Readonly<Record<string, (amount: number) => Words>> = {
  up: (amount) => ({ scrollY: -amount }),
  down: (amount) => ({ scrollY: amount }),
  left: (amount) => ({ scrollX: -amount }),
  right: (amount) => ({ scrollX: amount }),
};

/**
 * An action in the words of this contract, whoever's it was said in: agents that use computers were taught `action` with
 * `coordinate`, or `type` with `scroll_x`. What is in no known words stays as it is, for the schema to refuse.
 */
export function asDesktopAction(said: unknown): unknown {
  if (typeof said !== "object" || said === null || Array.isArray(said)) return said;
  const words = said as Words;
  if (typeof words["action"] === "string" && words["type"] === undefined) return fromAction(words);
  return fromType(words);
}

function fromType(words: Words): Words {
  const { scroll_x: x, scroll_y: y, ...rest } = words;
  const button = typeof rest["button"] === "string" ? { button: BUTTONS[rest["button"]] ?? rest["button"] } : {};
  const scrolled = {
    ...(typeof x === "number" ? { scrollX: notches(x) } : {}),
    ...(typeof y === "number" ? { scrollY: notches(y) } : {}),
  };
  return { ...rest, ...button, ...scrolled };
}

function fromAction(words: Words): Words {
  const {
    action,
    coordinate,
    start_coordinate: start,
    text,
    duration,
    scroll_direction: direction,
    scroll_amount: amount,
    ...rest
  } = words;
  const place = pointOf(coordinate);
  switch (action) {
    case "key":
      return { ...rest, type: "keypress", keys: text };
    case "mouse_move":
      return { ...rest, type: "move", ...place };
    case "left_click_drag":
      return { ...rest, type: "drag", path: [pointOf(start), place] };
    case "wait":
      return { ...rest, type: "wait", ...(typeof duration === "number" ? { ms: Math.round(duration * 1000) } : {}) };
    case "scroll":
      return {
        ...rest,
        type: "scroll",
        ...place,
        ...held(text),
        ...DIRECTIONS[String(direction)]?.(typeof amount === "number" ? amount : 1),
      };
    case "type":
      return { ...rest, type: "type", text };
    default:
      return { ...rest, type: action, ...CLICKS[String(action)], ...place, ...held(text) };
  }
}

/** With a click or a wheel, the text names keys that are held. */
function held(text: unknown): Words {
  return typeof text === "string" ? { keys: text.split("+") } : {};
}

function pointOf(coordinate: unknown): Words {
  return Array.isArray(coordinate) && coordinate.length === 2 ? { x: coordinate[0], y: coordinate[1] } : {};
}

function notches(pixels: number): number {
  return Math.sign(pixels) * Math.max(1, Math.round(Math.abs(pixels) / NOTCH_PIXELS)) || 0;
}
