import { BROWSER_TYPES } from "#contract/template.ts";
import { TEMPLATE_TYPE_VARIABLE } from "#contract/workspace.ts";
import type { Isolation } from "./maker.ts";

/**
 * How an instance is sealed. `browser` gives way in one thing: a browser keeps its pages apart by user namespaces, which
 * no other instance can make.
 */
export type Profile = "plain" | "browser";

export const NO_NAMESPACES = "no user namespaces inside";
const WHY =
  "a browser seals its pages by them: so many and no more, of users, processes and networks alone, without mounts, without netlink";

/** By the type of template that a function's variables name. */
export function profileOf(variables: Readonly<Record<string, string>>): Profile {
  return BROWSER_TYPES.has(variables[TEMPLATE_TYPE_VARIABLE] ?? "") ? "browser" : "plain";
}

/** The size of the memory that processes share: a browser's hand each other pictures of pages there. */
export function sharedMiB(memoryMiB: number, profile: Profile = "plain"): number {
  const [most, share] = { plain: [64, 8] as const, browser: [512, 4] as const }[profile];
  return Math.max(16, Math.min(most, Math.floor(memoryMiB / share)));
}

/** What of the host's isolation an instance of a profile has. */
export function isolationOf(isolation: Isolation, profile: Profile): Isolation {
  if (profile === "plain") return isolation;
  const layers = isolation.layers.map((it) => (it.name === NO_NAMESPACES ? { name: it.name, on: false, why: WHY } : it));
  return { ...isolation, layers };
}
