import type { ServerContext } from "@modelcontextprotocol/server";

/** What happens in between is told with the next word. */
const AT_MOST_EVERY_MS = 200;
/** Work that says nothing is told of too: a client that hears nothing for long gives up. */
const AT_LEAST_EVERY_MS = 5_000;
const WORDS_MAX = 400;

/** Tells a client that asked for it how its call gets on, in milliseconds since it began, with the last words that were printed. */
export function openProgress({ mcpReq }: ServerContext): { say(words: string): void } & Disposable {
  const token = mcpReq._meta?.progressToken;
  if (token === undefined) return { say() {}, [Symbol.dispose]() {} };
  const startedAtMs = performance.now();
  let last = 0;
  let waiting = "";
  let ended = false;

  function tell(): void {
    if (ended || mcpReq.signal.aborted) return;
    last = Math.max(last + 1, Math.round(performance.now() - startedAtMs));
    const message = waiting.trimEnd();
    waiting = "";
    const params = { progressToken: token as string | number, progress: last, ...(message === "" ? {} : { message }) };
    // Who has left hears nothing; that it left is seen where its call ends.
    mcpReq.notify({ method: "notifications/progress", params }).catch(() => {});
  }

  const timer = setInterval(tell, AT_LEAST_EVERY_MS);
  return {
    say(words) {
      waiting = (waiting + words).slice(-WORDS_MAX).toWellFormed();
      if (performance.now() - startedAtMs - last >= AT_MOST_EVERY_MS) tell();
    },
    [Symbol.dispose]() {
      ended = true;
      clearInterval(timer);
    },
  };
}
