import { LIMITS } from "#contract/limits.ts";
import {
  createSandbox,
  deleteSandbox,
  getSandbox,
  listSandboxes,
  pauseSandbox,
  resumeSandbox,
  updateSandbox,
  type CreateSandbox,
  type Sandbox as SandboxInfo,
  type SandboxState,
} from "#contract/sandbox.ts";
import { createSnapshot, forkSandbox, type Snapshot } from "#contract/snapshot.ts";
import { SandboxArtifacts } from "./artifacts.ts";
import { SandboxBrowser } from "./browser.ts";
import { call, inside, newClient, type Client, type ClientOptions } from "./client.ts";
import { Contexts, runCode, type Execution, type RunCodeOptions } from "./code.ts";
import { Commands } from "./commands.ts";
import { Files } from "./files.ts";
import { Pty } from "./pty.ts";

interface Options extends ClientOptions {
  signal?: AbortSignal | undefined;
}

/** What a sandbox is made with; all of it may be left out. `id` makes creating it twice one creation. */
export type CreateOptions = Options & { [K in keyof CreateSandbox]?: CreateSandbox[K] | undefined };

/** Filters of a list; `metadata` takes one pair. */
export interface ListOptions extends Options {
  state?: SandboxState | undefined;
  template?: string | undefined;
  taskId?: string | undefined;
  metadata?: { key: string; value: string } | undefined;
}

interface Abortable {
  signal?: AbortSignal | undefined;
}

/** One disposable workspace. Declared with `await using`, it is destroyed with the block that made it. */
export class Sandbox implements AsyncDisposable {
  readonly id: string;
  readonly contexts: Contexts;
  readonly commands: Commands;
  readonly files: Files;
  readonly pty: Pty;
  readonly artifacts: SandboxArtifacts;
  readonly browser: SandboxBrowser;
  readonly #client: Client;
  readonly #inside: Client;

  private constructor(client: Client, id: string) {
    this.id = id;
    this.#client = client;
    this.#inside = inside(client, id);
    this.contexts = new Contexts(this.#inside);
    this.commands = new Commands(this.#inside);
    this.files = new Files(this.#inside);
    this.pty = new Pty(this.#inside);
    this.artifacts = new SandboxArtifacts(client, id);
    this.browser = new SandboxBrowser(client, id);
  }

  /** Makes a fresh sandbox and answers when it is ready. */
  static async create(options: CreateOptions = {}): Promise<Sandbox> {
    const { url, apiKey, signal, ...body } = options;
    const client = newClient({ url, apiKey });
    const { id } = await call(client, createSandbox, { body, signal });
    return new Sandbox(client, id);
  }

  /** Takes up a sandbox that exists; one that never was, or is another project's, is `sandbox_not_found`. */
  static async connect(sandboxId: string, options: Options = {}): Promise<Sandbox> {
    const client = newClient(options);
    const { id } = await call(client, getSandbox, { params: { sandboxId }, signal: options.signal });
    return new Sandbox(client, id);
  }

  /** The project's sandboxes, newest first, ended ones included; pages are fetched as they are read. */
  static async *list(options: ListOptions = {}): AsyncGenerator<SandboxInfo, void> {
    const { metadata, state, template, taskId, signal } = options;
    const client = newClient(options);
    const pair = metadata && `${metadata.key}=${metadata.value}`;
    let after: string | undefined;
    do {
      const query = { state, template, taskId, metadata: pair, after, limit: LIMITS.pageMax };
      const page = await call(client, listSandboxes, { query, signal });
      yield* page.items;
      after = page.next;
    } while (after !== undefined);
  }

  /** Ends a sandbox by its id, without taking it up first. */
  static async kill(sandboxId: string, options: Options = {}): Promise<SandboxInfo> {
    return await call(newClient(options), deleteSandbox, { params: { sandboxId }, signal: options.signal });
  }

  /** Runs code in an interpreter that keeps its state from one call to the next. */
  async runCode(code: string, options: RunCodeOptions = {}): Promise<Execution> {
    return await runCode(this.#inside, code, options);
  }

  /** Its state, what it has used, when it ends, and how it is isolated. */
  async info(options: Abortable = {}): Promise<SandboxInfo> {
    return await call(this.#client, getSandbox, { params: { sandboxId: this.id }, signal: options.signal });
  }

  /** Changes its name, metadata or idle time. */
  async update(
    changes: { name?: string | undefined; metadata?: Record<string, string> | undefined; idleTimeoutMs?: number | undefined },
    options: Abortable = {},
  ): Promise<SandboxInfo> {
    return await call(this.#client, updateSandbox, { params: { sandboxId: this.id }, body: changes, signal: options.signal });
  }

  /** Lets it live for at least this long from now; it never shortens a life. */
  async extend(lifetimeMs: number, options: Abortable = {}): Promise<SandboxInfo> {
    return await call(this.#client, updateSandbox, { params: { sandboxId: this.id }, body: { lifetimeMs }, signal: options.signal });
  }

  /** Stops it where it stands, with all that it holds; streams that are open end as `sandbox_not_ready`. */
  async pause(options: Abortable = {}): Promise<SandboxInfo> {
    return await call(this.#client, pauseSandbox, { params: { sandboxId: this.id }, signal: options.signal });
  }

  /** Lets it go on where it stood. Anything else that is asked of it does that too, unless its template says no. */
  async resume(options: Abortable = {}): Promise<SandboxInfo> {
    return await call(this.#client, resumeSandbox, { params: { sandboxId: this.id }, signal: options.signal });
  }

  /** Keeps all its files under a name, from which others can be made; memory and processes are not kept. */
  async snapshot(name: string, options: Abortable = {}): Promise<Snapshot> {
    return await call(this.#client, createSnapshot, { params: { sandboxId: this.id }, body: { name }, signal: options.signal });
  }

  /** Makes so many sandboxes with the same files; all of them or none. */
  async fork(count = 1, options: Abortable & { environment?: Record<string, string> | undefined } = {}): Promise<Sandbox[]> {
    const { environment, signal } = options;
    const { items } = await call(this.#client, forkSandbox, { params: { sandboxId: this.id }, body: { count, environment }, signal });
    return items.map(({ id }) => new Sandbox(this.#client, id));
  }

  /** Ends it and destroys everything in it; killing twice is one ending. */
  async kill(options: Abortable = {}): Promise<SandboxInfo> {
    return await call(this.#client, deleteSandbox, { params: { sandboxId: this.id }, signal: options.signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
