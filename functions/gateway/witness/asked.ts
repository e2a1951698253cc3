/** What clients ask for that pages could also do by themselves, by what it comes to. */
const ASKS: Readonly<Record<string, string>> = {
  "Page.navigate": "navigate",
  "Page.reload": "navigate",
  "Page.navigateToHistoryEntry": "navigate",
  "Target.createTarget": "open",
  "Target.closeTarget": "close",
  "Page.close": "close",
};
/** How long what a client asked for may take to happen. */
const ASKED_MS = 90_000;
const ASKED_MOST = 100;

/** Remembers what clients asked for until it happens, to tell it from what pages do by themselves. */
export class Asked {
  readonly #now: () => number;
  #waiting: { what: string; atMs: number }[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  note(method: string): void {
    const what = ASKS[method];
    if (what === undefined) return;
    this.#waiting.push({ what, atMs: this.#now() });
    if (this.#waiting.length > ASKED_MOST) this.#waiting.shift();
  }

  /** Whether this was asked for, later than a moment; it counts for one happening. */
  take(what: "navigate" | "open" | "close", afterMs = -Infinity): boolean {
    const sinceMs = this.#now() - ASKED_MS;
    this.#waiting = this.#waiting.filter(({ atMs }) => atMs > sinceMs);
    const at = this.#waiting.findIndex((one) => one.what === what && one.atMs > afterMs);
    if (at < 0) return false;
    this.#waiting.splice(at, 1);
    return true;
  }
}
