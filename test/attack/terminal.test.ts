import assert from "node:assert/strict";
import { join } from "node:path";
import { projectDir } from "#infra/config.ts";
import { outside, proves } from "#support/range.ts";

/** What would set a title, write the clipboard, ask the terminal to answer, hide a line, open a link, or draw elsewhere. */
const TERMINAL = String.raw`\033]0;owned\007 \033]52;c;b3duZWQ=\007 \033[6n \033[c \033P+q544e\033\\ \033]8;;http://evil.example\033\\link\033]8;;\033\\ \033[2J\033[H \033[?1049h \302\2335n secret\rshown \033[31mred`;
// What is looked for are control characters.
// oxlint-disable-next-line no-control-regex
const HARMFUL = /\u001B(?!\[[\d;]*m)|[\u0080-\u009F]|\r(?!\n)|\u0007/;

proves("T25", "what a sandbox prints, or calls its files, does nothing to the terminal of who looks at it but colour it", async (range) => {
  const { door, tenant, sandboxId, inside, send } = range;
  const raw = (await inside(`printf '${TERMINAL}'`)).stdout;
  assert.match(raw, HARMFUL, "the answer holds it as it was printed");
  const environment = `CLEANROOM_URL=${door.origin} CLEANROOM_API_KEY=${tenant.key.apiKey} TERM=xterm`;
  const cleanroom = async (words: string) => {
    const command = `${process.execPath} ${join(projectDir(), "cli/cleanroom.mjs")} ${words}`;
    return (await outside(`${environment} script -qec ${quoted(command)} /dev/null < /dev/null`)).stdout;
  };
  const shown = await cleanroom(`exec ${sandboxId} printf ${quoted(TERMINAL)}`);
  assert.match(shown, /red/);
  assert.doesNotMatch(shown.replaceAll("\r\n", "\n"), HARMFUL);
  const name = "a\u001B]52;c;b3duZWQ=\u0007b\u001B[2Jc.txt";
  assert.equal((await send("PUT", `/files/content?path=${encodeURIComponent(name)}`, "x")).status, 200);
  await tenant.json("POST", `/api/sandboxes/${sandboxId}/artifacts`, { path: name }, 201);
  const listed = await cleanroom("artifact ls");
  assert.match(listed, /c\.txt/);
  assert.doesNotMatch(listed.replaceAll("\r\n", "\n"), HARMFUL);
});

const quoted = (word: string) => `'${word.replaceAll("'", String.raw`'\''`)}'`;
