import { LIMITS } from "#contract/limits.ts";
import { deleteSnapshot, getSnapshot, listSnapshots, type Snapshot } from "#contract/snapshot.ts";
import { call, newClient, type ClientOptions } from "./client.ts";

interface Options extends ClientOptions {
  signal?: AbortSignal | undefined;
}

/** The project's snapshots, whichever sandbox they were taken from. */
export const Snapshots = { list: listKept, get: getKept, remove: removeKept };

/** By name, all pages. */
async function listKept(options: Options = {}): Promise<Snapshot[]> {
  const client = newClient(options);
  const items: Snapshot[] = [];
  let after: string | undefined;
  do {
    const page = await call(client, listSnapshots, { query: { after, limit: LIMITS.pageMax }, signal: options.signal });
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}

async function getKept(name: string, options: Options = {}): Promise<Snapshot> {
  return await call(newClient(options), getSnapshot, { params: { snapshot: name }, signal: options.signal });
}

async function removeKept(name: string, options: Options = {}): Promise<void> {
  await call(newClient(options), deleteSnapshot, { params: { snapshot: name }, signal: options.signal });
}
