import type { ActionDetails } from "#contract/action.ts";
import { LIMITS } from "#contract/limits.ts";
import { masked } from "./masking.ts";

const DETAILS = 20;

/** A text as it is kept: bounded before it is searched for secrets, so that a long one takes no longer. */
export function shownText(text: string): string {
  const most = LIMITS.actionTextChars;
  const whole = masked(text.slice(0, 2 * most).toWellFormed());
  return whole.length > most || text.length > 2 * most ? `${whole.slice(0, most)}…` : whole;
}

/** The same for each detail, of which so many are kept. */
export function shownDetails(details: ActionDetails): ActionDetails {
  const entries = Object.entries(details).slice(0, DETAILS);
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(0, 64), typeof value === "string" ? shownText(value) : value]));
}
