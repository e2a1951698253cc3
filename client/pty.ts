import { deleteTerminal } from "#contract/terminal.ts";
import { Problem } from "#contract/problem.ts";
import { checkHealth } from "#contract/workspace.ts";
import { call, type Client } from "./client.ts";

export interface PtySize {
  cols: number;
  rows: number;
}

export interface PtyOptions extends PtySize {
  /** Every byte that the terminal shows, as it comes. */
  onData: (data: Uint8Array) => void;
  cwd?: string | undefined;
  /** What runs instead of a shell. */
  command?: string | undefined;
  /** Hears that the connection was lost, and that it is there again. */
  onConnection?: ((state: "lost" | "back") => void) | undefined;
}

type Said = { type: string; data?: string; next?: number; terminalId?: string; processId?: string; status?: string; exitCode?: number };

const RETRY_MS = [100, 300, 1000, 2000, 4000];
const PING_MS = 30_000;

/** Terminals of one sandbox: a shell, or a program that wants a screen. */
export class Pty {
  readonly #client: Client;
  readonly #open = new Map<string, PtyHandle>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Begins a terminal. It goes on when the connection is lost, and is met again by itself. */
  async create(options: PtyOptions): Promise<PtyHandle> {
    return await this.#keep(options, undefined);
  }

  /** Comes back to a terminal that is there, and gets what was missed. */
  async connect(terminalId: string, options: PtyOptions): Promise<PtyHandle> {
    return await this.#keep(options, terminalId);
  }

  async sendInput(pid: string, data: string | Uint8Array): Promise<void> {
    this.#handle(pid).sendInput(data);
  }

  async resize(pid: string, size: PtySize): Promise<void> {
    this.#handle(pid).resize(size);
  }

  async kill(pid: string): Promise<boolean> {
    return await this.#handle(pid).kill();
  }

  async #keep(options: PtyOptions, terminalId: string | undefined): Promise<PtyHandle> {
    const handle = new PtyHandle(this.#client, options, terminalId);
    await handle.begin();
    this.#open.set(handle.pid, handle);
    return handle;
  }

  #handle(pid: string): PtyHandle {
    const handle = this.#open.get(pid);
    if (!handle) throw new Problem("process_not_found", { detail: `No terminal of this client has the process ${pid}`, processId: pid });
    return handle;
  }
}

/** One terminal as this client looks at it. */
export class PtyHandle {
  pid = "";
  terminalId: string;
  readonly #client: Client;
  readonly #options: PtyOptions;
  readonly #ended = Promise.withResolvers<{ exitCode: number }>();
  #size: PtySize;
  #socket: WebSocket | undefined;
  #at = 0;
  #over = false;
  #ping: NodeJS.Timeout | undefined;

  constructor(client: Client, options: PtyOptions, terminalId: string | undefined) {
    this.#client = client;
    this.#options = options;
    this.#size = { cols: options.cols, rows: options.rows };
    this.terminalId = terminalId ?? "";
    this.#ended.promise.catch(() => {});
  }

  /** Connects, and answers once the terminal does. */
  async begin(): Promise<void> {
    await this.#connect();
    this.#ping = setInterval(() => this.#say({ type: "ping" }), PING_MS).unref();
  }

  sendInput(data: string | Uint8Array): void {
    this.#say({ type: "input", data: typeof data === "string" ? data : new TextDecoder().decode(data) });
  }

  resize({ cols, rows }: PtySize): void {
    this.#size = { cols, rows };
    this.#say({ type: "resize", cols, rows });
  }

  /** The exit code, once its program has ended; the Problem that says so when the sandbox has. */
  wait(): Promise<{ exitCode: number }> {
    return this.#ended.promise;
  }

  /** Looks away; the terminal goes on. */
  disconnect(): void {
    this.#finish();
  }

  /** Ends it with all that it started; false when it is gone already. */
  async kill(): Promise<boolean> {
    try {
      await call(this.#client, deleteTerminal, { params: { terminalId: this.terminalId } });
      return true;
    } catch (error) {
      if (error instanceof Problem && error.code === "process_not_found") return false;
      throw error;
    }
  }

  #connect(): Promise<void> {
    const { url, prefix, apiKey } = this.#client;
    const address = new URL(`${url}${prefix}/processes/tty`.replace(/^http/, "ws"));
    const { cwd, command } = this.#options;
    const known = this.terminalId === "" ? {} : { id: this.terminalId, from: String(this.#at) };
    const asked = { protocol: "json", rows: String(this.#size.rows), cols: String(this.#size.cols), cwd, command, ...known };
    for (const [name, value] of Object.entries(asked)) if (value !== undefined) address.searchParams.set(name, value);
    const socket = new WebSocket(address, { headers: apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` } });
    this.#socket = socket;
    return new Promise<void>((resolve, reject) => {
      let isOpen = false;
      socket.addEventListener("message", ({ data }: MessageEvent) => {
        const said = JSON.parse(data as string) as Said;
        if (said.type === "connectionEstablished") {
          isOpen = true;
          this.pid = said.processId ?? "";
          this.terminalId = said.terminalId ?? "";
          this.resize(this.#size);
          resolve();
        } else this.#hear(said);
      });
      socket.addEventListener("close", () => {
        if (this.#over) return;
        if (isOpen) void this.#comeBack();
        else reject(new Problem("sandbox_lost", { detail: "The terminal did not answer" }));
      });
      socket.addEventListener("error", () => {});
    }).catch(async (error: unknown) => {
      // A WebSocket does not tell why it was refused; the sandbox itself does.
      await call(this.#client, checkHealth, {});
      throw error;
    });
  }

  #hear(said: Said): void {
    if (said.type === "output") {
      this.#at = said.next ?? this.#at;
      this.#options.onData(new TextEncoder().encode(said.data ?? ""));
    } else if (said.type === "status" && said.status === "exited") {
      this.#ended.resolve({ exitCode: said.exitCode ?? 0 });
      this.#finish();
    }
  }

  async #comeBack(): Promise<void> {
    this.#options.onConnection?.("lost");
    let why: unknown;
    for (const waitMs of RETRY_MS) {
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (this.#over) return;
      try {
        await this.#connect();
        this.#options.onConnection?.("back");
        return;
      } catch (error) {
        why = error;
        if (error instanceof Problem && ["sandbox_ended", "sandbox_not_found", "unauthenticated"].includes(error.code)) break;
      }
    }
    this.#finish();
    this.#ended.reject(why instanceof Error ? why : new Problem("sandbox_lost"));
  }

  #say(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #finish(): void {
    this.#over = true;
    clearInterval(this.#ping);
    this.#socket?.close();
  }
}
