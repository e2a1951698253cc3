/** What every page shows of its connection: a word in its bar, or a notice once it is over. */

/** How long after each failure in a row the next try comes. */
export const RETRY_MS = [250, 500, 1000, 2000, 4000, 8000];

export function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no ${id}`);
  return found;
}

export function show(state: "connecting" | "open" | "over", text: string): void {
  const shown = element("state");
  shown.dataset["state"] = state;
  shown.textContent = text;
}
