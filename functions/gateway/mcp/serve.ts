import { createMcpHandler, isLegacyRequest } from "@modelcontextprotocol/server";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Gateway } from "#gateway/gateway.ts";
import { type Asking, openLive } from "./live.ts";
import type { Speaker } from "./place.ts";
import { buildServer } from "./server.ts";

/** Streams by which clients wait for changes of a list, of which there are none to tell. */
const SUBSCRIPTIONS_MAX = 64;

export interface Mcp {
  answer(speaker: Speaker, asking: Asking): Promise<Response>;
}

/** Answers both kinds of client: those whose every request stands by itself, and those that begin a session. */
export function openMcp(gateway: Gateway): Mcp {
  const { platform } = gateway;
  const live = openLive(gateway);
  const modern = createMcpHandler(({ authInfo }) => buildServer(gateway, authInfo?.extra?.["speaker"] as Speaker), {
    legacy: "reject",
    maxSubscriptions: SUBSCRIPTIONS_MAX,
    maxRequestBodySize: LIMITS.mcpMessageBytes,
    onerror: (error) => platform.log.event("mcp.refused", { error: error.message }),
  });
  return {
    async answer(speaker, { request, body }) {
      if (Array.isArray(body))
        throw new Problem("invalid_request", {
          detail: "Batches are not part of the protocol any more",
          next: "Send one message for each request.",
        });
      if (await isLegacyRequest(request, body)) return live(speaker, { request, body });
      const { accessKeyId } = speaker.principal;
      const authInfo = { token: "", clientId: accessKeyId, scopes: [], extra: { speaker } };
      return modern.fetch(request, { authInfo, parsedBody: body });
    },
  };
}
