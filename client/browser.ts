import {
  type BrowserProfile,
  deleteBrowserProfile,
  getBrowserProfile,
  listBrowserProfiles,
  saveBrowserProfile,
} from "#contract/browser-profile.ts";
import { call, newClient, type Client, type ClientOptions } from "./client.ts";

interface Abortable {
  signal?: AbortSignal | undefined;
}

type Options = ClientOptions & Abortable;

/** The browser of one sandbox. */
export class SandboxBrowser {
  readonly #client: Client;
  readonly #sandboxId: string;

  constructor(client: Client, sandboxId: string) {
    this.#client = client;
    this.#sandboxId = sandboxId;
  }

  /** Saves what it remembers under a name, in place of what that had; it closes for it, and comes back with its next use. */
  async saveProfile(name: string, options: Abortable = {}): Promise<BrowserProfile> {
    const params = { sandboxId: this.#sandboxId, browserProfile: name };
    return await call(this.#client, saveBrowserProfile, { params, body: {}, signal: options.signal });
  }
}

/** The project's browser profiles, whichever sandbox they were saved from. */
export const BrowserProfiles = { list: listKept, get: getKept, remove: removeKept };

async function listKept(options: Options = {}): Promise<BrowserProfile[]> {
  return (await call(newClient(options), listBrowserProfiles, { signal: options.signal })).items;
}

async function getKept(name: string, options: Options = {}): Promise<BrowserProfile> {
  return await call(newClient(options), getBrowserProfile, { params: { browserProfile: name }, signal: options.signal });
}

async function removeKept(name: string, options: Options = {}): Promise<void> {
  await call(newClient(options), deleteBrowserProfile, { params: { browserProfile: name }, signal: options.signal });
}
