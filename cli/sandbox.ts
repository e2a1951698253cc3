import { Sandbox } from "#client/sandbox.ts";
import type { Sandbox as SandboxInfo } from "#contract/sandbox.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { ago, inBytes, inSeconds } from "./figures.ts";
import { table } from "./table.ts";

export const sandbox: Command = {
  name: "sandbox",
  usage: "create | ls | get ID | pause ID | resume ID | snapshot ID NAME | fork ID | rm ID…",
  summary: "Make a sandbox that lives until it is ended or idle, list them, read one, pause it, keep its files, copy it, or end some.",
  example: "cleanroom sandbox ls --all",
  words: { min: 1, max: Number.POSITIVE_INFINITY },
  options: {
    all: { type: "boolean", short: "a", about: "ls: ended ones too" },
    template: { type: "string", short: "t", value: "NAME", about: "create: what it is made from (the snapshot's, or code-interpreter)" },
    snapshot: { type: "string", short: "s", value: "NAME", about: "create: the snapshot whose files it starts with" },
    count: { type: "string", short: "n", value: "N", about: "fork: how many (1)" },
  },
  async run(given, around) {
    const [verb = "", ...ids] = given.positionals;
    if (verb === "create" && ids.length === 0) return await create(given, around);
    if (verb === "ls" && ids.length === 0) return await list(given, around);
    if (verb === "get" && ids.length === 1) return await get(given, around, ids[0] ?? "");
    if (verb === "pause" && ids.length === 1) return await pause(given, around, ids[0] ?? "");
    if (verb === "resume" && ids.length === 1) return await resume(given, around, ids[0] ?? "");
    if (verb === "snapshot" && ids.length === 2) return await snapshot(given, around, ids[0] ?? "", ids[1] ?? "");
    if (verb === "fork" && ids.length === 1) return await fork(given, around, ids[0] ?? "");
    if (verb === "rm" && ids.length > 0) return await remove(given, around, ids);
    throw refusal(EXIT.usage, `cleanroom sandbox takes ${this.usage}`, "`cleanroom sandbox --help` shows an example.");
  },
};

async function create(given: Given, { screen, client, signal }: Surroundings): Promise<number> {
  const box = await Sandbox.create({ ...client, template: given.text("template"), snapshot: given.text("snapshot"), signal });
  await screen.answer(given.json ? `${JSON.stringify(await box.info({ signal }), undefined, 2)}\n` : `${box.id}\n`);
  return EXIT.ok;
}

async function list(given: Given, { screen, client, signal }: Surroundings): Promise<number> {
  const found: SandboxInfo[] = [];
  for await (const info of Sandbox.list({ ...client, signal })) {
    if (given.flag("all") || info.state !== "ended") found.push(info);
  }
  if (given.json) await screen.answer(`${JSON.stringify(found, undefined, 2)}\n`);
  else if (found.length === 0)
    screen.note(given.flag("all") ? "There has been no sandbox yet.\n" : "No sandbox lives. `--all` lists ended ones.\n");
  else await screen.answer(table(screen.style, ["ID", "STATE", "TEMPLATE", "MADE", "NAME"], found.map(rowOf)));
  return EXIT.ok;
}

function rowOf(info: SandboxInfo): string[] {
  const state = info.endReason ? `${info.state} (${info.endReason})` : info.state;
  return [info.id, state, info.template, ago(info.createdAt, Date.now()), info.name ?? ""];
}

async function get(given: Given, { screen, client, signal }: Surroundings, id: string): Promise<number> {
  const info = await (await Sandbox.connect(id, { ...client, signal })).info({ signal });
  if (given.json) {
    await screen.answer(`${JSON.stringify(info, undefined, 2)}\n`);
    return EXIT.ok;
  }
  const { usage, isolation } = info;
  const rows = [
    ["id", info.id],
    ["state", info.endReason ? `${info.state} (${info.endReason})` : info.state],
    ["template", info.template],
    ...(info.snapshot === undefined ? [] : [["snapshot", info.snapshot]]),
    ["made", info.createdAt],
    ["ends by", info.endsAt],
    ["size", `${info.cpu} cpu, ${info.memoryMiB} MiB memory, ${info.diskMiB} MiB disk`],
    ...(usage
      ? [["used", `${inSeconds(usage.cpuMs)} cpu, ${inBytes(usage.memoryPeakBytes)} memory at the peak, ${inBytes(usage.diskBytes)} disk`]]
      : []),
    ...Object.entries(info.metadata).map(([key, value]) => [`metadata ${key}`, value]),
    ...(isolation?.layers ?? []).map((layer) => [`layer ${layer.name}`, layer.on ? "on" : `off: ${layer.why ?? "unknown"}`]),
  ];
  await screen.answer(table(screen.style, ["WHAT", "VALUE"], rows));
  return EXIT.ok;
}

async function snapshot(given: Given, { screen, client, signal }: Surroundings, id: string, name: string): Promise<number> {
  const taken = await (await Sandbox.connect(id, { ...client, signal })).snapshot(name, { signal });
  if (given.json) await screen.answer(`${JSON.stringify(taken, undefined, 2)}\n`);
  else await screen.answer(`${taken.name}  ${taken.files} files  ${inBytes(taken.sizeBytes)}, ${inBytes(taken.newBytes)} of it new\n`);
  return EXIT.ok;
}

async function fork(given: Given, { screen, client, signal }: Surroundings, id: string): Promise<number> {
  const count = Number(given.text("count") ?? 1);
  if (!Number.isInteger(count) || count < 1)
    throw refusal(EXIT.usage, `--count is a whole number, not ${given.text("count")}`, "Write it like --count 3.");
  const forks = await (await Sandbox.connect(id, { ...client, signal })).fork(count, { signal });
  const ids = forks.map((one) => one.id);
  await screen.answer(given.json ? `${JSON.stringify(ids)}\n` : `${ids.join("\n")}\n`);
  return EXIT.ok;
}

async function pause(given: Given, { screen, client, signal }: Surroundings, id: string): Promise<number> {
  const info = await (await Sandbox.connect(id, { ...client, signal })).pause({ signal });
  await screen.answer(given.json ? `${JSON.stringify(info, undefined, 2)}\n` : `${id} stands still\n`);
  return EXIT.ok;
}

async function resume(given: Given, { screen, client, signal }: Surroundings, id: string): Promise<number> {
  const info = await (await Sandbox.connect(id, { ...client, signal })).resume({ signal });
  await screen.answer(given.json ? `${JSON.stringify(info, undefined, 2)}\n` : `${id} goes on\n`);
  return EXIT.ok;
}

async function remove(given: Given, { screen, client, signal }: Surroundings, ids: string[]): Promise<number> {
  const ended: SandboxInfo[] = [];
  for (const id of ids) {
    ended.push(await Sandbox.kill(id, { ...client, signal }));
    if (!given.json) await screen.answer(`${id} is gone\n`);
  }
  if (given.json) await screen.answer(`${JSON.stringify(ended, undefined, 2)}\n`);
  return EXIT.ok;
}
