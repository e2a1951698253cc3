import { isInitializeRequest, type JSONRPCMessage, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioServerTransport } from "@modelcontextprotocol/server/stdio";

// A transport of the protocol is no event target: what it says goes to one listener.
/* oxlint-disable unicorn/prefer-add-event-listener */

const REFUSED = -32_000;
const PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion";

/** Passes messages between an agent at standard input and output and an MCP endpoint, unread, until the agent leaves. */
export async function bridge(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<void> {
  const agent = new StdioServerTransport();
  const door = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
  const asked = new Map<unknown, AbortController>();
  const left = new Promise<void>((resolve) => {
    agent.onclose = resolve;
    process.stdin.once("end", resolve);
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  let greeting: unknown;
  door.onmessage = (message) => {
    if ("id" in message && !("method" in message)) asked.delete(message.id);
    if (greeting !== undefined && "result" in message && message.id === greeting) {
      door.setProtocolVersion(String(message.result["protocolVersion"]));
      greeting = undefined;
    }
    void agent.send(message);
  };
  agent.onmessage = (message) => {
    if (isInitializeRequest(message) && "id" in message) greeting = message.id;
    void pass(door, agent, asked, message);
  };
  await door.start();
  await agent.start();
  await left;
  for (const request of asked.values()) request.abort();
  await door.terminateSession().catch(() => {});
  await door.close();
  await agent.close();
}

/** Sends one message on. A refusal that is no message of the protocol becomes the answer to it. */
async function pass(
  door: StreamableHTTPClientTransport,
  agent: StdioServerTransport,
  asked: Map<unknown, AbortController>,
  message: JSONRPCMessage,
): Promise<void> {
  const cancelled = "method" in message && message.method === "notifications/cancelled" ? message.params?.["requestId"] : undefined;
  const request = asked.get(cancelled);
  // Without sessions a call is cancelled by leaving its answer.
  if (request) return request.abort();
  const id = "method" in message && "id" in message ? message.id : undefined;
  const leaving = new AbortController();
  if (id !== undefined && isModern(message)) asked.set(id, leaving);
  try {
    await door.send(message, { requestSignal: leaving.signal });
  } catch (error) {
    if (id === undefined || leaving.signal.aborted) return;
    const said = error instanceof Error ? error.message : String(error);
    await agent.send({ jsonrpc: "2.0", id, error: { code: REFUSED, message: said } });
  }
}

function isModern(message: JSONRPCMessage): boolean {
  return "params" in message && message.params?._meta?.[PROTOCOL_VERSION] !== undefined;
}
