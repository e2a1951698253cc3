#!/usr/bin/env node
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Runs under any Node from 18 on: finds the Node that the project brings, and hands the command line to it. */
const project = dirname(dirname(fileURLToPath(import.meta.url)));
const node = join(project, "node_modules/.bin/node");

if (existsSync(node)) {
  start();
} else {
  console.error("cleanroom: this folder is not set up yet: it has no node_modules/.bin/node");
  console.error(`Run \`npm run setup\` in ${project} first (or \`npm start\`, which sets up and serves).`);
  process.exitCode = 69;
}

function start() {
  const child = spawn(node, [join(project, "cli/main.ts"), ...process.argv.slice(2)], { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    // A terminal sends Ctrl-C to the child itself; sent twice it would mean more than it says.
    process.on(signal, () => (signal === "SIGINT" && process.stdin.isTTY ? undefined : child.kill(signal)));
  }
  child.on("error", (error) => {
    console.error(`cleanroom: ${node} does not start: ${error.message}`);
    console.error(`Run \`npm run setup\` in ${project} again.`);
    process.exitCode = 69;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = signal ? 128 + constants.signals[signal] : (code ?? 70);
  });
}
