import * as z from "zod";
import { Moment } from "./id.ts";
import { LIMITS } from "./limits.ts";
import { operation } from "./operation.ts";

const HolderName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[^\p{Cc}]*$/u, "holds a control character");

/** Who has control of a sandbox's screen. While it is a person, the agent's own input waits or is refused. */
export const Holder = z.object({
  name: z.string(),
  since: Moment,
  /** When control ends by itself, unless its holder is still there by then. */
  until: Moment,
  /** Whether it is the one who asks. */
  you: z.boolean(),
});
export type Holder = z.output<typeof Holder>;

export const Control = z.object({ held: z.boolean(), holder: Holder.optional() });
export type Control = z.output<typeof Control>;

export const TakeControl = z.strictObject({
  /** What others are told of who has it. */
  name: HolderName.optional(),
  /** How long it is held without a view open; an open view of the holder's keeps it. */
  holdMs: z.int().min(1000).max(LIMITS.controlHoldMaxMs).default(LIMITS.controlGraceMs),
  /** Takes it from whoever has it; for keys of the project alone. */
  force: z.boolean().default(false),
});
export type TakeControl = z.output<typeof TakeControl>;

const params = z.object({ sandboxId: z.string() });
const path = "/api/sandboxes/:sandboxId/control" as const;

export const getControl = operation({
  id: "getControl",
  method: "get",
  path,
  summary: "Who has control of a sandbox's screen",
  params,
  status: 200,
  returns: Control,
  errors: ["sandbox_not_found"],
});

export const takeControl = operation({
  id: "takeControl",
  method: "post",
  path,
  summary: "Take control: the agent's input waits until it is given back; taking it again holds it for longer",
  params,
  body: TakeControl,
  status: 200,
  returns: Control,
  errors: ["sandbox_not_found", "sandbox_ended", "sandbox_not_ready", "invalid_request", "control_held", "forbidden"],
});

export const giveControl = operation({
  id: "giveControl",
  method: "delete",
  path,
  summary: "Give control back, or with a key of the project take it away from whoever has it; nobody having it is done already",
  params,
  status: 200,
  returns: Control,
  errors: ["sandbox_not_found", "control_held"],
});

/** What the page of a view asks with the session that it has instead of a credential. */
export const ControlFromPage = z.strictObject({
  session: z.string().max(512),
  turn: z.enum(["read", "take", "give"]),
  name: HolderName.optional(),
});
export type ControlFromPage = z.output<typeof ControlFromPage>;

export const controlFromPage = operation({
  id: "controlFromPage",
  method: "post",
  path: "/api/page/control",
  summary: "For the page of a view: who has control; take it, give it back",
  body: ControlFromPage,
  status: 200,
  returns: Control,
  errors: ["ticket_not_valid", "sandbox_ended", "sandbox_not_ready", "invalid_request", "control_held", "forbidden"],
});
