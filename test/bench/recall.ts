import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { parseArgs } from "node:util";
import type { MemoryRecord } from "#contract/memory.ts";
import { recordDoc, saidBy } from "#core/memory/documents.ts";
import { askedWords } from "#core/memory/find.ts";
import type { Search, SearchDoc } from "#core/ports.ts";
import { createSearch } from "#infra/local/stores/search.ts";
import { conversation, type Conversation, type Question, type Turn } from "./conversations.ts";
import { percentile } from "./stats.ts";

// How well and how fast memory is found: `npm run bench:memory [-- --records N --conversations N]`.

const { values } = parseArgs({
  options: {
    records: { type: "string", default: "100000" },
    conversations: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
  },
});
const AT = [1, 5, 10];
const NOW = Date.UTC(2024, 0, 1);

const dir = await mkdtemp(join(tmpdir(), "cleanroom-recall-"));
try {
  await using search = createSearch(dir);
  await recall(search);
  await speed(search, Number(values.records));
} finally {
  await rm(dir, { recursive: true, force: true });
}

/** Turns of one conversation among those of that conversation, as plain FTS5 and as memory finds them. */
async function recall(search: Search): Promise<void> {
  const count = Number(values.conversations);
  for (const language of ["en", "zh", "ja"] as const) {
    const sums = new Map<string, number[]>();
    let turns = 0;
    for (let n = 0; n < count; n += 1) {
      const made = conversation(Number(values.seed) * 1000 + n, language);
      const space = `recall.${language}.${n}`;
      await search.index(space, docsOf(made));
      turns += made.sessions.flat().length;
      const plain = plainFts5(made.sessions.flat());
      for (const question of made.questions) {
        add(sums, "plain FTS5", question, plain(question.text));
        const hits = await search.query(space, { words: askedWords(question.text, NOW), filter: {}, limit: 10, nowMs: NOW });
        add(
          sums,
          "memory",
          question,
          hits.map(({ id }) => id),
        );
      }
    }
    const recallAt = (name: string, at: number) => {
      const [asked = 1, ...found] = sums.get(name) ?? [];
      return (found[AT.indexOf(at)] ?? 0) / asked;
    };
    const gained = 100 * (recallAt("memory", 10) - recallAt("plain FTS5", 10));
    console.log(
      `${language}: ${count} made-up conversations of ${Math.round(turns / count)} turns, seed ${values.seed}: R@10 is ${gained.toFixed(1)} points above plain FTS5`,
    );
    console.table(
      Object.fromEntries(
        [...sums]
          .toSorted(([one], [other]) => (one < other ? -1 : 1))
          .map(([name, [asked = 1]]) => [
            name,
            { questions: asked, ...Object.fromEntries(AT.map((at) => [`R@${at}`, recallAt(name, at).toFixed(3)])) },
          ]),
      ),
    );
  }
}

function add(sums: Map<string, number[]>, way: string, { kind, gold }: Question, found: readonly string[]): void {
  for (const name of [way, `${way}: ${kind}`]) {
    const sum = sums.get(name) ?? [0, 0, 0, 0];
    sum[0] = (sum[0] ?? 0) + 1;
    for (const [i, at] of AT.entries())
      sum[i + 1] = (sum[i + 1] ?? 0) + gold.filter((id) => found.slice(0, at).includes(id)).length / gold.length;
    sums.set(name, sum);
  }
}

function docsOf({ sessions }: Conversation): SearchDoc[] {
  return sessions.flatMap((turns) => {
    const plain = turns.map((turn) => recordDoc({ record: recordOf(turn) }));
    return plain.map((doc, at) => ({ ...doc, before: saidBy(plain[at - 1]), after: saidBy(plain[at + 1]) }));
  });
}

function recordOf({ id, speaker, text, at }: Turn): MemoryRecord {
  const source = { events: [], sha256: "", extractor: { name: "as_given", version: "1" } };
  return { id, type: "text", text, speaker, metadata: {}, confidence: 1, at, validFrom: at, source, createdAt: at };
}

/** What anybody has without more: porter's stems, any of the words, FTS5's own order. */
function plainFts5(turns: readonly Turn[]): (question: string) => string[] {
  const db = new DatabaseSync(":memory:");
  db.exec("CREATE VIRTUAL TABLE turns USING fts5(id UNINDEXED, text, tokenize = 'porter unicode61')");
  const insert = db.prepare("INSERT INTO turns VALUES (?, ?)");
  for (const { id, speaker, text } of turns) insert.run(id, `${speaker}: ${text}`);
  const find = db.prepare("SELECT id FROM turns WHERE turns MATCH ? ORDER BY rank LIMIT 10");
  return (question) => {
    const words = question.match(/[\p{L}\p{N}]+/gu) ?? [];
    return find.all(words.map((one) => `"${one}"`).join(" OR ")).map((row) => String(row["id"]));
  };
}

function word(): string {
  return `w${Math.floor(30_000 ** Math.random())}`;
}

/** Records of a vocabulary as uneven as a language's, and questions of five words each. */
async function speed(search: Search, records: number): Promise<void> {
  const startedAtMs = performance.now();
  for (let at = 0; at < records; at += 2000) {
    const docs = Array.from({ length: Math.min(2000, records - at) }, (_, n): SearchDoc => {
      const words = Array.from({ length: 16 }, word);
      const id = `mem_${String(at + n).padStart(9, "0")}`;
      return {
        id,
        atMs: NOW - n,
        facets: { user: `u${(at + n) % 1000}` },
        words,
        before: words.slice(0, 8),
        after: words.slice(8),
        value: { text: words.join(" ") },
      };
    });
    await search.index("speed", docs);
  }
  const indexedMs = performance.now() - startedAtMs;
  const rows: Record<string, object> = {};
  for (const [name, filter] of [
    ["all", {}],
    ["one user of 1,000", { facets: { user: ["u7"] } }],
  ] as const) {
    const times: number[] = [];
    for (let n = 0; n < 300; n += 1) {
      const words = Array.from({ length: 5 }, () => ({ word: `w${10 + Math.floor(3000 ** Math.random())}`, weight: 1 }));
      const askedAtMs = performance.now();
      await search.query("speed", { words, filter, limit: 10, nowMs: NOW });
      times.push(performance.now() - askedAtMs);
    }
    times.sort((a, b) => a - b);
    rows[name] = { "p50 ms": percentile(times, 0.5).toFixed(2), "p95 ms": percentile(times, 0.95).toFixed(2) };
  }
  const { bytes } = await search.size("speed");
  console.log(
    `${records} records: ${(records / (indexedMs / 1000)).toFixed(0)} written a second, ${(bytes / 2 ** 20).toFixed(0)} MiB on the disk, ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB of memory`,
  );
  console.table(rows);
}
