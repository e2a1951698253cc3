import { basename, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Artifacts } from "#client/artifacts.ts";
import type { Artifact } from "#contract/artifact.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { ago, inBytes } from "./figures.ts";
import { harmless } from "./filter.ts";
import { table } from "./table.ts";

export const artifact: Command = {
  name: "artifact",
  usage: "ls | get ID | rm ID…",
  summary: "List what was kept, fetch one to a file (checked against its hash), or delete some.",
  example: "cleanroom artifact get 01KA7Q3Z9M4T2V6X8Y0B1C5D7E --output summary.md",
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {
    output: { type: "string", short: "o", value: "FILE", about: "get: where to write it (its own name, here); - is standard output" },
    sandbox: { type: "string", value: "ID", about: "ls: only of this sandbox" },
  },
  async run(given, around) {
    const [verb = "", ...ids] = given.positionals;
    if (verb === "ls" && ids.length === 0) return await list(given, around);
    if (verb === "get" && ids.length === 1) return await get(given, around, ids[0] ?? "");
    if (verb === "rm" && ids.length > 0) return await remove(given, around, ids);
    throw refusal(EXIT.usage, `cleanroom artifact takes ${this.usage}`, "`cleanroom artifact --help` shows an example.");
  },
};

async function list(given: Given, { screen, client, signal }: Surroundings): Promise<number> {
  const found = await Artifacts.list({ ...client, sandboxId: given.text("sandbox"), signal });
  if (given.json) await screen.answer(`${JSON.stringify(found, undefined, 2)}\n`);
  else if (found.length === 0) screen.note("Nothing is kept.\n");
  else await screen.answer(table(screen.style, ["ID", "NAME", "SIZE", "KEPT", "TYPE", "SANDBOX"], found.map(rowOf)));
  return EXIT.ok;
}

function rowOf(one: Artifact): string[] {
  return [one.id, one.name, inBytes(one.sizeBytes), ago(one.createdAt, Date.now()), one.mediaType, one.sandboxId];
}

async function get(given: Given, { screen, client, signal }: Surroundings, id: string): Promise<number> {
  const output = given.text("output");
  if (output === "-") {
    const bytes = await Artifacts.download(id, { ...client, format: "stream", signal });
    await pipeline(Readable.fromWeb(bytes as never), process.stdout, { end: false });
    return EXIT.ok;
  }
  const about = await Artifacts.get(id, { ...client, signal });
  // The name is the sandbox's word: only its last part becomes a local file, and never over one that is there.
  const file = output === undefined ? resolve(basename(about.name) || about.id) : resolve(output);
  await Artifacts.save(id, file, { ...client, signal, replace: output !== undefined });
  if (given.json) await screen.answer(`${JSON.stringify({ ...about, file }, undefined, 2)}\n`);
  else await screen.answer(`${harmless(file)}  ${inBytes(about.sizeBytes)}  sha256 ${about.sha256}\n`);
  return EXIT.ok;
}

async function remove(given: Given, { screen, client, signal }: Surroundings, ids: string[]): Promise<number> {
  for (const id of ids) {
    await Artifacts.remove(id, { ...client, signal });
    if (!given.json) await screen.answer(`${id} is deleted\n`);
  }
  if (given.json) await screen.answer(`${JSON.stringify({ deleted: ids })}\n`);
  return EXIT.ok;
}
