import { Sandbox } from "#client/sandbox.ts";
import type { PtySize } from "#client/pty.ts";
import type { Command } from "./command.ts";
import { EXIT, refusal } from "./exit.ts";

/** Ctrl-]: what nobody types by chance, as telnet has it. */
const DETACH = 0x1d;

export const shell: Command = {
  name: "shell",
  usage: "SANDBOX",
  summary: "Open a terminal in a sandbox that lives. Ctrl-] leaves it running; --attach comes back to it.",
  example: "cleanroom shell 01KA7Q3Z9M4T2V6X8Y0B1C5D7E",
  words: { min: 1, max: 1 },
  options: {
    attach: { type: "string", value: "TERMINAL", about: "come back to a terminal that runs" },
    command: { type: "string", value: "COMMAND", about: "what runs instead of a shell" },
    cwd: { type: "string", value: "PATH", about: "where it starts (/home/user)" },
  },
  async run(given, { screen, client, signal }) {
    const { stdin, stdout } = process;
    if (given.json) throw refusal(EXIT.usage, "A terminal is not JSON", "Use `cleanroom exec --json`.");
    const box = await Sandbox.connect(given.positionals[0] ?? "", { ...client, signal });
    const size = (): PtySize => ({ cols: stdout.columns ?? 80, rows: stdout.rows ?? 24 });
    const options = {
      ...size(),
      cwd: given.text("cwd"),
      command: given.text("command"),
      // It is the sandbox's terminal that speaks, on one that is the reader's own: as ssh does, it is shown as it comes.
      onData: (data: Uint8Array) => void stdout.write(data),
      onConnection: (state: "lost" | "back") =>
        screen.note(state === "lost" ? "\r\n[the connection was lost; coming back]\r\n" : "[back]\r\n"),
    };
    const attach = given.text("attach");
    const pty = attach === undefined ? await box.pty.create(options) : await box.pty.connect(attach, options);
    const left = Promise.withResolvers<"left">();
    const type = (data: Buffer) => {
      const at = data.indexOf(DETACH);
      if (at !== 0) pty.sendInput(at < 0 ? data : data.subarray(0, at));
      if (at >= 0) left.resolve("left");
    };
    const resize = () => pty.resize(size());
    stdin.setRawMode?.(true);
    stdin.on("data", type).resume();
    stdout.on("resize", resize);
    signal.addEventListener("abort", () => left.resolve("left"), { once: true });
    try {
      const end = await Promise.race([pty.wait(), left.promise]);
      if (end !== "left") return end.exitCode;
      screen.note(`\r\n[left running: cleanroom shell ${box.id} --attach ${pty.terminalId}]\r\n`);
      return EXIT.ok;
    } finally {
      stdin.setRawMode?.(false);
      stdin.off("data", type).pause();
      stdout.off("resize", resize);
      pty.disconnect();
    }
  },
};
