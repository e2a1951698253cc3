import { randomUUID } from "node:crypto";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Queue } from "#core/ports.ts";

interface Message {
  id: string;
  queue: string;
  body: string;
  visibleAt: number;
  attempts: number;
  dead: boolean;
  receipt?: string | undefined;
}

/** Queues in memory, on the clock that they are given. */
export function memoryQueue({ maxAttempts, now }: { maxAttempts: number; now: () => number }): Queue & AsyncDisposable {
  const messages = new Map<string, Message>();

  function bury(queue: string): Message[] {
    const ours = [...messages.values()].filter((message) => message.queue === queue).toSorted((a, b) => a.visibleAt - b.visibleAt);
    for (const message of ours) {
      if (message.visibleAt <= now() && message.attempts >= maxAttempts) Object.assign(message, { dead: true, receipt: undefined });
    }
    return ours;
  }

  const held = (queue: string, receipt: string) =>
    messages
      .values()
      .find((message) => message.queue === queue && message.receipt === receipt && !message.dead && message.visibleAt > now());

  return {
    async send(queue, body, options) {
      if (Buffer.byteLength(body) > LIMITS.messageBytes) throw new Problem("body_too_large", { maxBytes: LIMITS.messageBytes });
      if (!body.isWellFormed()) throw new Problem("invalid_request");
      const id = randomUUID();
      messages.set(id, { id, queue, body, visibleAt: now() + delayOf(options), attempts: 0, dead: false });
      return id;
    },
    async receive(queue, { max, visibilityMs }) {
      if (max < 1 || visibilityMs < 1 || visibilityMs > LIMITS.messageVisibilityMs)
        throw new Problem("invalid_request", { max, visibilityMs });
      const due = bury(queue).filter((message) => !message.dead && message.visibleAt <= now());
      return due.slice(0, max).map((message) => {
        const receipt = randomUUID();
        Object.assign(message, { receipt, attempts: message.attempts + 1, visibleAt: now() + visibilityMs });
        return { id: message.id, receipt, body: message.body, attempts: message.attempts };
      });
    },
    async acknowledge(queue, receipt) {
      const message = held(queue, receipt);
      return message !== undefined && messages.delete(message.id);
    },
    async release(queue, receipt, options) {
      const message = held(queue, receipt);
      if (!message) return false;
      Object.assign(message, { receipt: undefined, visibleAt: now() + delayOf(options), dead: message.attempts >= maxAttempts });
      return true;
    },
    async deadLetters(queue, limit) {
      const dead = bury(queue).filter((message) => message.dead);
      return dead.slice(0, limit).map(({ id, body, attempts }) => ({ id, body, attempts }));
    },
    async redrive(queue, id) {
      const message = messages.get(id);
      if (message?.queue !== queue || !message.dead) return false;
      Object.assign(message, { dead: false, attempts: 0, visibleAt: now() });
      return true;
    },
    async [Symbol.asyncDispose]() {},
  };
}

function delayOf(options: { delayMs?: number } | undefined): number {
  const delayMs = options?.delayMs ?? 0;
  if (!(delayMs >= 0 && delayMs <= LIMITS.messageDelayMs)) throw new Problem("invalid_request", { delayMs });
  return delayMs;
}
