import * as z from "zod";
import { EndReason } from "./sandbox.ts";

/** The queue that the worker is behind. */
export const JOBS_QUEUE = "cleanroom-jobs";

/** What the worker does when a queue or a timer asks. Every job may come twice, and doing it twice is doing it once. */
export const Job = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("sweep") }),
  z.strictObject({ type: z.literal("end_sandbox"), projectId: z.string(), sandboxId: z.string(), reason: EndReason }),
  z.strictObject({ type: z.literal("collect") }),
  z.strictObject({ type: z.literal("deliver"), projectId: z.string(), webhookId: z.string(), key: z.string(), attempt: z.int() }),
]);
export type Job = z.output<typeof Job>;

/** A timer's event; its payload is text that an operator wrote into the trigger. */
export const TimerEvent = z.object({ triggerTime: z.string(), triggerName: z.string(), payload: z.string() });

/** What a timer's payload says. */
export const TimerPayload = z.object({ job: z.enum(["sweep", "collect"]) });

/** Messages of a queue, as the platform's event bus delivers them. */
export const QueueEvents = z.array(z.object({ id: z.string(), data: z.object({ messageBody: z.string() }) })).min(1);
