import { call, newClient } from "#client/client.ts";
import { type Action, type ActionLog, listActions } from "#contract/action.ts";
import { LIMITS } from "#contract/limits.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT } from "./exit.ts";
import { harmless } from "./filter.ts";
import type { Style } from "./style.ts";

export const actions: Command = {
  name: "actions",
  usage: "SANDBOX",
  summary: "Tell what was done in a sandbox's browser and desktop, oldest first; also after it has ended.",
  example: "cleanroom actions 01K5ZV9QJ4T5N2W0D7X3C8B6AE",
  words: { min: 1, max: 1 },
  options: {},
  async run(given, around) {
    const log = await wholeLog(given, around);
    await around.screen.answer(given.json ? `${JSON.stringify(log, undefined, 2)}\n` : told(log, around.screen.style));
    return EXIT.ok;
  },
};

async function wholeLog(given: Given, { client, signal }: Surroundings): Promise<ActionLog> {
  const asked = newClient(client);
  const params = { sandboxId: given.positionals[0] ?? "" };
  const items: Action[] = [];
  let after: string | undefined;
  for (;;) {
    const query = { limit: LIMITS.pageMax, ...(after === undefined ? {} : { after }) };
    const { next, ...log } = await call(asked, listActions, { params, query, signal });
    items.push(...log.items);
    if (next === undefined) return { ...log, items: items.toReversed() };
    after = next;
  }
}

/** A line for each action: when, whose it was, and what it was. */
function told({ items, dropped, artifactId }: ActionLog, style: Style): string {
  const lines = items.map(({ at, by, summary }) => {
    const said = harmless(summary);
    return `${style.faint(at.slice(11, 23))}  ${by.padEnd(8)}  ${by === "page" ? style.faint(said) : said}`;
  });
  const more = Object.entries(dropped).map(([kind, count]) => style.faint(`and ${count} more of ${kind}, which were counted and not kept`));
  const kept = artifactId === undefined ? [] : [style.faint(`kept as the artifact ${artifactId}`)];
  const none = items.length === 0 ? ["Nothing was done in its browser or on its desktop."] : [];
  return [...none, ...lines, ...more, ...kept, ""].join("\n");
}
