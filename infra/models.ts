import * as z from "zod";
import { Problem } from "#contract/problem.ts";
import type { Asking, Models, Tokens } from "#core/model-port.ts";

/** An OpenAI-compatible endpoint, with its version in the path, as `https://api.openai.com/v1`. */
export interface Endpoint {
  url: string;
  key: string;
  model: string;
}

const ANSWER_MS = 60_000;
const ANSWER_BYTES = 32 * 1024 * 1024;

/** The models that the operator configured; what has no URL is not there. */
export function openModels({ ask, embed }: { ask: Endpoint; embed: Endpoint }): Models {
  return {
    name: ask.model,
    ask: ask.url === "" ? undefined : (prompt, asking) => complete(ask, prompt, asking),
    embed: embed.url === "" ? undefined : (texts, asking) => embedAll(embed, texts, asking),
  };
}

async function complete(endpoint: Endpoint, { system, user }: { system: string; user: string }, asking: Asking): Promise<unknown> {
  const messages = [
    { role: "system", content: system },
    { role: "user", content: user },
  ];
  const body = { model: endpoint.model, messages, temperature: 0, response_format: { type: "json_object" } };
  const answer = (await post(endpoint, "chat/completions", body, asking)) as { choices?: { message?: { content?: unknown } }[] } | null;
  const content = answer?.choices?.[0]?.message?.content;
  if (typeof content !== "string") throw failed("it answered without a message");
  try {
    // Some models wrap what they were asked for in a fence.
    return JSON.parse(content.replace(/^\s*```(?:json)?\s*|\s*```\s*$/g, ""));
  } catch (error) {
    throw failed("its message is not JSON", error);
  }
}

async function embedAll(endpoint: Endpoint, texts: readonly string[], asking: Asking): Promise<number[][]> {
  const answer = (await post(endpoint, "embeddings", { model: endpoint.model, input: texts, encoding_format: "float" }, asking)) as {
    data?: { index?: number; embedding?: unknown }[];
  } | null;
  const data = answer?.data ?? [];
  return texts.map((_, at) => {
    const vector = (data.find(({ index }) => index === at) ?? data[at])?.embedding;
    if (!Array.isArray(vector) || vector.length === 0 || !vector.every((one) => Number.isFinite(one)))
      throw failed("it answered without a vector for each text");
    return unit(vector as number[]);
  });
}

function unit(vector: readonly number[]): number[] {
  const length = Math.hypot(...vector) || 1;
  return vector.map((one) => one / length);
}

async function post(endpoint: Endpoint, path: string, body: object, { signal, spent }: Asking): Promise<unknown> {
  const bounded = AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]);
  const headers: Record<string, string> = {
    "content-type": "application/json",
    ...(endpoint.key === "" ? {} : { authorization: `Bearer ${endpoint.key}` }),
  };
  try {
    const response = await fetch(`${endpoint.url.replace(/\/+$/, "")}/${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      redirect: "error",
      signal: bounded,
    });
    const text = await bodyOf(response);
    if (!response.ok) throw failed(`it answered ${response.status}`);
    const answer = JSON.parse(text) as unknown;
    spent(tokensOf(answer));
    return answer;
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw failed(error instanceof SyntaxError ? "it answered something else than JSON" : "it could not be reached in time", error);
  }
}

const Count = z.int().nonnegative().catch(0);
const Counted = z.object({
  usage: z.object({
    prompt_tokens: Count,
    completion_tokens: Count,
    prompt_tokens_details: z.object({ cached_tokens: Count }).catch({ cached_tokens: 0 }),
  }),
});

/** What an answer says that it took; nothing where it does not say. */
function tokensOf(answer: unknown): Tokens {
  const said = Counted.safeParse(answer);
  if (!said.success) return { input: 0, cached: 0, output: 0 };
  const { prompt_tokens: prompt, completion_tokens: output, prompt_tokens_details: details } = said.data.usage;
  const cached = Math.min(prompt, details.cached_tokens);
  return { input: prompt - cached, cached, output };
}

async function bodyOf(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > ANSWER_BYTES) throw failed("its answer has no end");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** What the endpoint said stays with us: it may name what it should not. */
function failed(detail: string, cause?: unknown): Problem {
  return new Problem("model_failed", { detail: `The model was asked and ${detail}` }, cause);
}
