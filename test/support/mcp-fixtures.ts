import { setTimeout as delay } from "node:timers/promises";
import {
  acceptedContent,
  createRequestStateCodec,
  inputRequired,
  inputResponse,
  type McpServer,
  type McpServerOptions,
  ResourceTemplate,
  type ServerContext,
} from "@modelcontextprotocol/server";
import * as z from "zod";

/**
 * What the official conformance suite asks a server for, by the names that it documents, beside what the gateway offers
 * of its own: the suite judges the gateway's way of serving them.
 */
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";
const words = (text: string) => ({ type: "text" as const, text });
const said = (text: string) => ({ content: [words(text)] });
const asked = (role: "user", ...content: object[]) => ({ messages: content.map((one) => ({ role, content: one })) }) as never;

const resource = (uri: string, mimeType: string, text: string) => ({ type: "resource", resource: { uri, mimeType, text } });
const elicit = (ctx: ServerContext, message: string, properties: object, required: string[] = []) =>
  ctx.mcpReq.elicitInput(
    { mode: "form", message, requestedSchema: { type: "object", properties: properties as never, required } },
    { relatedRequestId: ctx.mcpReq.id },
  );
const given = ({ mcpReq }: ServerContext, key: string) => inputResponse(mcpReq.inputResponses, key).kind !== "missing";
const textAt = (uri: string, mimeType: string, content: string) => ({ contents: [{ uri, mimeType, text: content }] });

const states = createRequestStateCodec<string>({ key: crypto.getRandomValues(new Uint8Array(32)) });

export const FIXTURES: { options: McpServerOptions; extend(server: McpServer): void } = {
  options: {
    capabilities: {
      tools: { listChanged: false },
      logging: {},
      completions: {},
      resources: { subscribe: true, listChanged: false },
      prompts: { listChanged: false },
    },
    requestState: { verify: states.verify },
  },
  extend(server) {
    addTools(server);
    addQuestions(server);
    addRounds(server);
    addResources(server);
    addPrompts(server);
  },
};

function addTools(server: McpServer): void {
  const add = (name: string, run: (ctx: ServerContext) => object | Promise<object>) =>
    server.registerTool(name, { description: name, inputSchema: z.object({}) }, async (_input, ctx) => (await run(ctx)) as never);
  add("test_simple_text", () => said("This is a simple text response for testing."));
  add("test_image_content", () => ({ content: [{ type: "image", data: PNG, mimeType: "image/png" }] }));
  add("test_audio_content", () => ({ content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }] }));
  add("test_embedded_resource", () => ({
    content: [resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")],
  }));
  add("test_multiple_content_types", () => ({
    content: [
      words("Multiple content types test:"),
      { type: "image", data: PNG, mimeType: "image/png" },
      resource("test://mixed-content-resource", "application/json", JSON.stringify({ test: "data", value: 123 })),
    ],
  }));
  add("test_error_handling", () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  add("test_tool_with_logging", async ({ mcpReq }) => {
    for (const step of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await mcpReq.log("info", step);
      await delay(50);
    }
    return said("done");
  });
  add("test_logging_tool", async ({ mcpReq }) => {
    await mcpReq.log("info", "logged");
    return said("done");
  });
  add("test_tool_with_progress", async ({ mcpReq }) => {
    const progressToken = mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progressToken !== undefined)
        await mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: 100 } });
      await delay(50);
    }
    return said(String(progressToken));
  });
  server.registerTool(
    "json_schema_2020_12_tool",
    { description: "json", inputSchema: z.object({ name: z.string().optional(), address: z.object({ street: z.string() }).optional() }) },
    async (input) => said(JSON.stringify(input)),
  );
}

/** What a server of the revisions with sessions asks its client in the middle of a call. */
function addQuestions(server: McpServer): void {
  const add = (name: string, input: z.ZodObject, ask: (input: Record<string, unknown>, ctx: ServerContext) => Promise<object>) =>
    server.registerTool(name, { description: name, inputSchema: input }, async (values, ctx) =>
      said(JSON.stringify(await ask(values, ctx))),
    );
  add("test_sampling", z.object({ prompt: z.string() }), ({ prompt }, { mcpReq }) =>
    mcpReq.requestSampling(
      { messages: [{ role: "user", content: words(String(prompt)) }], maxTokens: 100 },
      { relatedRequestId: mcpReq.id },
    ),
  );
  add("test_elicitation", z.object({ message: z.string() }), ({ message }, ctx) =>
    elicit(ctx, String(message), { response: { type: "string", description: "User's response" } }, ["response"]),
  );
  add("test_elicitation_sep1034_defaults", z.object({}), (_input, ctx) =>
    elicit(ctx, "Defaults", {
      name: { type: "string", default: "John Doe" },
      age: { type: "integer", default: 30 },
      score: { type: "number", default: 95.5 },
      status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
      verified: { type: "boolean", default: true },
    }),
  );
  const titled = ["First", "Second", "Third"].map((title, at) => ({ const: `value${at + 1}`, title }));
  const options = ["option1", "option2", "option3"];
  add("test_elicitation_sep1330_enums", z.object({}), (_input, ctx) =>
    elicit(ctx, "Choices", {
      untitledSingle: { type: "string", enum: options },
      titledSingle: { type: "string", oneOf: titled },
      legacyEnum: { type: "string", enum: ["opt1", "opt2", "opt3"], enumNames: ["Option One", "Option Two", "Option Three"] },
      untitledMulti: { type: "array", minItems: 1, maxItems: 3, items: { type: "string", enum: options } },
      titledMulti: { type: "array", minItems: 1, maxItems: 3, items: { anyOf: titled } },
    }),
  );
}

const Named = z.object({ name: z.string() });
const Coloured = z.object({ color: z.string() });
const Confirmed = z.object({ ok: z.boolean() });
const nameOf = (message: string) => inputRequired.elicit({ message, requestedSchema: Named });
const sample = (text: string, maxTokens: number) =>
  inputRequired.createMessage({ messages: [{ role: "user", content: words(text) }], maxTokens });

/** What a server of the revision without sessions needs to know before it can answer: it says so, and is asked again. */
function addRounds(server: McpServer): void {
  const add = (name: string, run: (ctx: ServerContext) => Promise<object>) =>
    server.registerTool(name, { description: name, inputSchema: z.object({}) }, async (_input, ctx) => (await run(ctx)) as never);
  add("test_input_required_result_elicitation", async ({ mcpReq }) => {
    const answer = acceptedContent(mcpReq.inputResponses, "user_name", Named);
    return answer ? said(`Hello, ${answer.name}!`) : inputRequired({ inputRequests: { user_name: nameOf("What is your name?") } });
  });
  add("test_input_required_result_sampling", async (ctx) => {
    if (!given(ctx, "capital_question"))
      return inputRequired({ inputRequests: { capital_question: sample("What is the capital of France?", 100) } });
    return said(JSON.stringify(inputResponse(ctx.mcpReq.inputResponses, "capital_question")));
  });
  add("test_input_required_result_list_roots", async (ctx) => {
    if (!given(ctx, "client_roots")) return inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
    return said(JSON.stringify(inputResponse(ctx.mcpReq.inputResponses, "client_roots")));
  });
  for (const name of ["test_input_required_result_request_state", "test_input_required_result_tampered_state"]) {
    add(name, async ({ mcpReq }) => {
      const answer = acceptedContent(mcpReq.inputResponses, "confirm", Confirmed);
      if (answer && mcpReq.requestState<string>() === "asked") return said("state-ok");
      const confirm = inputRequired.elicit({ message: "Please confirm", requestedSchema: Confirmed });
      return inputRequired({ inputRequests: { confirm }, requestState: await states.mint("asked") });
    });
  }
  add("test_input_required_result_multiple_inputs", async (ctx) => {
    const keys = ["user_name", "greeting", "client_roots"];
    if (keys.every((key) => given(ctx, key))) return said("all there");
    const inputRequests = {
      user_name: nameOf("What is your name?"),
      greeting: sample("Generate a greeting", 50),
      client_roots: inputRequired.listRoots(),
    };
    return inputRequired({ inputRequests, requestState: await states.mint("asked") });
  });
  add("test_input_required_result_multi_round", async ({ mcpReq }) => {
    const state = mcpReq.requestState<string>();
    if (state === "step2" && acceptedContent(mcpReq.inputResponses, "step2", Coloured)) return said("done");
    if (state === "step1" && acceptedContent(mcpReq.inputResponses, "step1", Named)) {
      const step2 = inputRequired.elicit({ message: "Step 2: What is your favorite color?", requestedSchema: Coloured });
      return inputRequired({ inputRequests: { step2 }, requestState: await states.mint("step2") });
    }
    return inputRequired({ inputRequests: { step1: nameOf("Step 1: What is your name?") }, requestState: await states.mint("step1") });
  });
  add("test_input_required_result_capabilities", async ({ mcpReq }) => {
    const able = ((mcpReq.envelope as Record<string, unknown> | undefined)?.["io.modelcontextprotocol/clientCapabilities"] ?? {}) as {
      sampling?: object;
      elicitation?: object;
    };
    const inputRequests = {
      ...(able.sampling ? { greeting: sample("Generate a greeting", 50) } : {}),
      ...(able.elicitation ? { user_name: nameOf("What is your name?") } : {}),
    };
    return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : said("nothing to ask");
  });
  add("test_missing_capability", async () => inputRequired({ inputRequests: { greeting: sample("Generate a greeting", 50) } }));
  add("test_streaming_elicitation", async () => inputRequired({ inputRequests: { user_name: nameOf("What is your name?") } }));
}

function addResources(server: McpServer): void {
  server.registerResource("static-text", "test://static-text", { mimeType: "text/plain" }, async () =>
    textAt("test://static-text", "text/plain", "This is the content of the static text resource."),
  );
  server.registerResource("static-binary", "test://static-binary", { mimeType: "image/png" }, async () => ({
    contents: [{ uri: "test://static-binary", mimeType: "image/png", blob: PNG }],
  }));
  server.registerResource("watched-resource", "test://watched-resource", { mimeType: "text/plain" }, async () =>
    textAt("test://watched-resource", "text/plain", "Watched resource content"),
  );
  const template = new ResourceTemplate("test://template/{id}/data", { list: undefined });
  server.registerResource("template", template, { mimeType: "application/json" }, async (uri, { id }) =>
    textAt(uri.href, "application/json", JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` })),
  );
  server.server.setRequestHandler("resources/subscribe", async () => ({}));
  server.server.setRequestHandler("resources/unsubscribe", async () => ({}));
}

function addPrompts(server: McpServer): void {
  server.registerPrompt("test_simple_prompt", { description: "test_simple_prompt" }, async () =>
    asked("user", words("This is a simple prompt for testing.")),
  );
  server.registerPrompt(
    "test_prompt_with_arguments",
    { description: "test_prompt_with_arguments", argsSchema: z.object({ arg1: z.string(), arg2: z.string() }) },
    async ({ arg1, arg2 }) => asked("user", words(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  );
  server.registerPrompt(
    "test_prompt_with_embedded_resource",
    { description: "test_prompt_with_embedded_resource", argsSchema: z.object({ resourceUri: z.string() }) },
    async ({ resourceUri }) =>
      asked(
        "user",
        { type: "resource", resource: { uri: resourceUri, mimeType: "text/plain", text: "Embedded resource content for testing." } },
        words("Please process the embedded resource above."),
      ),
  );
  server.registerPrompt("test_prompt_with_image", { description: "test_prompt_with_image" }, async () =>
    asked("user", { type: "image", data: PNG, mimeType: "image/png" }, words("Please analyze the image above.")),
  );
  server.registerPrompt("test_input_required_result_prompt", { description: "test_input_required_result_prompt" }, async ({ mcpReq }) => {
    const Context = z.object({ context: z.string() });
    const answer = acceptedContent(mcpReq.inputResponses, "user_context", Context);
    if (answer) return asked("user", words(answer.context));
    const user_context = inputRequired.elicit({ message: "What context should the prompt use?", requestedSchema: Context });
    return inputRequired({ inputRequests: { user_context } });
  });
  server.server.setRequestHandler("completion/complete", async () => ({ completion: { values: [], total: 0, hasMore: false } }));
}
