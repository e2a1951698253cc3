import { randomUUID } from "node:crypto";
import { MCP_KEY_HEADER } from "#contract/mcp.ts";
import { newClient } from "#client/client.ts";
import type { Command } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";

export const mcp: Command = {
  name: "mcp",
  usage: "",
  summary: "Serve a template's or a sandbox's tools to an agent of this machine, by MCP over standard input and output.",
  example: "cleanroom mcp --template code-interpreter",
  words: { min: 0, max: 0 },
  options: {
    template: {
      type: "string",
      value: "NAME",
      about: "work in a sandbox of it, made when first needed and ended with the agent (code-interpreter)",
    },
    sandbox: { type: "string", value: "ID", about: "work in this one, which lives on" },
  },
  async run(given, { client, signal }) {
    const [template, sandbox] = [given.text("template"), given.text("sandbox")];
    if (template !== undefined && sandbox !== undefined)
      throw refusal(EXIT.usage, "--template and --sandbox do not go together", "Name one of them.");
    const { url, apiKey = "" } = newClient(client);
    const path =
      sandbox === undefined
        ? `/templates/${encodeURIComponent(template ?? "code-interpreter")}/mcp`
        : `/sandboxes/${encodeURIComponent(sandbox)}/mcp`;
    // All that this process passes on is for one sandbox, whichever revision its agent speaks.
    const headers = { authorization: `Bearer ${apiKey}`, ...(sandbox === undefined ? { [MCP_KEY_HEADER]: `stdio-${randomUUID()}` } : {}) };
    // Other commands do without the protocol, and without the time that it takes to load.
    const { bridge } = await import("./bridge.ts");
    await bridge(new URL(url + path), headers, signal);
    if (sandbox === undefined) await fetch(url + path, { method: "DELETE", headers }).catch(() => undefined);
    return EXIT.ok;
  },
};
