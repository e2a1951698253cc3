import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { openDoor, newTenant, startDoor, type Tenant } from "#support/door.ts";
import type { UsageReport } from "#contract/usage.ts";
import { modelServer } from "#support/model-server.ts";
import { until } from "#support/until.ts";

const door = await openDoor();
after(() => door[Symbol.asyncDispose]());

const TIMEOUT = { timeout: 240_000 };
const HOME = "/api/memory/collections";

interface Record_ {
  id: string;
  text: string;
  session?: string;
}
interface Hits {
  hits: { record: Record_; score: number; why: { kind: string; word: string; field: string }[] }[];
}

async function notes(tenant: Tenant, spec: object = {}) {
  await tenant.json("POST", HOME, { name: "notes", ...spec }, 201);
  const base = `${HOME}/notes`;
  return {
    say: (events: object[], scope: object = { session: "s1" }) =>
      tenant.json<{ events: Record_[]; records: Record_[] }>("POST", `${base}/events`, { ...scope, events }, 201),
    find: async (query: string, more: object = {}) => (await tenant.json<Hits>("POST", `${base}/search`, { query, ...more })).hits,
    get: <T>(path: string) => tenant.json<T>("GET", `${base}${path}`),
    post: <T>(path: string, body: object, status = 200) => tenant.json<T>("POST", `${base}${path}`, body, status),
  };
}

test("what was said is found by its words, its neighbours and its date, and says why; and all of it reads back", TIMEOUT, async () => {
  const tenant = await newTenant(door);
  const { say, find, get, post } = await notes(tenant);
  const { events, records } = await say([
    { text: "Did you ever see the northern lights?", speaker: "Melanie", at: "2023-05-08T10:00:00Z" },
    { text: "Yes, in Tromsø!", role: "assistant", speaker: "Caroline", at: "2023-05-08T10:01:00Z", metadata: { turn: "2" } },
  ]);
  assert.deepEqual(await get("/events?session=s1"), { items: events });
  assert.deepEqual(await get("/events?session=s1&last=1"), { items: [events[1]] });
  const [first, second] = await find("northern lights");
  assert.deepEqual(
    [first?.record.id, second?.record.id],
    records.map(({ id }) => id),
  );
  assert.equal(second?.why[0]?.field, "before");
  assert.equal(
    (await find("Who went to Tromso in May 2023?"))[0]?.why.some(({ kind }) => kind === "date"),
    true,
  );
  const added = await post<Record_>("/records", { text: "Caroline likes 冰淇淋", type: "preference", user: "caroline" }, 201);
  assert.equal((await find("谁喜欢冰淇淋?"))[0]?.record.id, added.id);
  const revised = await post<Record_>(`/records/${added.id}/revisions`, { text: "Caroline prefers tea" }, 201);
  assert.deepEqual(
    (await get<{ items: Record_[] }>(`/records/${revised.id}/history`)).items.map(({ text }) => text),
    ["Caroline likes 冰淇淋", "Caroline prefers tea"],
  );
  assert.equal((await get<Record_>(`/records/${added.id}`)).text, "Caroline likes 冰淇淋");
  assert.deepEqual((await get<{ items: Record_[] }>("/records?user=caroline")).items, [revised]);
  assert.equal((await get<{ documents: number }>("")).documents, 7);
  assert.equal((await tenant.json<{ items: object[] }>("GET", HOME)).items.length, 1);
});

/** What is in a file; nothing is in one that another project's collection has just taken along. */
function contentOf(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  }
}

test("what was forgotten is gone from the answers and from the disk, and a tombstone is left", TIMEOUT, async () => {
  const tenant = await newTenant(door);
  const { say, find, post } = await notes(tenant);
  await say([{ text: "I am fine" }, { text: "My code is zanzibarquokka" }, { text: "Good" }], { session: "s1", user: "ann" });
  const disk = () =>
    globSync(join(door.dataDir, "{memory,tables}*{,/*}"))
      .filter((file) => /\.db(-wal)?$/.test(file))
      .map(contentOf)
      .join("");
  assert.match(disk(), /zanzibarquokka/);
  const stone = await post<{ id: string; events: number; records: number }>("/forget", { filter: { user: "ann" } });
  assert.deepEqual([stone.events, stone.records], [3, 3]);
  assert.deepEqual(await find("zanzibarquokka"), []);
  assert.doesNotMatch(disk(), /zanzibarquokka/);
  assert.equal((await tenant.json<{ items: { id: string }[] }>("GET", "/api/memory/tombstones")).items[0]?.id, stone.id);
});

test("an export is read into another project's collection and exported alike; a deleted collection is gone", TIMEOUT, async () => {
  const [tenant, other] = [await newTenant(door), await newTenant(door)];
  const { say } = await notes(tenant);
  await notes(other);
  await say(Array.from({ length: 100 }, (_, n) => ({ text: `Turn ${n} <script>alert(1)</script> " OR NEAR(` })));
  const text = await (await tenant.send("GET", `${HOME}/notes/export`)).text();
  assert.equal(text.trim().split("\n").length, 201);
  assert.deepEqual(await (await other.send("POST", `${HOME}/notes/import`, text, { "content-type": "application/x-ndjson" })).json(), {
    events: 100,
    records: 100,
    lines: 201,
  });
  assert.equal(await (await other.send("GET", `${HOME}/notes/export`)).text(), text);
  await tenant.json("DELETE", `${HOME}/notes`, undefined, 204);
  await tenant.json("GET", `${HOME}/notes`, undefined, 404);
  assert.equal((await other.json<Hits>("POST", `${HOME}/notes/search`, { query: "turn" })).hits.length, 10);
});

test("bad input gets a Problem that names it: too long, too much, unknown, empty, no model", TIMEOUT, async () => {
  const tenant = await newTenant(door);
  const { post, find } = await notes(tenant);
  const refused = async (path: string, body: object, code: string, status: number) => {
    const answer = await post<{ code: string; next: string }>(path, body, status);
    assert.equal(answer.code, code);
    assert.ok(answer.next.length > 10);
  };
  await refused("/records", { text: "x".repeat(1_000_000) }, "invalid_request", 400);
  await refused("/records", { text: "x".repeat(3_000_000) }, "body_too_large", 413);
  await refused("/search", { query: "x".repeat(10_001) }, "invalid_request", 400);
  await refused("/search", { query: "tea", surprise: 1 }, "invalid_request", 400);
  await refused("/forget", { filter: {} }, "invalid_request", 400);
  await refused("/events", { session: "s", events: [] }, "invalid_request", 400);
  assert.deepEqual(await find(`${"word ".repeat(1990)}"*) OR NEAR(a,`), []);
  const answer = await tenant.json<{ code: string }>("POST", HOME, { name: "smart", extraction: { by: "model" } }, 501);
  assert.equal(answer.code, "not_supported");
});

test(
  "a configured model extracts, and its embeddings find by meaning; when it fails nothing is half kept; and the sweep forgets what expires",
  TIMEOUT,
  async () => {
    const asked: { system: string; user: string }[] = [];
    let works = true;
    await using model = await modelServer((prompt) => {
      asked.push(prompt);
      return works ? '```json\n{"memories":[{"type":"fact","text":"Ann drives an automobile","lines":[1]}]}\n```' : undefined;
    });
    const url = `${model.url}/v1`;
    await using smart = await startDoor({
      CLEANROOM_MODEL_URL: url,
      CLEANROOM_MODEL: "tiny",
      CLEANROOM_MODEL_KEY: "secret-key",
      CLEANROOM_EMBEDDING_URL: url,
      CLEANROOM_SWEEP_EVERY: "@every 1s",
      CLEANROOM_USAGE_INTERVAL_S: "1",
      CLEANROOM_MIN_PREPARED: "0",
      CLEANROOM_MAX_PREPARED: "0",
    });
    const tenant = await newTenant(smart);
    const { say, find, get, post } = await notes(tenant, { extraction: { by: "model", types: ["fact"] }, embeddings: true });
    await say([{ text: "I went by automobile" }]);
    assert.equal(model.received[0]?.headers["authorization"], "Bearer secret-key");
    const [hit] = await find("Has she got a car?");
    assert.equal(hit?.record.text, "Ann drives an automobile");
    assert.ok(hit.why.some(({ kind }) => kind === "meaning"));
    // What a model's endpoint says that it took is the project's to know, of each kind.
    const tokens = async () => {
      const report = await tenant.json<UsageReport>("GET", "/api/usage");
      const used = new Map(report.items[0]?.lines.map(({ meter, quantity }) => [meter, quantity]));
      const meters = ["model_input_tokens", "model_cached_tokens", "model_output_tokens", "embedding_tokens"] as const;
      return meters.map((meter) => used.get(meter) ?? 0);
    };
    await until("tokens are counted, each once", async () => String(await tokens()) === "100,20,30,2", 30_000);
    works = false;
    assert.equal((await post<{ code: string }>("/events", { session: "s1", events: [{ text: "lost" }] }, 502)).code, "model_failed");
    assert.equal((await get<{ items: object[] }>("/events")).items.length, 1);
    const { documents } = await get<{ documents: number }>("");
    await post("/records", { text: "short", lifeMs: 1000 }, 201);
    await until("the sweep has forgotten it", async () => (await get<{ documents: number }>("")).documents === documents, 30_000);
    assert.ok(asked.length >= 2);
  },
);
