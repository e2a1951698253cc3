import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { isDeepStrictEqual } from "node:util";
import * as z from "zod";
import { installCode } from "./code.ts";
import { type Affinity, affinityOf, type Definition, readDefinition, readFields } from "./definitions.ts";
import type { ImageResolver } from "./isolated.ts";
import { refusal } from "./refusals.ts";

/** What becomes of an asynchronous invocation that fails. */
export const AsyncConfig = z.strictObject({
  asyncTask: z.boolean().optional(),
  maxAsyncRetryAttempts: z.int().min(0).max(8).default(3),
  maxAsyncEventAgeInSeconds: z.int().min(1).max(2_592_000).default(86_400),
  destinationConfig: z.undefined("destinations are not supported by this engine").optional(),
});
export type AsyncConfig = z.output<typeof AsyncConfig>;

export interface FunctionRecord {
  readonly name: string;
  readonly id: string;
  readonly definition: Definition;
  readonly affinity: Affinity | undefined;
  readonly checksum: string;
  readonly codeSize: number;
  /** The most sessions it may have at once; null when only the engine's own quota counts. */
  readonly reserved: number | null;
  readonly asyncConfig: AsyncConfig | null;
  readonly createdAt: number;
  readonly modifiedAt: number;
}

const Code = z.object({ zipFile: z.base64().optional(), checksum: z.string().optional() });

/** The functions, in memory for every request and in the database for the next start. */
export class Functions {
  readonly #db: DatabaseSync;
  readonly #codeDir: string;
  readonly #now: () => number;
  readonly #image: ImageResolver;
  readonly #records = new Map<string, FunctionRecord>();

  /** `image` is asked for the image of each function, so that what cannot be run is refused before it is kept. */
  constructor(db: DatabaseSync, codeDir: string, now: () => number, image: ImageResolver) {
    this.#db = db;
    this.#codeDir = codeDir;
    this.#now = now;
    this.#image = image;
    for (const row of db.prepare("SELECT * FROM functions").all()) {
      const record = fromRow(row);
      this.#records.set(record.name, record);
    }
  }

  get(name: string): FunctionRecord {
    const record = this.#records.get(name);
    if (!record) throw refusal("FunctionNotFound", `There is no function ${name}`);
    return record;
  }

  find(name: string): FunctionRecord | undefined {
    return this.#records.get(name);
  }

  /** All of them by name, those that start with `prefix`, after `after`. */
  list(prefix: string, after: string): FunctionRecord[] {
    return [...this.#records.values()]
      .filter(({ name }) => name.startsWith(prefix) && name > after)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(input: Record<string, unknown>): Promise<FunctionRecord> {
    const { code, ...fields } = input;
    const definition = readDefinition(fields);
    const name = definition.functionName;
    const already = () => refusal("FunctionAlreadyExists", `The function ${name} exists`);
    if (this.#records.has(name)) throw already();
    const installed = await this.#install(name, definition, code);
    await this.#image(definition);
    if (this.#records.has(name)) throw already();
    const at = this.#now();
    return this.#save({
      name,
      id: randomUUID(),
      definition,
      affinity: affinityOf(definition),
      ...installed,
      reserved: null,
      asyncConfig: null,
      createdAt: at,
      modifiedAt: at,
    });
  }

  /** A change that changes nothing answers the record as it was. */
  async update(name: string, input: Record<string, unknown>): Promise<FunctionRecord> {
    const { code, ...fields } = input;
    const changes = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null));
    const definition = readDefinition({ ...this.get(name).definition, ...changes, functionName: name });
    if (changes["customContainerConfig"] !== undefined) await this.#image(definition);
    const installed = code === undefined ? {} : await this.#install(name, definition, code);
    const old = this.get(name);
    const changed = { ...old, definition, affinity: affinityOf(definition), ...installed };
    return isDeepStrictEqual(changed, old) ? old : this.#save({ ...changed, modifiedAt: this.#now() });
  }

  configure(name: string, changes: { reserved?: number | null; asyncConfig?: AsyncConfig | null }): FunctionRecord {
    return this.#save({ ...this.get(name), ...changes });
  }

  async remove(name: string): Promise<void> {
    this.get(name);
    this.#records.delete(name);
    this.#db.prepare("DELETE FROM functions WHERE name = ?").run(name);
    await rm(join(this.#codeDir, name), { recursive: true, force: true });
  }

  /** The folder of the code that a record stands for. */
  codeFolder(record: FunctionRecord): string {
    return join(this.#codeDir, record.name, record.checksum);
  }

  async #install(name: string, definition: Definition, code: unknown): Promise<{ checksum: string; codeSize: number }> {
    if (definition.runtime === "custom-container") return { checksum: "", codeSize: 0 };
    const { zipFile } = readFields(Code, code ?? {});
    if (zipFile === undefined) throw refusal("InvalidArgument", "code.zipFile is required; code from OSS is not supported by this engine");
    const { checksum, sizeBytes } = await installCode(join(this.#codeDir, name), zipFile);
    return { checksum, codeSize: sizeBytes };
  }

  #save(record: FunctionRecord): FunctionRecord {
    this.#db
      .prepare("INSERT OR REPLACE INTO functions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .run(
        record.name,
        record.id,
        JSON.stringify(record.definition),
        record.checksum,
        record.codeSize,
        record.reserved,
        record.asyncConfig && JSON.stringify(record.asyncConfig),
        record.createdAt,
        record.modifiedAt,
      );
    this.#records.set(record.name, record);
    return record;
  }
}

function fromRow(row: Record<string, unknown>): FunctionRecord {
  const definition = JSON.parse(String(row["definition"])) as Definition;
  const asyncConfig = typeof row["asyncConfig"] === "string" ? (JSON.parse(row["asyncConfig"]) as AsyncConfig) : null;
  return { ...(row as unknown as FunctionRecord), definition, affinity: affinityOf(definition), asyncConfig };
}
