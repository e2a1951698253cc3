import { call, newClient } from "#client/client.ts";
import { listTemplates, type Template } from "#contract/template.ts";
import type { Command } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { table } from "./table.ts";

export const template: Command = {
  name: "template",
  usage: "ls",
  summary: "List what sandboxes can be made from.",
  example: "cleanroom template ls",
  words: { min: 1, max: 1 },
  options: {},
  async run(given, { screen, client, signal }) {
    if (given.positionals[0] !== "ls")
      throw refusal(EXIT.usage, "cleanroom template takes ls", "`cleanroom template --help` shows an example.");
    const found: Template[] = [];
    let after: string | undefined;
    do {
      const page = await call(newClient(client), listTemplates, { query: { after }, signal });
      found.push(...page.items);
      after = page.next;
    } while (after !== undefined);
    if (given.json) await screen.answer(`${JSON.stringify(found, undefined, 2)}\n`);
    else await screen.answer(table(screen.style, ["NAME", "TYPE", "CPU", "MEMORY", "DISK", "ABOUT"], found.map(rowOf)));
    return EXIT.ok;
  },
};

function rowOf({ name, type, cpu, memoryMiB, diskMiB, description }: Template): string[] {
  return [name, type, String(cpu), `${memoryMiB} MiB`, `${diskMiB} MiB`, description];
}
