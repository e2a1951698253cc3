import { text } from "node:stream/consumers";
import { Sandbox } from "#client/sandbox.ts";
import type { Command } from "./command.ts";
import { EXIT } from "./exit.ts";
import { quoted } from "./program.ts";

export const exec: Command = {
  name: "exec",
  usage: "SANDBOX COMMAND…",
  summary: "Run a shell command in a sandbox that lives. One word is a shell command line; several are one command's words.",
  example: `cleanroom exec 01KA7Q3Z9M4T2V6X8Y0B1C5D7E "ls -la | head"`,
  words: { min: 2, max: Number.POSITIVE_INFINITY },
  options: {
    cwd: { type: "string", value: "PATH", about: "where it runs (/home/user)" },
    env: { type: "string", short: "e", multiple: true, value: "NAME=VALUE", about: "a variable for the command" },
    timeout: { type: "string", value: "SECONDS", about: "how long it may take (600)" },
    stdin: { type: "boolean", about: "send this command's standard input along" },
  },
  async run(given, { screen, client, signal }) {
    const [id = "", ...words] = given.positionals;
    const box = await Sandbox.connect(id, { ...client, signal });
    const result = await box.commands.run(words.length === 1 ? (words[0] ?? "") : words.map(quoted).join(" "), {
      cwd: given.text("cwd"),
      env: given.pairs("env"),
      timeoutMs: given.seconds("timeout") ?? 600_000,
      signal,
      stdin: given.flag("stdin") ? await text(process.stdin) : "",
      onStdout: (out) => (given.json ? undefined : screen.output("stdout", out)),
      onStderr: (out) => (given.json ? undefined : screen.output("stderr", out)),
    });
    await screen.endOutput();
    if (given.json) await screen.answer(`${JSON.stringify(result, undefined, 2)}\n`);
    else if (result.status !== "completed") screen.note(`cleanroom: the command ended early: ${result.status}\n`);
    return result.status === "timeout" ? EXIT.timeout : result.exitCode;
  },
};
