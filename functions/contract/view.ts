import * as z from "zod";
import { operation } from "./operation.ts";

/** AgentRun's clients add `tenantId`, which stays at the door; what else comes is nobody's. */
export const WatchView = z.object({
  /** Whether the display is recorded for as long as this connection lasts; the door sees to it. */
  recording: z.stringbool().default(false),
});
export type WatchView = z.output<typeof WatchView>;

const errors = ["invalid_request", "display_unavailable"] as const;

export const openLiveview = operation({
  id: "openLiveview",
  method: "get",
  path: "/ws/liveview",
  summary: "The display by WebSocket, as RFB in binary messages",
  query: WatchView,
  status: 101,
  errors,
});

export const openLivestream = operation({
  id: "openLivestream",
  method: "get",
  path: "/ws/livestream",
  summary: "The same under the other name that AgentRun's clients have for it",
  query: WatchView,
  status: 101,
  errors,
});
