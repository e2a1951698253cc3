import { openAsBlob } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { basename, isAbsolute, join, resolve } from "node:path";
import { Artifacts } from "#client/artifacts.ts";
import type { ClientOptions } from "#client/client.ts";
import type { CommandResult } from "#client/commands.ts";
import { Sandbox } from "#client/sandbox.ts";
import { newId } from "#contract/id.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem } from "#contract/problem.ts";
import type { Sandbox as SandboxInfo } from "#contract/sandbox.ts";
import { EXIT, refusal } from "./exit.ts";
import { HOME, quoted, type Program } from "./program.ts";
import type { Kept, NotKept, Outcome, Phase, Receipt } from "./receipt.ts";

/** One program's whole life in a sandbox of its own. */
export interface Job {
  program: Program;
  args: string[];
  inputs: string[];
  keep: string[];
  /** A local directory that kept files are also written to. */
  save?: string | undefined;
  template?: string | undefined;
  /** The task that its sandbox joins; without one it has its own. */
  taskId?: string | undefined;
  timeoutMs: number;
  environment: Record<string, string>;
}

/** Who watches a job: the phase it is in, and what its program writes. */
export interface Watcher {
  phase(phase: Phase): void;
  output(stream: "stdout" | "stderr", text: string): Promise<void>;
}

/**
 * Makes a sandbox, sends program and inputs, runs it, keeps what is to be kept and destroys the sandbox, whatever
 * happened. Its id is chosen here first, so that even a sandbox whose creation was interrupted is found and destroyed.
 */
export async function runJob(client: ClientOptions, job: Job, watcher: Watcher, signal: AbortSignal): Promise<Receipt> {
  const inputs = await checkInputs(job);
  const clock = newClock(watcher);
  const id = newId(Date.now());
  const startedAt = new Date().toISOString();
  let outcome: Outcome = { status: "interrupted", exitCode: EXIT.interrupted };
  let before: SandboxInfo | undefined;
  let after: SandboxInfo | undefined;
  let kept: Kept[] = [];
  let notKept: NotKept[] = [];
  let output = { stdout: "", stderr: "", dropped: { stdout: 0, stderr: 0 } };
  try {
    clock.enter("make");
    const { template, taskId } = job;
    const box = await Sandbox.create({ ...client, id, template, taskId, metadata: { program: job.program.name }, signal });
    clock.enter("send");
    await send(box, job.program, inputs, signal);
    clock.enter("run");
    const ran = await run(box, job, watcher, signal);
    outcome = ran.outcome;
    output = ran.output;
    clock.enter("keep");
    before = await box.info({ signal });
    // The kernel's count is the proof that it was memory: what a command can say of its own end is a signal.
    if (outcome.exitCode === 137 && (before.usage?.oomKills ?? 0) > 0) outcome = { ...outcome, status: "oom" };
    if (outcome.status !== "lost") ({ kept, notKept } = await keepAll(box, client, job, signal));
  } catch (error) {
    if (!signal.aborted) throw error;
    outcome = { status: "interrupted", exitCode: EXIT.interrupted };
  } finally {
    clock.enter("destroy");
    after = await destroy(client, id);
  }
  const phasesMs = clock.end();
  const command = [...job.program.argv, ...job.args];
  const usage = after?.usage ?? before?.usage;
  return {
    program: { name: job.program.name, language: job.program.language, args: job.args, command },
    sandbox: { id, template: after?.template ?? before?.template, isolation: before?.isolation ?? after?.isolation },
    startedAt,
    outcome,
    phasesMs,
    usage,
    inputs: inputs.map((input) => basename(input.path)),
    kept,
    notKept,
    destroyed: { ended: after === undefined || after.state === "ended", reason: after?.endReason, endedAt: after?.endedAt },
    output,
  };
}

interface Input {
  path: string;
  directory: boolean;
}

async function checkInputs(job: Job): Promise<Input[]> {
  const names = new Set([job.program.name]);
  const inputs: Input[] = [];
  for (const given of job.inputs) {
    const path = resolve(given);
    const found = await stat(path).catch(() => undefined);
    if (!found) throw refusal(EXIT.input, `There is no ${given} here`, "Check the path after --input.");
    const name = basename(path);
    if (names.has(name)) throw refusal(EXIT.input, `Two files would be called ${name} in the sandbox`, "Rename one of them.");
    names.add(name);
    inputs.push({ path, directory: found.isDirectory() });
  }
  return inputs;
}

async function send(box: Sandbox, program: Program, inputs: Input[], signal: AbortSignal): Promise<void> {
  await box.files.write(`${HOME}/${program.name}`, await openAsBlob(program.file), { mode: "755", signal });
  for (const { path, directory } of inputs) {
    const remote = `${HOME}/${basename(path)}`;
    if (directory) await box.files.uploadDirectory(path, remote, { signal });
    else await box.files.write(remote, await openAsBlob(path), { signal });
  }
}

type Output = Pick<CommandResult, "stdout" | "stderr" | "dropped">;

async function run(box: Sandbox, job: Job, watcher: Watcher, signal: AbortSignal): Promise<{ outcome: Outcome; output: Output }> {
  const command = [...job.program.argv, ...job.args].map(quoted).join(" ");
  try {
    const { status, exitCode, ...output } = await box.commands.run(command, {
      cwd: HOME,
      env: job.environment,
      timeoutMs: job.timeoutMs,
      signal,
      onStdout: (text) => watcher.output("stdout", text),
      onStderr: (text) => watcher.output("stderr", text),
    });
    return { outcome: { status, exitCode: status === "timeout" ? EXIT.timeout : exitCode }, output };
  } catch (error) {
    // A sandbox that died under its program is an outcome with a reason, which reading it tells.
    const died = error instanceof Problem && (error.code === "sandbox_lost" || error.code === "sandbox_ended");
    if (!died || signal.aborted) throw error;
    const info = await box.info({ signal }).catch(() => undefined);
    const outcome: Outcome = { status: "lost", exitCode: EXIT.failed, why: info?.endReason ?? error.message };
    return { outcome, output: { stdout: "", stderr: "", dropped: { stdout: 0, stderr: 0 } } };
  }
}

async function keepAll(box: Sandbox, client: ClientOptions, job: Job, signal: AbortSignal): Promise<{ kept: Kept[]; notKept: NotKept[] }> {
  const kept: Kept[] = [];
  const notKept: NotKept[] = [];
  for (const path of job.keep) {
    try {
      const artifact = await box.artifacts.keep(isAbsolute(path) ? path : `${HOME}/${path}`, { signal });
      const { url, expiresAt } = await Artifacts.link(artifact.id, { ...client, lifetimeMs: LIMITS.linkMaxMs, signal });
      // It is kept from here on, whatever becomes of the copy.
      const copy = job.save === undefined ? {} : await saveInto(job.save, artifact.id, artifact.name, client, signal);
      const { id, name, sizeBytes, sha256, mediaType } = artifact;
      kept.push({ id, name, path: artifact.path, sizeBytes, sha256, mediaType, url, expiresAt, ...copy });
    } catch (error) {
      if (!(error instanceof Problem) || signal.aborted) throw error;
      notKept.push({ path, code: error.code, why: error.message });
    }
  }
  return { kept, notKept };
}

/** The name is the sandbox's word: only its last part, and never a name that means a place, becomes a local file. */
async function saveInto(
  dir: string,
  artifactId: string,
  name: string,
  client: ClientOptions,
  signal: AbortSignal,
): Promise<Pick<Kept, "saved" | "notSaved">> {
  const last = basename(name);
  const file = resolve(dir, last === "" || last === "." || last === ".." ? artifactId : last);
  try {
    await mkdir(dir, { recursive: true });
    await Artifacts.save(artifactId, file, { ...client, signal });
    return { saved: join(dir, basename(file)) };
  } catch (error) {
    if (signal.aborted) throw error;
    return { notSaved: error instanceof Error ? error.message : String(error) };
  }
}

/** Destroys by id, without the signal: being interrupted is the reason to do it, not a reason to stop. */
async function destroy(client: ClientOptions, id: string): Promise<SandboxInfo | undefined> {
  try {
    return await Sandbox.kill(id, client);
  } catch (error) {
    if (error instanceof Problem && (error.code === "sandbox_not_found" || error.code === "engine_unavailable")) return undefined;
    throw error;
  }
}

function newClock(watcher: Watcher) {
  const phasesMs: Partial<Record<Phase, number>> = {};
  let current: { phase: Phase; atMs: number } | undefined;
  const leave = () => {
    if (current) phasesMs[current.phase] = performance.now() - current.atMs;
  };
  return {
    enter(phase: Phase) {
      leave();
      current = { phase, atMs: performance.now() };
      watcher.phase(phase);
    },
    end() {
      leave();
      return phasesMs;
    },
  };
}
