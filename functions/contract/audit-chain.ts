import { createHash, createPublicKey, hash, verify } from "node:crypto";
import * as z from "zod";
import { canonicalJson } from "./canonical.ts";

/** What the first record of a chain names as the one before it. */
export const GENESIS = "0".repeat(64);

const HASH_CHARS = 64;
const HASH_START = ',"hash":"';
/** The end of every line: its own hash, of all the characters before. */
const HASH_PART = HASH_START.length + HASH_CHARS + 2;
const HEAD_PURPOSE = "cleanroom-audit-head";
const BASE_PURPOSE = "cleanroom-audit-base";

/** The last record of a chain at some moment, signed by the platform: who keeps it can prove what is missing later. */
export const SignedHead = z.object({
  head: z.object({ project: z.string(), seq: z.int(), hash: z.string(), at: z.iso.datetime(), keyId: z.string() }),
  signature: z.string(),
});
export type SignedHead = z.output<typeof SignedHead>;

/**
 * Where a chain begins whose older records were let go by its project's own rule: the last of them, signed by the
 * platform. A head is no base: who has one cannot make the records before it look let go.
 */
export const SignedBase = z.object({ base: SignedHead.shape.head, signature: z.string() });
export type SignedBase = z.output<typeof SignedBase>;

/** Writes a record as its line: where it stands in the chain first, its own hash last. */
export function sealRecord(seq: number, prev: string, fields: object): { line: string; hash: string } {
  const body = `{"seq":${seq},"prev":"${prev}",${JSON.stringify(fields).slice(1, -1)}`;
  const own = hash("sha256", body);
  return { line: `${body}${HASH_START}${own}"}`, hash: own };
}

/** What is signed of a head. */
export function headMessage(head: SignedHead["head"]): string {
  return `${HEAD_PURPOSE}\n${canonicalJson(head)}`;
}

/** What is signed of a base. */
export function baseMessage(base: SignedBase["base"]): string {
  return `${BASE_PURPOSE}\n${canonicalJson(base)}`;
}

export function keyIdOf(publicKeyPem: string): string {
  return createHash("sha256")
    .update(createPublicKey(publicKeyPem).export({ format: "der", type: "spki" }))
    .digest("hex")
    .slice(0, 16);
}

/** Why a chain does not hold, and at which record that shows first. */
export interface Broken {
  seq: number;
  line: number;
  why: string;
}

export interface Verdict {
  records: number;
  /** The last record that was let go, before the first one here; 0 where none was. */
  base: number;
  project: string | undefined;
  broken: Broken | undefined;
  /** Whether a signed head was there and the chain reaches it. */
  anchored: boolean;
  head: SignedHead["head"] | undefined;
}

/**
 * Checks an export line by line: every record's own hash, that it names the one before it, that none is missing. Then the
 * signed heads: the one at the export's end, and those that the reader has kept. `publicKeyPem` is whom they must be by.
 */
export function verifyChain(lines: Iterable<string>, publicKeyPem: string | undefined, kept: readonly SignedHead[] = []): Verdict {
  const chain = new Chain(kept);
  let line = 0;
  for (const text of lines) {
    line += 1;
    if (text === "") continue;
    if (text.startsWith('{"base":')) chain.begin(text, line);
    else if (!text.startsWith('{"head":')) chain.take(text, line);
    else if (!chain.broken) chain.end(text, line);
    if (chain.broken) break;
  }
  return chain.verdict(publicKeyPem);
}

class Chain {
  broken: Broken | undefined;
  readonly #kept: readonly SignedHead[];
  readonly #seqs: ReadonlySet<number>;
  readonly #hashes = new Map<number, string>();
  #seq = 0;
  #prev = GENESIS;
  #line = 0;
  #project: string | undefined;
  #last: SignedHead | undefined;
  #base: SignedBase | undefined;

  constructor(kept: readonly SignedHead[]) {
    this.#kept = kept;
    this.#seqs = new Set(kept.map(({ head }) => head.seq));
  }

  /** The first line may say which records were let go. */
  begin(text: string, line: number): void {
    const broke = (why: string) => (this.broken = { seq: this.#seq + 1, line, why });
    if (this.#line > 0 || this.#base || this.#last) return void broke("A base stands before all records");
    try {
      this.#base = SignedBase.parse(JSON.parse(text));
    } catch {
      return void broke("The line of the signed base is not one");
    }
    const { project, seq, hash: last } = this.#base.base;
    this.#project = project;
    this.#seq = seq;
    this.#prev = last;
    if (this.#seqs.has(seq)) this.#hashes.set(seq, last);
  }

  take(text: string, line: number): void {
    const seq = this.#seq + 1;
    this.#line = line;
    const broke = (why: string) => (this.broken = { seq, line, why });
    if (this.#last) return void broke("It stands after the signed head, which ends an export");
    const lead = `{"seq":${seq},"prev":"`;
    if (!text.startsWith(lead)) return void broke(whyNotNext(text, seq));
    const at = text.length - HASH_PART;
    if (at < 0 || !text.startsWith(HASH_START, at) || !text.endsWith('"}')) return void broke("It is not a record as it is written");
    const own = text.slice(at + HASH_START.length, -2);
    if (hash("sha256", text.slice(0, at)) !== own) return void broke("It was changed: its hash is not its content's");
    if (!text.startsWith(this.#prev, lead.length)) return void broke("It does not follow the record before it");
    const project = this.#projectOf(text);
    if (project === undefined || (this.#project ??= project) !== project) return void broke("It is of another project");
    this.#seq = seq;
    this.#prev = own;
    if (this.#seqs.has(seq)) this.#hashes.set(seq, own);
  }

  /** The first is read whole; what stands where it stood there is compared as text. */
  #projectOf(text: string): string | undefined {
    const known = this.#project;
    if (known !== undefined && text.includes(`"project":${JSON.stringify(known)}`)) return known;
    try {
      return String((JSON.parse(text) as { project?: unknown }).project);
    } catch {
      return undefined;
    }
  }

  end(text: string, line: number): void {
    try {
      this.#last = SignedHead.parse(JSON.parse(text));
    } catch {
      this.broken = { seq: this.#seq + 1, line, why: "The line of the signed head is not one" };
      return;
    }
    this.#hashes.set(this.#seq, this.#prev);
  }

  verdict(publicKeyPem: string | undefined): Verdict {
    const heads = [...this.#kept, ...(this.#last ? [this.#last] : [])];
    const base = this.#base;
    if (base && publicKeyPem !== undefined && !isSigned(baseMessage(base.base), base.signature, publicKeyPem))
      this.broken = { seq: 1, line: 1, why: `Records up to ${base.base.seq} are missing: the base's signature is not by this key` };
    for (const signed of heads) this.broken ??= this.#judge(signed, publicKeyPem);
    const isWhole = this.#last?.head.seq === this.#seq;
    if (this.#last && !isWhole)
      this.broken ??= { seq: this.#seq, line: this.#line, why: `The export goes beyond its signed head, at ${this.#last.head.seq}` };
    return {
      records: this.#seq - (base?.base.seq ?? 0),
      base: base?.base.seq ?? 0,
      project: this.#project,
      broken: this.broken,
      anchored: this.broken === undefined && heads.length > 0 && publicKeyPem !== undefined,
      head: heads.at(-1)?.head,
    };
  }

  #judge({ head, signature }: SignedHead, publicKeyPem: string | undefined): Broken | undefined {
    const at = (why: string, seq = head.seq) => ({ seq, line: this.#line, why });
    if (publicKeyPem !== undefined && !isSigned(headMessage(head), signature, publicKeyPem))
      return at("The head's signature is not by this key");
    if (this.#project !== undefined && head.project !== this.#project) return at("The head is of another project");
    if (head.seq > this.#seq) return at(`Records are missing at the end: the signed head is at ${head.seq}`, this.#seq + 1);
    // What it says of records that were let go can no longer be held against them.
    if (head.seq < (this.#base?.base.seq ?? 0)) return undefined;
    if (head.seq > 0 && this.#hashes.get(head.seq) !== head.hash)
      return at("It is not the record that was signed: the chain was written anew");
    return undefined;
  }
}

function isSigned(message: string, signature: string, publicKeyPem: string): boolean {
  return verify(null, Buffer.from(message), createPublicKey(publicKeyPem), Buffer.from(signature, "base64url"));
}

function whyNotNext(text: string, seq: number): string {
  const given = /^\{"seq":(\d{1,15}),/.exec(text)?.[1];
  if (given === undefined) return "It is not a record as it is written";
  return Number(given) > seq ? `It is missing: record ${given} comes in its place` : `Record ${given} comes again in its place`;
}
