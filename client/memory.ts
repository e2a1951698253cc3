import * as contract from "#contract/memory-operations.ts";
import type {
  AddRecord,
  Collection,
  CreateCollection,
  Forget,
  GivenEvent,
  MemoryEvent,
  MemoryFilter,
  MemoryHit,
  MemoryRecord,
  Revision,
  Scope,
  Tombstone,
} from "#contract/memory.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import { type Bytes, call, chunksOf, type Client, type ClientOptions, newClient, open } from "./client.ts";

interface Options extends ClientOptions {
  signal?: AbortSignal | undefined;
}

type Loose<T> = { [K in keyof T]?: T[K] | undefined };
/** Something that was said: a text, or a text with who said it and when. */
type Said = string | (Loose<Omit<GivenEvent, "text">> & { text: string });
type RecordFields = Loose<Omit<AddRecord, "text">>;

/** One collection of memories: what was said, and what is remembered of it, after every sandbox has gone. */
export class Memory {
  readonly name: string;
  readonly #client: Client;
  readonly #params: { collection: string };

  private constructor(client: Client, name: string) {
    this.name = name;
    this.#client = client;
    this.#params = { collection: name };
  }

  /** The collection of this name, made if there is none. */
  static async open(name: string, options: Options & Loose<Omit<CreateCollection, "name">> = {}): Promise<Memory> {
    const { url, apiKey, signal, ...spec } = options;
    const client = newClient({ url, apiKey });
    try {
      await call(client, contract.createCollection, { body: { name, ...spec }, signal });
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "already_exists") throw error;
    }
    return new Memory(client, name);
  }

  /** By name, all pages. */
  static async list(options: Options = {}): Promise<Collection[]> {
    const client = newClient(options);
    return all(async (after) =>
      call(client, contract.listCollections, { query: { after, limit: LIMITS.pageMax }, signal: options.signal }),
    );
  }

  /** Remembers one text as it is. */
  async add(text: string, fields: RecordFields = {}): Promise<MemoryRecord> {
    return call(this.#client, contract.addRecord, { params: this.#params, body: { text, ...fields } });
  }

  /** Adds what was said in a session, in its order. */
  async say(
    session: string,
    events: readonly Said[],
    scope: Loose<Omit<Scope, "session">> = {},
  ): Promise<{ events: MemoryEvent[]; records: MemoryRecord[] }> {
    const given = events.map((one) => (typeof one === "string" ? { text: one } : one));
    return call(this.#client, contract.addEvents, { params: this.#params, body: { session, ...scope, events: given } });
  }

  /** What was said last in a session, oldest first. */
  async events(session: string, last: number = LIMITS.pageDefault): Promise<MemoryEvent[]> {
    return (await call(this.#client, contract.listEvents, { params: this.#params, query: { session, last } })).items;
  }

  async search(
    query: string,
    options: { filter?: MemoryFilter; limit?: number; minScore?: number; now?: string } = {},
  ): Promise<MemoryHit[]> {
    return (await call(this.#client, contract.searchMemory, { params: this.#params, body: { query, ...options } })).hits;
  }

  /** Newest first, all pages. */
  async records(
    filter: { user?: string | undefined; agent?: string | undefined; session?: string | undefined } = {},
  ): Promise<MemoryRecord[]> {
    return all((after) =>
      call(this.#client, contract.listRecords, { params: this.#params, query: { ...filter, after, limit: LIMITS.pageMax } }),
    );
  }

  async get(recordId: string): Promise<MemoryRecord> {
    return call(this.#client, contract.getRecord, { params: { ...this.#params, recordId } });
  }

  /** Puts a changed record after the one it was. */
  async revise(recordId: string, change: Loose<Revision>): Promise<MemoryRecord> {
    return call(this.#client, contract.reviseRecord, { params: { ...this.#params, recordId }, body: change });
  }

  async history(recordId: string): Promise<MemoryRecord[]> {
    return (await call(this.#client, contract.getRecordHistory, { params: { ...this.#params, recordId } })).items;
  }

  async forget(what: Forget): Promise<Tombstone> {
    return call(this.#client, contract.forgetMemory, { params: this.#params, body: what });
  }

  /** Everything, or what is one user's, as JSON lines. */
  async *export(scope: Scope = {}, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const response = await open(this.#client, contract.exportMemory, {
      params: this.#params,
      query: scope,
      accept: "application/x-ndjson",
      signal,
    });
    yield* chunksOf(this.#client, response, signal);
  }

  async import(lines: Bytes, signal?: AbortSignal): Promise<{ events: number; records: number; lines: number }> {
    return call(this.#client, contract.importMemory, { params: this.#params, body: lines, signal });
  }

  /** Forgets the collection with all that is in it. */
  async delete(): Promise<void> {
    await call(this.#client, contract.deleteCollection, { params: this.#params });
  }
}

async function all<T>(page: (after: string | undefined) => Promise<{ items: T[]; next?: string | undefined }>): Promise<T[]> {
  const items: T[] = [];
  let after: string | undefined;
  do {
    const one = await page(after);
    items.push(...one.items);
    after = one.next;
  } while (after !== undefined);
  return items;
}
