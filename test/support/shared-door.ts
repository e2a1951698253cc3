import { startDoor } from "#support/door.ts";

/** The server of a whole test run: says where it is on one line, lives until standard input ends. */
const door = await startDoor();
const { [Symbol.asyncDispose]: _dispose, open: _open, ...facts } = door;
process.stdout.write(`${JSON.stringify(facts)}\n`);
for await (const _chunk of process.stdin) {
  // Nothing is said to it; the end of the input is the word to stop.
}
await door[Symbol.asyncDispose]();
process.exit(0);
