import { open, stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import { EXIT, refusal } from "./exit.ts";

export const HOME = "/home/user";

/** A local file that can be run in a sandbox: by its extension, or by what its first line says. */
export interface Program {
  file: string;
  name: string;
  language: string;
  /** The words that run it, before its arguments. */
  argv: string[];
}

const BY_EXTENSION: Record<string, { language: string; argv: string[] }> = {
  ".py": { language: "python", argv: ["python3", "-u"] },
  ".js": { language: "javascript", argv: ["node"] },
  ".mjs": { language: "javascript", argv: ["node"] },
  ".cjs": { language: "javascript", argv: ["node"] },
  ".sh": { language: "shell", argv: ["bash"] },
};

/** Looks at the file and decides how it runs. */
export async function findProgram(file: string): Promise<Program> {
  const name = basename(file);
  const path = `${HOME}/${name}`;
  const firstLine = await firstLineOf(file);
  const known = BY_EXTENSION[extname(file).toLowerCase()];
  if (known) return { file, name, language: known.language, argv: [...known.argv, path] };
  if (firstLine.startsWith("#!")) return { file, name, language: "by its first line", argv: [path] };
  throw refusal(
    EXIT.usage,
    `${file} is neither .py, .js nor .sh, and has no #! line`,
    "Rename it, or give it a first line such as #!/usr/bin/env python3.",
  );
}

async function firstLineOf(file: string): Promise<string> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) throw refusal(EXIT.input, `There is no file ${file} here`, "Check the path.");
  await using handle = await open(file).catch(() => {
    throw refusal(EXIT.input, `${file} cannot be read`, "Check its permissions.");
  });
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
  return buffer.toString("latin1", 0, bytesRead).split("\n")[0] ?? "";
}

/** One word of a shell command, whatever is in it. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
