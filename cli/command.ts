import { parseArgs, type ParseArgsOptionDescriptor } from "node:util";
import type { ClientOptions } from "#client/client.ts";
import { EXIT, refusal } from "./exit.ts";
import type { Screen } from "./screen.ts";

/** An option as `parseArgs` reads it, and as help says it. `value` names what follows it. */
export type Option = ParseArgsOptionDescriptor & { about: string; value?: string };

type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

/** A command line, understood: every command also gets `--json`. */
export class Given {
  readonly positionals: readonly string[];
  readonly json: boolean;
  readonly #values: Values;

  constructor(values: Values, positionals: readonly string[]) {
    this.#values = values;
    this.positionals = positionals;
    this.json = values["json"] === true;
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  texts(name: string): string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  }

  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** A number of seconds as milliseconds. */
  seconds(name: string): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const seconds = Number(text);
    if (text.trim() !== "" && seconds > 0 && Number.isFinite(seconds)) return seconds * 1000;
    throw refusal(EXIT.usage, `--${name} is a number of seconds, not ${text}`, `Write it like --${name} 60.`);
  }

  /** Options that are written NAME=VALUE, as a record. */
  pairs(name: string): Record<string, string> {
    const pairs = this.texts(name).map((text): [string, string] => {
      const at = text.indexOf("=");
      if (at < 1) throw refusal(EXIT.usage, `--${name} is written NAME=VALUE, not ${text}`, `Write it like --${name} LEVEL=3.`);
      return [text.slice(0, at), text.slice(at + 1)];
    });
    return Object.fromEntries(pairs);
  }
}

/** What a command works with: the screen, where Cleanroom is, and the signal that Ctrl-C gives. */
export interface Surroundings {
  screen: Screen;
  client: ClientOptions;
  signal: AbortSignal;
}

export interface Command {
  name: string;
  /** What follows the name, as help writes it. */
  usage: string;
  summary: string;
  example: string;
  options: Record<string, Option>;
  /** How many words it takes; `Infinity` for as many as come. */
  words: { min: number; max: number };
  run(given: Given, around: Surroundings): Promise<number>;
}

const EVERYWHERE: Record<string, Option> = {
  json: { type: "boolean", about: "answer as JSON" },
  help: { type: "boolean", short: "h", about: "say this" },
};

/** Reads a command's words and options; what it does not know is refused by name. Undefined means that help is asked for. */
export function understand(command: Command, args: string[]): Given | undefined {
  const next = `\`cleanroom ${command.name} --help\` says what it takes.`;
  const options = { ...command.options, ...EVERYWHERE };
  const parsed = (() => {
    try {
      return parseArgs({ args, options, allowPositionals: true, strict: true });
    } catch (error) {
      const said = error instanceof Error ? (error.message.split(". ")[0] ?? "") : "not understood";
      throw refusal(EXIT.usage, said, next);
    }
  })();
  if (parsed.values["help"] === true) return undefined;
  const { min, max } = command.words;
  const count = parsed.positionals.length;
  if (count < min) throw refusal(EXIT.usage, `cleanroom ${command.name} needs ${command.usage}`, next);
  if (count > max) throw refusal(EXIT.usage, `${parsed.positionals[max]} is one word too many`, next);
  return new Given(parsed.values, parsed.positionals);
}

/** A command's help: what it does, its options, one example. */
export function helpFor(command: Command): string {
  const rows = Object.entries({ ...command.options, ...EVERYWHERE }).map(([name, option]) => {
    const short = option.short ? `-${option.short}, ` : "";
    const many = option.multiple ? " (again for more)" : "";
    return [`  ${short}--${name}${option.value ? ` ${option.value}` : ""}`, option.about + many] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return [
    `cleanroom ${command.name} ${command.usage}`.trimEnd(),
    "",
    `  ${command.summary}`,
    "",
    ...rows.map(([left, about]) => left.padEnd(width) + about),
    "",
    "For example",
    `  ${command.example}`,
    "",
  ].join("\n");
}
