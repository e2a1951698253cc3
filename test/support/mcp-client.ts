import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { Tenant } from "#support/door.ts";

/** A connected client of the official SDK. */
export interface Connected extends AsyncDisposable {
  client: Client;
  transport: StreamableHTTPClientTransport;
}

/** Connects to an MCP endpoint of the door with a tenant's key, in one revision of the protocol. */
export async function connectMcp(
  origin: string,
  { key }: Pick<Tenant, "key">,
  path: string,
  { sessions = true, headers = {} }: { sessions?: boolean; headers?: Record<string, string> } = {},
): Promise<Connected> {
  const transport = new StreamableHTTPClientTransport(new URL(origin + path), {
    requestInit: { headers: { authorization: `Bearer ${key.apiKey}`, ...headers } },
  });
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode: sessions ? "legacy" : { pin: "2026-07-28" } } });
  await client.connect(transport);
  return {
    client,
    transport,
    async [Symbol.asyncDispose]() {
      if (sessions) await transport.terminateSession().catch(() => {});
      await client.close();
    },
  };
}

/** What a tool answered: its value for programs, its words, and its images. */
export async function useTool(
  client: Client,
  name: string,
  args: Record<string, unknown> = {},
  options: Parameters<Client["callTool"]>[1] = {},
) {
  const result = await client.callTool({ name, arguments: args }, options);
  const content = result.content ?? [];
  return {
    isError: result.isError === true,
    value: (result.structuredContent ?? {}) as Record<string, unknown>,
    words: content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n"),
    images: content.flatMap((part) => (part.type === "image" ? [part] : [])),
    content,
    problem: (result._meta?.["cleanroom/problem"] ?? undefined) as { code: string } | undefined,
  };
}
