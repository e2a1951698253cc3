import { createReadStream, createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Memory } from "#client/memory.ts";
import type { MemoryHit, MemoryRecord } from "#contract/memory.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { ago } from "./figures.ts";
import { harmless } from "./filter.ts";
import { table } from "./table.ts";

const COLLECTION = "default";
const TEXT_SHOWN = 100;

export const memory: Command = {
  name: "memory",
  usage: "add TEXT | search QUERY | list | forget ID… | export | import",
  summary: "Remember, find and forget what should outlive every sandbox.",
  example: 'cleanroom memory search "what did Ann say about the budget in May 2023" --user ann',
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {
    collection: { type: "string", short: "c", value: "NAME", about: `which collection (${COLLECTION}); it is made if there is none` },
    user: { type: "string", value: "ID", about: "add, search, list, export: of this user; forget: all that is this user's" },
    session: { type: "string", value: "ID", about: "the same for a session" },
    limit: { type: "string", value: "N", about: "search: how many (10)" },
    file: { type: "string", short: "f", value: "FILE", about: "export, import: where to (standard output) or from (standard input)" },
  },
  async run(given, around) {
    const [verb = "", ...words] = given.positionals;
    const ownWords = verb === "add" || verb === "search" || (verb === "forget" && !hasScope(given));
    const run = RUNS[verb];
    if (!run || ownWords !== words.length > 0)
      throw refusal(EXIT.usage, `cleanroom memory takes ${this.usage}`, "`cleanroom memory --help` shows an example.");
    const opened = await Memory.open(given.text("collection") ?? COLLECTION, { ...around.client, signal: around.signal });
    return run(opened, given, around, words);
  },
};

type Run = (memories: Memory, given: Given, around: Surroundings, words: string[]) => Promise<number>;

const RUNS: Record<string, Run> = {
  async add(memories, given, { screen }, words) {
    const record = await memories.add(words.join(" "), scopeOf(given));
    await screen.answer(given.json ? `${JSON.stringify(record, undefined, 2)}\n` : `${record.id}\n`);
    return EXIT.ok;
  },
  async search(memories, given, { screen }, words) {
    const limit = given.text("limit");
    const hits = await memories.search(words.join(" "), {
      filter: scopeOf(given),
      ...(limit === undefined ? {} : { limit: Number(limit) }),
    });
    if (given.json) await screen.answer(`${JSON.stringify(hits, undefined, 2)}\n`);
    else if (hits.length === 0) screen.note("Nothing is remembered of it.\n");
    else await screen.answer(table(screen.style, ["SCORE", "SAID", "TEXT", "BY"], hits.map(hitRow)));
    return EXIT.ok;
  },
  async list(memories, given, { screen }) {
    const records = await memories.records(scopeOf(given));
    if (given.json) await screen.answer(`${JSON.stringify(records, undefined, 2)}\n`);
    else if (records.length === 0) screen.note("Nothing is remembered.\n");
    else await screen.answer(table(screen.style, ["ID", "SAID", "USER", "TEXT"], records.map(recordRow)));
    return EXIT.ok;
  },
  async forget(memories, given, { screen }, ids) {
    const stone = await memories.forget(hasScope(given) ? { filter: scopeOf(given) } : { ids });
    await screen.answer(
      given.json ? `${JSON.stringify(stone, undefined, 2)}\n` : `${stone.events} events and ${stone.records} records are forgotten\n`,
    );
    return EXIT.ok;
  },
  async export(memories, given, { signal }) {
    const file = given.text("file");
    const lines = Readable.from(memories.export(scopeOf(given), signal));
    if (file === undefined) await pipeline(lines, process.stdout, { end: false });
    else await pipeline(lines, createWriteStream(file, { flags: "wx", mode: 0o600 }));
    return EXIT.ok;
  },
  async import(memories, given, { screen, signal }) {
    const file = given.text("file");
    const source = file === undefined ? process.stdin : createReadStream(file);
    const counts = await memories.import(Readable.toWeb(source) as never, signal);
    await screen.answer(given.json ? `${JSON.stringify(counts)}\n` : `${counts.events} events and ${counts.records} records are in\n`);
    return EXIT.ok;
  },
};

function scopeOf(given: Given): { user?: string; session?: string } {
  const [user, session] = [given.text("user"), given.text("session")];
  return { ...(user === undefined ? {} : { user }), ...(session === undefined ? {} : { session }) };
}

function hasScope(given: Given): boolean {
  return Object.keys(scopeOf(given)).length > 0;
}

function hitRow({ score, record, why }: MemoryHit): string[] {
  const by = why
    .slice(0, 4)
    .map(({ kind, word, field }) => (kind === "meaning" ? "meaning" : field === "text" ? word : `${word} (${field})`));
  return [score.toFixed(2), ago(record.at, Date.now()), shown(record.text), by.join(" ")];
}

function recordRow(record: MemoryRecord): string[] {
  return [record.id, ago(record.at, Date.now()), record.user ?? "", shown(record.text)];
}

function shown(text: string): string {
  return harmless(text.length > TEXT_SHOWN ? `${text.slice(0, TEXT_SHOWN)}…` : text);
}
