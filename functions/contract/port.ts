import * as z from "zod";
import { operation } from "./operation.ts";

export const askPort = operation({
  id: "askPort",
  method: "get",
  path: "/ports/:port",
  rest: true,
  summary: "Whatever listens on a port inside, by any method and any path below, WebSockets included",
  params: z.object({ port: z.string() }),
  status: 200,
  streams: { request: "application/octet-stream", response: "application/octet-stream" },
  errors: ["invalid_request", "forbidden", "port_unreachable"],
});
