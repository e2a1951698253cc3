import { fakeDoor, json } from "./fake-door.ts";

/** What each answer says that it took. */
const ASKED = { prompt_tokens: 120, completion_tokens: 30, total_tokens: 150, prompt_tokens_details: { cached_tokens: 20 } };

/** An OpenAI-compatible endpoint over HTTP: chat answers what a test says, embeddings tell cars from the rest. */
export async function modelServer(answer: (asked: { system: string; user: string }) => unknown) {
  return fakeDoor({
    "POST /v1/chat/completions": async (received, response) => {
      const { messages } = JSON.parse(received.body.toString()) as { messages: { content: string }[] };
      const content = answer({ system: messages[0]?.content ?? "", user: messages[1]?.content ?? "" });
      if (content === undefined) return json(500, { error: { message: "overloaded" } })(received, response);
      const message = { role: "assistant", content: typeof content === "string" ? content : JSON.stringify(content) };
      await json(200, { choices: [{ index: 0, message }], usage: ASKED })(received, response);
    },
    "POST /v1/embeddings": async (received, response) => {
      const { input } = JSON.parse(received.body.toString()) as { input: string[] };
      const data = input.map((text, index) => ({ index, embedding: /car|automobile/i.test(text) ? [3, 0.1] : [0.1, 3] }));
      await json(200, { data, usage: { prompt_tokens: input.length, total_tokens: input.length } })(received, response);
    },
  });
}
