import { once } from "node:events";
import headless from "@xterm/headless";
import { until } from "./until.ts";

/** What the workspace says, as far as tests look at it. */
export interface Said {
  type: string;
  data?: string;
  terminalId?: string;
  processId?: string;
  status?: string;
  exitCode?: number;
  reason?: string;
  dropped?: number;
  offset?: number;
  next?: number;
  resumed?: boolean;
}

/** A terminal as a person has it: a screen that shows what came, and keys. */
export interface Tty extends AsyncDisposable {
  socket: WebSocket;
  said: Said[];
  /** All output as it came. */
  text(): string;
  /** What the screen shows, line by line. */
  screen(): string;
  say(message: object): void;
  type(text: string): void;
  /** Waits until the screen shows it. */
  shows(what: RegExp, withinMs?: number): Promise<void>;
  /** Waits for a message of that type. */
  hears(type: string): Promise<Said>;
  closed: Promise<{ code: number; reason: string }>;
}

/** Connects in JSON; `headers` are what a browser could not send, such as a key. */
export async function openTty(url: string, headers: Record<string, string> = {}, size = { rows: 24, cols: 80 }): Promise<Tty> {
  const address = new URL(url.replace(/^http/, "ws"));
  if (!address.searchParams.has("rows")) address.searchParams.set("rows", String(size.rows));
  if (!address.searchParams.has("cols")) address.searchParams.set("cols", String(size.cols));
  const socket = new WebSocket(address, { headers });
  const said: Said[] = [];
  const emulator = new headless.Terminal({ ...size, allowProposedApi: true, scrollback: 1000 });
  let output = "";
  const closed = once(socket, "close").then(([event]) => ({ code: (event as CloseEvent).code, reason: (event as CloseEvent).reason }));
  socket.addEventListener("message", ({ data }: MessageEvent) => {
    const message = JSON.parse(data as string) as Said;
    said.push(message);
    if (message.type !== "output") return;
    output += message.data ?? "";
    emulator.write(message.data ?? "");
  });
  // A program asks its terminal, and waits for the answer.
  emulator.onData((data) => say({ type: "input", data }));
  const say = (message: object) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  const screen = () => {
    const { active } = emulator.buffer;
    return Array.from({ length: emulator.rows }, (_, row) => active.getLine(active.viewportY + row)?.translateToString(true) ?? "").join(
      "\n",
    );
  };
  const tty: Tty = {
    socket,
    said,
    text: () => output,
    screen,
    say,
    type: (data) => say({ type: "input", data }),
    shows: async (what, withinMs = 15_000) => {
      await until(`the screen shows ${what}`, () => what.test(screen()), withinMs).catch((error: unknown) => {
        throw new Error(`${String(error)}; it shows:\n${screen()}`);
      });
    },
    async hears(type) {
      await until(`${type} is said`, () => said.some((one) => one.type === type), 15_000);
      return said.findLast((one) => one.type === type) as Said;
    },
    closed,
    async [Symbol.asyncDispose]() {
      socket.close();
      await closed;
      emulator.dispose();
    },
  };
  await Promise.race([once(socket, "open"), closed.then(() => Promise.reject(new Error("The terminal was refused")))]);
  return tty;
}
