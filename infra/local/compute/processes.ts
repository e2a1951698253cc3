import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { takePrecedence } from "#infra/local/precedence.ts";

/** Where a trusted function's output goes; a number is an open file. */
export type Output = "inherit" | "ignore" | number;

export interface Running {
  readonly pid: number;
  readonly ended: Promise<string>;
  /** Asks it to end, then makes it. Stopping twice is one stop. */
  stop(graceMs: number): Promise<void>;
}

const SETPRIV = "/usr/bin/setpriv";
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Starts a trusted function's process. The kernel kills it when the engine dies; its pid is written down as well,
 * so that the next engine finds one that was missed. Its own session keeps Ctrl-C for the engine to handle.
 */
export function startProcess(spec: {
  db: DatabaseSync;
  functionName: string;
  command: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
  output: Output;
}): Running {
  const [name = "", ...args] = spec.command.map((part, index) => (index === 0 && part === "node" ? process.execPath : part));
  const guard = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL", "--"] : [];
  const [file = name, ...rest] = [...guard, name, ...args];
  const stdio: StdioOptions = ["ignore", spec.output, spec.output];
  const child = spawn(file, rest, { cwd: spec.cwd, env: { PATH, ...spec.env }, stdio, detached: true });
  if (child.pid !== undefined) {
    takePrecedence(child.pid);
    spec.db.prepare("INSERT OR REPLACE INTO processes VALUES (?, ?, ?)").run(child.pid, startTimeOf(child.pid) ?? "", spec.functionName);
  }
  const ended = endOf(child).then((reason) => {
    if (child.pid !== undefined) spec.db.prepare("DELETE FROM processes WHERE pid = ?").run(child.pid);
    return reason;
  });
  return { pid: child.pid ?? -1, ended, stop: (graceMs) => stop(child, ended, graceMs) };
}

/** Kills what an earlier engine left running: the same pid with the same start time is the same process. */
export function killLeftovers(db: DatabaseSync): string[] {
  const killed: string[] = [];
  for (const row of db.prepare("SELECT * FROM processes").all()) {
    const pid = Number(row["pid"]);
    if (startTimeOf(pid) === row["startedAt"]) {
      process.kill(-pid, "SIGKILL");
      killed.push(String(row["function"]));
    }
  }
  db.exec("DELETE FROM processes");
  return killed;
}

async function stop(child: ChildProcess, ended: Promise<string>, graceMs: number): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), graceMs);
  await ended;
  clearTimeout(force);
}

function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(signal ? `killed by ${signal}` : `exited with ${code}`));
  });
}

/** A process's start in clock ticks since boot; undefined when it is gone. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
