import { Snapshots } from "#client/snapshots.ts";
import type { Snapshot } from "#contract/snapshot.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { ago, inBytes } from "./figures.ts";
import { table } from "./table.ts";

export const snapshot: Command = {
  name: "snapshot",
  usage: "ls | rm NAME…",
  summary: "List the files that were kept of whole sandboxes, or delete some. `sandbox snapshot ID NAME` takes one.",
  example: "cleanroom sandbox create --snapshot halfway",
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {},
  async run(given, around) {
    const [verb = "", ...names] = given.positionals;
    if (verb === "ls" && names.length === 0) return await list(given, around);
    if (verb === "rm" && names.length > 0) return await remove(given, around, names);
    throw refusal(EXIT.usage, `cleanroom snapshot takes ${this.usage}`, "`cleanroom snapshot --help` shows an example.");
  },
};

async function list(given: Given, { screen, client, signal }: Surroundings): Promise<number> {
  const found = await Snapshots.list({ ...client, signal });
  if (given.json) await screen.answer(`${JSON.stringify(found, undefined, 2)}\n`);
  else if (found.length === 0) screen.note("There is no snapshot. `cleanroom sandbox snapshot ID NAME` takes one.\n");
  else await screen.answer(table(screen.style, ["NAME", "FILES", "SIZE", "TAKEN", "TEMPLATE", "SANDBOX"], found.map(rowOf)));
  return EXIT.ok;
}

function rowOf(one: Snapshot): string[] {
  return [one.name, String(one.files), inBytes(one.sizeBytes), ago(one.createdAt, Date.now()), one.template, one.sandboxId];
}

async function remove(given: Given, { screen, client, signal }: Surroundings, names: string[]): Promise<number> {
  for (const name of names) {
    await Snapshots.remove(name, { ...client, signal });
    if (!given.json) await screen.answer(`${name} is deleted\n`);
  }
  if (given.json) await screen.answer(`${JSON.stringify({ deleted: names })}\n`);
  return EXIT.ok;
}
