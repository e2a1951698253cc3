import type { Template, TemplateType } from "#contract/template.ts";
import { lifeDefaultMs, type Limits } from "./limits.ts";

export const CODE_INTERPRETER = "code-interpreter";
const BUILT_IN_AT = "2026-01-01T00:00:00.000Z";
/** Instances with a running browser or desktop that wait for one template: each takes some hundred MiB. */
const BROWSERS_PREPARED = 2;

type Size = Pick<Template, "cpu" | "memoryMiB" | "diskMiB">;

/** The size that a template of a type has which names none. */
const SIZES: Readonly<Record<TemplateType, Size>> = {
  CodeInterpreter: { cpu: 2, memoryMiB: 2048, diskMiB: 10_240 },
  Browser: { cpu: 2, memoryMiB: 2048, diskMiB: 10_240 },
  AllInOne: { cpu: 2, memoryMiB: 4096, diskMiB: 10_240 },
  Desktop: { cpu: 2, memoryMiB: 4096, diskMiB: 10_240 },
  CustomImage: { cpu: 2, memoryMiB: 2048, diskMiB: 512 },
};

/** The templates that every project has from the start, by name. */
const BUILT_IN: Readonly<Record<string, Pick<Template, "type" | "description">>> = {
  [CODE_INTERPRETER]: {
    type: "CodeInterpreter",
    description: "Python with numpy, pandas and matplotlib, and JavaScript; files, processes and commands; no network",
  },
  browser: { type: "Browser", description: "Chromium on a display of its own, driven by the DevTools protocol; no network" },
  "all-in-one": {
    type: "AllInOne",
    description: "What code-interpreter has, and a browser that starts when it is first used; no network",
  },
  desktop: {
    type: "Desktop",
    description: "What all-in-one has, on a desktop with windows, a panel and a menu, to be used by mouse and keyboard; no network",
  },
};

/** The names of the built-in templates, in order. */
export const BUILT_IN_NAMES: readonly string[] = Object.keys(BUILT_IN).toSorted();

export function isBuiltIn(name: string): boolean {
  return Object.hasOwn(BUILT_IN, name);
}

/** The built-in template of that name; undefined for every other name. */
export function builtIn(limits: Limits, name: string): Template | undefined {
  const own = isBuiltIn(name) ? BUILT_IN[name] : undefined;
  return own && { name, ...own, ...defaultsOf(limits, own.type), environment: {}, builtIn: true, version: 1, ...SINCE };
}

const SINCE = { createdAt: BUILT_IN_AT, updatedAt: BUILT_IN_AT };

/** What a template of a type has unless it says otherwise. */
export function defaultsOf(limits: Limits, type: TemplateType) {
  return {
    ...SIZES[type],
    idleTimeoutMs: limits.idleDefaultMs,
    lifetimeMs: lifeDefaultMs(limits),
    network: { mode: "none" as const },
    browserPages: [],
    scaling: scalingFor(limits, type),
    autoPause: false,
    autoResume: true,
  };
}

/** A browser, or a room with an image, is made ahead only of those who use it: what waits for nobody would take the memory of what works. */
function scalingFor({ scaling }: Limits, type: TemplateType): Template["scaling"] {
  if (type === "CodeInterpreter") return scaling;
  const isLight = type === "AllInOne" || type === "CustomImage";
  return { minPrepared: 0, maxPrepared: isLight ? scaling.maxPrepared : Math.min(BROWSERS_PREPARED, scaling.maxPrepared) };
}
