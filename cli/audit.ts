import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { call, chunksOf, newClient, open } from "#client/client.ts";
import { exportAudit, getAuditHead, getAuditKey } from "#contract/audit.ts";
import { keyIdOf, SignedHead, type Verdict, verifyChain } from "#contract/audit-chain.ts";
import type { Command, Given, Surroundings } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";
import { harmless } from "./filter.ts";

export const audit: Command = {
  name: "audit",
  usage: "export | head | key | verify FILE",
  summary: "Export the audit log, fetch its signed head or the key to check it by, or verify an export without any server.",
  example: "cleanroom audit verify audit.jsonl --key audit-key.pem --head last-month.json",
  words: { min: 1, max: 2 },
  options: {
    key: { type: "string", short: "k", value: "FILE", about: "verify: the platform's public key, as `audit key` gave it" },
    head: { type: "string", multiple: true, value: "FILE", about: "verify: a signed head that was kept" },
  },
  async run(given, around) {
    const [verb = "", file] = given.positionals;
    if (verb === "verify" && file !== undefined) return await verify(given, around, file);
    if (file !== undefined) throw refusal(EXIT.usage, `cleanroom audit takes ${this.usage}`, "`cleanroom audit --help` shows an example.");
    if (verb === "export") return await exported(around);
    const client = newClient(around.client);
    if (verb === "head") {
      await around.screen.answer(`${JSON.stringify(await call(client, getAuditHead, { signal: around.signal }))}\n`);
      return EXIT.ok;
    }
    if (verb !== "key") throw refusal(EXIT.usage, `cleanroom audit takes ${this.usage}`, "`cleanroom audit --help` shows an example.");
    const key = await call(client, getAuditKey, { signal: around.signal });
    await around.screen.answer(given.json ? `${JSON.stringify(key)}\n` : key.publicKey);
    return EXIT.ok;
  },
};

async function exported({ screen, client, signal }: Surroundings): Promise<number> {
  const asked = newClient(client);
  const response = await open(asked, exportAudit, { accept: "application/jsonl", signal });
  const decoder = new TextDecoder();
  for await (const chunk of chunksOf(asked, response, signal)) await screen.answer(decoder.decode(chunk, { stream: true }));
  return EXIT.ok;
}

async function verify(given: Given, { screen }: Surroundings, file: string): Promise<number> {
  const keyFile = given.text("key");
  const publicKey = keyFile === undefined ? undefined : read(keyFile);
  const kept = given.texts("head").map((path) => headIn(path));
  const verdict = verifyChain(await linesOf(file), publicKey, kept);
  const isGood = verdict.broken === undefined && verdict.head !== undefined;
  if (given.json) await screen.answer(`${JSON.stringify({ ok: isGood, ...verdict }, undefined, 2)}\n`);
  else await screen.answer(`${said(verdict, publicKey)}\n`);
  return isGood ? EXIT.ok : EXIT.failed;
}

function said({ records, base, project, broken, head }: Verdict, publicKey: string | undefined): string {
  const of = project === undefined ? "" : ` of project ${harmless(project)}`;
  if (broken) return `BROKEN at record ${broken.seq} (line ${broken.line})${of}: ${harmless(broken.why)}`;
  if (!head)
    return `UNPROVEN: ${records} records${of} follow one another, but no signed head says that they are all: records may be missing at the end`;
  const from = base === 0 ? "" : ` after record ${base}, up to which the project has let go of them`;
  const by = publicKey === undefined ? "nobody checked its signature: give --key" : `signed by key ${keyIdOf(publicKey)}`;
  return `OK: ${records} records${of}${from}, whole up to the head at record ${head.seq} of ${harmless(head.at)} (${by})`;
}

/** All lines of a file. A log of a million records is some hundreds of megabytes, and is read as it comes. */
async function linesOf(file: string): Promise<string[]> {
  try {
    const lines: string[] = [];
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) lines.push(line);
    return lines;
  } catch (error) {
    throw unreadable(file, error);
  }
}

function headIn(file: string): SignedHead {
  const parsed = SignedHead.safeParse(JSON.parse(read(file)));
  if (parsed.success) return parsed.data;
  throw refusal(EXIT.input, `${file} holds no signed head`, "`cleanroom audit head` writes one.");
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, error: unknown) {
  return refusal(EXIT.input, `${file} cannot be read: ${error instanceof Error ? error.message : "unknown"}`, "Check the path.");
}
