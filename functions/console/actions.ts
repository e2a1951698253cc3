import type { SeenAction } from "#contract/action.ts";
import { Refusal, type Session } from "./session.ts";
import { element } from "./state.ts";

/** The panel beside the screen: what was done in the sandbox, newest first, as text and nothing else. */
const KEPT = 200;
const NEWEST = 20;
const LOOK_MS = 1000;
const WIDE = "(width > 900px)";
const SHUT = "actions:shut";
const BY: Record<SeenAction["by"], string> = { agent: "Agent", person: "Person", page: "Page", platform: "Cleanroom" };

/** Keeps the panel up to date for as long as it is open and somebody can see it. `changed` hears that the screen has more room or less. */
export function showActions(session: Session, changed: () => void): void {
  const [panel, toggle] = [element("log"), element("show-log")];
  let shown = new Map<string, SeenAction>();
  let isAsking = false;
  let isOver = false;

  async function look(): Promise<void> {
    if (panel.hidden || document.hidden || isAsking || isOver) return;
    isAsking = true;
    try {
      let newest = await session.actions(shown.size === 0 ? KEPT : NEWEST);
      // A gap between what is shown and the newest may hold anything; what came late lies among the newest.
      if (shown.size > 0 && newest.length === NEWEST && newest.every(({ id }) => !shown.has(id))) newest = await session.actions(KEPT);
      if (newest.every(({ id }) => shown.has(id))) return;
      const all = new Map([...newest, ...shown.values()].map((action) => [action.id, action]));
      shown = new Map([...all].toSorted(([a], [b]) => (a < b ? 1 : -1)).slice(0, KEPT));
      draw([...shown.values()]);
    } catch (error) {
      // The page itself says why, and that it is over.
      if (error instanceof Refusal) isOver = true;
    } finally {
      isAsking = false;
    }
  }

  function open(isOpen: boolean): void {
    panel.hidden = !isOpen;
    toggle.setAttribute("aria-expanded", String(isOpen));
    changed();
    void look();
  }

  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    sessionStorage.setItem(SHUT, String(!panel.hidden));
    open(Boolean(panel.hidden));
  });
  document.addEventListener("visibilitychange", () => void look());
  setInterval(() => void look(), LOOK_MS);
  const shut = sessionStorage.getItem(SHUT);
  open(shut === null ? matchMedia(WIDE).matches : shut === "false");
}

/** Lines that are there already are not touched, so that what a reader has marked or scrolled to stays. */
function draw(actions: readonly SeenAction[]): void {
  const list = element("actions");
  element("no-actions").hidden = actions.length > 0;
  for (const [at, action] of actions.entries()) {
    const there = list.children[at] ?? null;
    if ((there as HTMLElement | null)?.dataset["id"] !== action.id) list.insertBefore(lineOf(action), there);
  }
  while (list.children.length > actions.length) list.lastElementChild?.remove();
}

function lineOf({ id, kind, at, by, summary }: SeenAction): HTMLElement {
  const line = document.createElement("li");
  line.dataset["id"] = id;
  line.dataset["by"] = by;
  const time = part("time", new Date(at).toLocaleTimeString());
  (time as HTMLTimeElement).dateTime = at;
  line.append(time, part("b", BY[by]), part("i", kind.replaceAll("_", " ")), part("p", summary));
  return line;
}

/** Text that a sandbox had a hand in becomes no element, whatever it says. */
function part(name: string, text: string): HTMLElement {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
