import type { NewAction } from "#contract/action.ts";
import type { Entry } from "./notebook.ts";

type Picture = NonNullable<NewAction["screenshot"]>;

/** How long after an action what it came to is there to be seen; after a navigation, unless the page says that it has loaded. */
const SOON_MS = 150;
const LOADING_MS = 1500;
/** However the page goes on, the first of them waits no longer. */
const LATEST_MS = 2500;
/** The least time between two pictures of one page. */
const BETWEEN_MS = 500;

/** Makes pictures of one page for the actions on it: one for those that come close together, and not too often. */
export class Camera {
  readonly #shoot: () => Promise<Picture | undefined>;
  readonly #now: () => number;
  #wanting: Entry[] = [];
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Infinity;
  #firstMs = 0;
  #lastMs = -Infinity;
  #busy = false;
  #closed = false;

  constructor(shoot: () => Promise<Picture | undefined>, now: () => number) {
    this.#shoot = shoot;
    this.#now = now;
  }

  /** Has one made for an action. `loading`: what it leads to is still to come. */
  want(entry: Entry, loading = false): void {
    if (this.#closed) {
      entry.settle();
      return;
    }
    const first = this.#wanting.length === 0;
    if (first) this.#firstMs = this.#now();
    this.#wanting.push(entry);
    if (first || loading) this.#due(this.#now() + (loading ? LOADING_MS : SOON_MS), loading);
  }

  /** The page has what it waited for. */
  ready(): void {
    if (this.#wanting.length > 0) this.#due(this.#now() + SOON_MS, true);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const entry of this.#wanting.splice(0)) entry.settle();
  }

  #due(atMs: number, anew: boolean): void {
    const dueMs = Math.max(Math.min(atMs, this.#firstMs + LATEST_MS), this.#lastMs + BETWEEN_MS);
    if (!anew && dueMs >= this.#dueMs) return;
    this.#dueMs = dueMs;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#make(), Math.max(0, dueMs - this.#now())).unref();
  }

  async #make(): Promise<void> {
    this.#dueMs = Infinity;
    if (this.#busy) return;
    this.#busy = true;
    const entries = this.#wanting.splice(0);
    const picture = await this.#shoot().catch(() => undefined);
    this.#lastMs = this.#now();
    this.#busy = false;
    for (const entry of entries) entry.settle(picture);
    if (this.#wanting.length === 0) return;
    this.#firstMs = this.#now();
    this.#due(this.#now() + SOON_MS, true);
  }
}
