import { resolve } from "node:path";
import { localConfig } from "#infra/config.ts";
import type { AddedImage } from "#infra/images.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { ago, inBytes } from "./figures.ts";
import { harmless } from "./filter.ts";
import { table } from "./table.ts";

export const image: Command = {
  name: "image",
  usage: "add FILE NAME | ls | rm NAME…",
  summary: "Keep images that templates of the type CustomImage name: an OCI layout, or a tar of one or of `docker save`.",
  example: "cleanroom image add app.tar registry.example.com/team/app:1",
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {},
  async run(given, around) {
    const [verb = "", ...words] = given.positionals;
    const [file = "", name = ""] = words;
    if (verb === "add" && words.length === 2) return await add(given, around, resolve(file), name);
    if (verb === "ls" && words.length === 0) return await list(given, around);
    if (verb === "rm" && words.length > 0) return await remove(given, around, words);
    throw refusal(EXIT.usage, `cleanroom image takes ${this.usage}`, "`cleanroom image --help` shows an example.");
  },
};

/** Images are this machine's: the first of the operator's folders is the one that they are added to. */
function folderOfImages(): string {
  return localConfig().imageFolders[0] ?? "";
}

async function add(given: Given, { screen }: Surroundings, file: string, name: string): Promise<number> {
  // What reads images comes with the engine: no other command should wait for it to load.
  const { addImage } = await import("#infra/images.ts");
  const added = await addImage(folderOfImages(), file, name).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "EACCES")
      throw refusal(EXIT.input, `${file} cannot be read`, "Name an image's file or folder.");
    throw error;
  });
  await screen.answer(given.json ? `${JSON.stringify(added)}\n` : `${harmless(added.name)}  ${added.digest}\n`);
  return EXIT.ok;
}

async function list(given: Given, { screen }: Surroundings): Promise<number> {
  const { listImages } = await import("#infra/images.ts");
  const found = await listImages(folderOfImages());
  if (given.json) await screen.answer(`${JSON.stringify(found, undefined, 2)}\n`);
  else if (found.length === 0) screen.note("There is no image. `cleanroom image add FILE NAME` adds one.\n");
  else await screen.answer(table(screen.style, ["NAME", "SIZE", "ADDED"], found.map(rowOf)));
  return EXIT.ok;
}

function rowOf({ name, sizeBytes, addedAt }: AddedImage): string[] {
  return [name, inBytes(sizeBytes), ago(addedAt, Date.now())];
}

async function remove(given: Given, { screen }: Surroundings, names: string[]): Promise<number> {
  const { removeImage } = await import("#infra/images.ts");
  for (const name of names) {
    if (!(await removeImage(folderOfImages(), name)))
      throw refusal(EXIT.failed, `There is no image ${name}`, "`cleanroom image ls` lists them.");
    if (!given.json) await screen.answer(`${harmless(name)} is removed\n`);
  }
  if (given.json) await screen.answer(`${JSON.stringify({ removed: names })}\n`);
  return EXIT.ok;
}
