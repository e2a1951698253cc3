import * as z from "zod";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

const { displayWidthMin, displayWidthMax, displayHeightMin, displayHeightMax } = LIMITS;

const Width = z.int().min(displayWidthMin).max(displayWidthMax);
const Height = z.int().min(displayHeightMin).max(displayHeightMax);

/** The sandbox's display. `name` is what programs have in `DISPLAY`, there while it runs. */
export const Display = z.object({ running: z.boolean(), name: z.string().optional(), width: z.int(), height: z.int() });
export type Display = z.output<typeof Display>;

export const StartDisplay = z.strictObject({ width: Width.optional(), height: Height.optional() });
export type StartDisplay = z.output<typeof StartDisplay>;

export const getDisplay = operation({
  id: "getDisplay",
  method: "get",
  path: "/display",
  summary: "Whether the sandbox's display runs, its name and its size; asking starts nothing",
  status: 200,
  returns: Display,
  errors: [],
});

export const startDisplay = operation({
  id: "startDisplay",
  method: "put",
  path: "/display",
  summary: "Have the display there, of that size; starting twice is one start, and another size waits until nobody uses it",
  body: StartDisplay,
  status: 200,
  returns: Display,
  errors: ["invalid_request", "conflict", "display_unavailable"],
});
