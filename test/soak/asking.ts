import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import { Problem, type ProblemCode } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { countUp, type Ledger } from "./ledger.ts";

/** A client that asks again as Problems say it may, for so long. */
export interface Asker {
  /**
   * Answers the body of a success, or throws the Problem that asking again did not help. `again` says of both that it was
   * asked more than once.
   */
  ask<S extends z.ZodType>(
    returns: S,
    method: string,
    path: string,
    body?: object,
    patience?: Patience,
  ): Promise<{ value: z.output<S>; again: boolean }>;
}

/** How long one answer, and all tries together, may take. `asking` is called for each try. */
export interface Patience {
  answerMs: number;
  untilMs: number;
  asking?: () => void;
}

const Failure = z.looseObject({
  code: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
  error: z.looseObject({ details: z.record(z.string(), z.unknown()) }).optional(),
});
/** Nothing that a soak asks for takes long, except to wait for the maker of a sandbox, which may be dead. */
const LONG: Patience = { answerMs: 90_000, untilMs: 240_000 };
const LEAST_WAIT_MS = 50;
const MOST_WAIT_MS = 1000;

export function askerOf(caller: { origin: string; apiKey: string }, ledger: Ledger): Asker {
  return {
    async ask(returns, method, path, body, patience = LONG) {
      const until = Date.now() + patience.untilMs;
      for (let tries = 1; ; tries += 1) {
        patience.asking?.();
        const answer = await once(caller, patience.answerMs, method, path, body);
        if (answer && answer.status < 300) return { value: returns.parse(answer.body), again: tries > 1 };
        const problem = answer && problemOf(answer, tries > 1);
        if (problem?.code === "internal") ledger.faults.push(`${method} ${path} was answered ${JSON.stringify(answer?.body)}`);
        if (problem && !PROBLEMS[problem.code].retry) throw problem;
        countUp(ledger.retries, problem?.code ?? "no answer");
        if (Date.now() > until) throw problem ?? new Problem("timeout", { detail: `${method} ${path} is not answered`, unanswered: true });
        await delay(Math.min(LEAST_WAIT_MS * 2 ** tries, MOST_WAIT_MS));
      }
    },
  };
}

/** Undefined when no whole answer came. */
async function once(
  { origin, apiKey }: { origin: string; apiKey: string },
  answerMs: number,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; body: unknown } | undefined> {
  const headers = { authorization: `Bearer ${apiKey}`, ...(body === undefined ? {} : { "content-type": "application/json" }) };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  let status: number;
  let text: string;
  try {
    const response = await fetch(`${origin}${path}`, { method, headers, ...sent, signal: AbortSignal.timeout(answerMs) });
    status = response.status;
    text = await response.text();
  } catch {
    return undefined;
  }
  return { status, body: text === "" ? undefined : JSON.parse(text) };
}

/** AgentRun's failures carry the Problem one level down. */
function problemOf({ body, status }: { body: unknown; status: number }, again: boolean): Problem {
  const { code, details, error } = Failure.parse(body);
  const facts = error?.details ?? details ?? {};
  const own = typeof facts["problem"] === "string" ? facts["problem"] : code;
  if (!(own in PROBLEMS)) throw new Error(`An answer of ${status} is no Problem: ${JSON.stringify(body)}`);
  return new Problem(own as ProblemCode, { ...facts, body, again });
}
