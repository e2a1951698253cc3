import assert from "node:assert/strict";
import { after, test } from "node:test";
import { makeBox } from "#support/box.ts";
import { newTenant, openDoor } from "#support/door.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

/** A door that lets in little, so that its bounds are met by a handful of requests. */
const door = await openDoor({
  environment: {
    CLEANROOM_REQUESTS_PER_SECOND: "10",
    CLEANROOM_REQUESTS_AT_ONCE: "3",
    CLEANROOM_CONTROL_PER_SECOND: "20",
    CLEANROOM_STREAM_MIB_PER_SECOND: "1",
  },
});
after(() => door[Symbol.asyncDispose]());

test("a sandbox that is asked too often says when to come again, and its neighbour is not held up", async () => {
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  await using other = await makeBox(tenant);
  const answers = [];
  for (let count = 0; count < 40; count += 1) answers.push(await box.inside("GET", "/health"));
  const over = answers.filter(({ status }) => status === 429);
  assert.ok(over.length > 0 && over.length <= 30, `${over.length} of 40 were refused`);
  assert.match(over[0]?.headers.get("retry-after") ?? "", /^[1-9]/);
  await refused(over[0] as Response, "rate_limited");
  assert.equal((await other.inside("GET", "/health")).status, 200);
  await until("it may be asked again", async () => (await box.inside("GET", "/health")).status === 200);
});

test("what streams counts as under way until it has ended", async () => {
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  const leaving = new AbortController();
  const headers = { authorization: `Bearer ${tenant.key.apiKey}`, "content-type": "application/json", accept: "text/event-stream" };
  const body = JSON.stringify({ command: "sleep 60", timeout: 60 });
  const stream = () => fetch(`${door.origin}/sandboxes/${box.id}/processes/cmd`, { method: "POST", headers, body, signal: leaving.signal });
  for (let count = 0; count < 3; count += 1) assert.equal((await stream()).status, 200);
  await refused(await box.inside("GET", "/health"), "rate_limited");
  leaving.abort();
  await until("the streams have ended", async () => (await box.inside("GET", "/health")).status === 200);
});

test("a project that asks its control routes too often is held back, and another is not", async () => {
  const [eager, other] = [await newTenant(door), await newTenant(door)];
  const answers = await Promise.all(Array.from({ length: 120 }, () => eager.send("GET", "/api/me")));
  const over = answers.filter(({ status }) => status === 429);
  assert.ok(over.length > 0, "none of 120 was refused");
  await refused(over[0] as Response, "rate_limited");
  assert.equal((await other.send("GET", "/api/me")).status, 200);
});

test("what a sandbox streams comes whole, no faster than it may; files come as fast as they can", async () => {
  const tenant = await newTenant(door);
  await using box = await makeBox(tenant);
  const bytes = 2 * 1024 * 1024;
  const startedAtMs = performance.now();
  const answer = await box.inside(
    "POST",
    "/processes/cmd",
    { command: `head -c ${bytes} /dev/zero | tr '\\0' Q` },
    { accept: "text/event-stream" },
  );
  const streamed = await answer.text();
  const tookMs = performance.now() - startedAtMs;
  assert.equal(streamed.match(/Q/g)?.length, bytes);
  // Half a MiB goes at once, the rest at one a second.
  assert.ok(tookMs > 1000, `${tookMs} ms for 2 MiB`);
  await box.inside("PUT", "/files/content?path=large", "y".repeat(8 * bytes));
  const fromMs = performance.now();
  assert.equal((await (await box.inside("GET", "/files/content?path=large")).arrayBuffer()).byteLength, 8 * bytes);
  assert.ok(performance.now() - fromMs < 8000, "16 MiB of a file were held to a MiB a second");
});
