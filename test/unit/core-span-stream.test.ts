import assert from "node:assert/strict";
import { test } from "node:test";
import { LIMITS as BOUNDS } from "#contract/limits.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { recordSpan } from "#core/span.ts";
import { followSpans } from "#core/span-stream.ts";
import { openTraces } from "#core/traces.ts";
import { CORE_LIMITS as LIMITS, openCore, projectOf, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");

test("spans are followed as they are written, each once, whichever process writes them", async () => {
  const { platform, clock, events } = openCore();
  await createSandbox(platform, LIMITS, ONE, spec({ id: "mine-1" }));
  const sandbox = (await platform.tables.get<never>("sandboxes", "p1/mine-1"))?.value ?? assert.fail();
  const stop = new AbortController();
  const news = await followSpans(platform, ONE, {}, stop.signal);
  const names: string[] = [];
  await news.next();
  recordSpan(platform, sandbox, { kind: "command", name: "ours" });
  await platform.traces.flush();
  const other = { ...platform, traces: openTraces(platform.tables, clock, { event: (name, facts) => void events.push({ name, facts }) }) };
  recordSpan(other, sandbox, { kind: "command", name: "theirs" });
  await other.traces.flush();
  await endSandbox(platform, ONE, "mine-1", "deleted");
  await platform.traces.flush();
  for await (const one of news) {
    if ("span" in one) names.push(one.span.name);
    if (names.some((name) => name.startsWith("sandbox "))) break;
  }
  stop.abort();
  for (const name of ["ours", "theirs"]) assert.equal(names.filter((one) => one === name).length, 1, names.join(", "));
});

test("a project follows its spans so many times at once, and no more", async () => {
  const { platform } = openCore();
  const stop = new AbortController();
  for (let n = 0; n < BOUNDS.spanStreams; n += 1) await followSpans(platform, ONE, {}, stop.signal);
  await assert.rejects(followSpans(platform, ONE, {}, stop.signal), isProblem("rate_limited"));
  await followSpans(platform, projectOf("p2"), {}, stop.signal);
  stop.abort();
  await assert.rejects(followSpans(platform, ONE, {}, AbortSignal.abort()));
  await followSpans(platform, ONE, {}, new AbortController().signal);
});
