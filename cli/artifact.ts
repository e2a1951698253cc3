import { basename, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Artifacts } from "#client/artifacts.ts";
import type { ArtifactPreview } from "#contract/artifact-content.ts";
import type { Artifact } from "#contract/artifact.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { ago, inBytes } from "./figures.ts";
import { harmless, TerminalFilter } from "./filter.ts";
import { table } from "./table.ts";

export const artifact: Command = {
  name: "artifact",
  usage: "ls | get ID | put FILE | show ID | hold ID | release ID | retain ID | rm ID…",
  summary: "List what was kept, fetch, upload, look at, hold or delete some; bytes are checked against their hash.",
  example: "cleanroom artifact get 01KA7Q3Z9M4T2V6X8Y0B1C5D7E --output summary.md",
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {
    output: { type: "string", short: "o", value: "FILE", about: "get: where to write it (its own name, here); - is standard output" },
    sandbox: { type: "string", value: "ID", about: "ls: only of this sandbox" },
    name: { type: "string", value: "NAME", about: "ls: the versions of this name; put: what to call it (its own name)" },
    resume: { type: "string", value: "UPLOAD", about: "put: go on with an upload that broke off" },
    until: { type: "string", value: "MOMENT", about: "retain, put: nobody deletes it before, as 2027-01-31T00:00:00Z" },
  },
  async run(given, around) {
    const [verb = "", ...ids] = given.positionals;
    if (verb === "ls" && ids.length === 0) return await list(given, around);
    if (verb === "get" && ids.length === 1) return await get(given, around, ids[0] ?? "");
    if (verb === "rm" && ids.length > 0) return await remove(given, around, ids);
    if (verb === "put" && ids.length === 1) return await put(given, around, ids[0] ?? "");
    if (verb === "show" && ids.length === 1) return await show(given, around, ids[0] ?? "");
    const change = changeOf(verb, given);
    if (change && ids.length === 1) return await told(given, around, await Artifacts.change(ids[0] ?? "", change, around.client));
    throw refusal(EXIT.usage, `cleanroom artifact takes ${this.usage}`, "`cleanroom artifact --help` shows an example.");
  },
};

async function list(given: Given, { screen, client, signal }: Surroundings): Promise<number> {
  const found = await Artifacts.list({ ...client, sandboxId: given.text("sandbox"), name: given.text("name"), signal });
  if (given.json) await screen.answer(`${JSON.stringify(found, undefined, 2)}\n`);
  else if (found.length === 0) screen.note("Nothing is kept.\n");
  else await screen.answer(table(screen.style, ["ID", "NAME", "VERSION", "SIZE", "KEPT", "TYPE", "SANDBOX"], found.map(rowOf)));
  return EXIT.ok;
}

function rowOf(one: Artifact): string[] {
  return [
    one.id,
    one.name,
    String(one.version),
    inBytes(one.sizeBytes),
    ago(one.createdAt, Date.now()),
    one.mediaType,
    one.sandboxId ?? "-",
  ];
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

function changeOf(verb: string, given: Given): { hold?: boolean; retainUntil?: string | undefined } | undefined {
  if (verb === "hold") return { hold: true };
  if (verb === "release") return { hold: false };
  return verb === "retain" && given.text("until") !== undefined ? { retainUntil: given.text("until") } : undefined;
}

async function put(given: Given, around: Surroundings, file: string): Promise<number> {
  const { screen, client, signal } = around;
  const made = await Artifacts.upload(resolve(file), {
    ...client,
    name: given.text("name"),
    resume: given.text("resume"),
    retainUntil: given.text("until"),
    onUpload: ({ id }) => screen.note(`Upload ${id}: should it break off, go on with --resume ${id}\n`),
    signal,
  });
  return await told(given, around, made);
}

async function told(given: Given, { screen }: Surroundings, one: Artifact): Promise<number> {
  const kept = [one.hold ? "  on hold" : "", one.retainUntil === undefined ? "" : `  retained until ${one.retainUntil}`].join("");
  if (given.json) await screen.answer(`${JSON.stringify(one, undefined, 2)}\n`);
  else
    await screen.answer(
      `${one.id}  ${harmless(one.name)} version ${one.version}  ${inBytes(one.sizeBytes)}  sha256 ${one.sha256}${kept}\n`,
    );
  return EXIT.ok;
}

async function show(given: Given, { screen, client, signal }: Surroundings, id: string): Promise<number> {
  const seen = await Artifacts.preview(id, { ...client, signal });
  await screen.answer(given.json ? `${JSON.stringify(seen, undefined, 2)}\n` : `${linesOf(seen, screen).trimEnd()}\n`);
  if (!given.json && "truncated" in seen && seen.truncated) screen.note("… and more\n");
  return EXIT.ok;
}

function linesOf(seen: ArtifactPreview, screen: Surroundings["screen"]): string {
  if (seen.kind === "text") return new TerminalFilter(false).pass(seen.text);
  if (seen.kind === "table") return table(screen.style, seen.columns.map(harmless), seen.rows);
  if (seen.kind === "image") return `${seen.format}, ${seen.width} × ${seen.height}`;
  if (seen.kind === "pdf") return `PDF, its first page as a picture of ${seen.picture.width} × ${seen.picture.height}`;
  const rows = seen.entries.map(({ path, type, sizeBytes }) => [path, type, inBytes(sizeBytes)]);
  return table(screen.style, ["PATH", "TYPE", "SIZE"], rows);
}

async function remove(given: Given, { screen, client, signal }: Surroundings, ids: string[]): Promise<number> {
  for (const id of ids) {
    await Artifacts.remove(id, { ...client, signal });
    if (!given.json) await screen.answer(`${id} is deleted\n`);
  }
  if (given.json) await screen.answer(`${JSON.stringify({ deleted: ids })}\n`);
  return EXIT.ok;
}
