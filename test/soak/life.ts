import { randomBytes } from "node:crypto";
import * as z from "zod";
import { envelope } from "#contract/agentrun.ts";
import { AgentrunSandbox } from "#contract/agentrun-sandbox.ts";
import { Execution } from "#contract/context.ts";
import { FileContent } from "#contract/file.ts";
import { Problem } from "#contract/problem.ts";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { CommandAnswer } from "#contract/process.ts";
import { Sandbox } from "#contract/sandbox.ts";
import { Snapshot } from "#contract/snapshot.ts";
import type { Asker, Patience } from "./asking.ts";
import type { Dice } from "./dice.ts";
import { countUp, type Ledger, type Life } from "./ledger.ts";

const KINDS = { named: 4, agentrun: 4, unnamed: 2 };
const STEPS = { execute: 8, recall: 3, file: 4, command: 4, pause: 2, snapshot: 1 };
const OWN = { delete: 6, remove: 0, stop: 0, idle: 2 };
const ENDINGS = { named: OWN, unnamed: OWN, agentrun: { delete: 0, remove: 4, stop: 2, idle: 2 } };
const STEPS_MAX = 6;
const LONG_IDLE_MS = 600_000;
const SHORT_IDLE_MS = 20_000;
/** A client does other work meanwhile, and asks once more when the killing is over. */
const SHORT: Patience = { answerMs: 15_000, untilMs: 5_000 };
const LONG: Patience = { answerMs: 90_000, untilMs: 240_000 };
const AGAIN_MAX = 50;
const TEMPLATE = "code-interpreter";

/** One client at work: what it asks with, and what decides what it does. */
export interface Client {
  asker: Asker;
  ledger: Ledger;
  dice: Dice;
  /** Names that nobody else uses. */
  newName: () => string;
}

/** One sandbox from its creation to its end; what it meets on the way is written into the ledger. */
export async function liveOnce(client: Client, from?: { snapshot: string; file: string }): Promise<void> {
  const { dice, ledger } = client;
  const kind = from ? "named" : dice.weighted(KINDS);
  const life: Life = {
    name: client.newName(),
    kind,
    ...(from ? { snapshot: from.snapshot } : {}),
    createsAsked: 0,
    unsettled: false,
    deleteAsked: false,
    stopAsked: false,
    idleAsked: kind === "unnamed",
    stateLost: false,
  };
  ledger.lives.push(life);
  await inLife(client, life, async () => {
    if (!(await create(client, life, SHORT))) return;
    if (from) await expectFile(client, life, "kept", from.file);
    for (let steps = dice.below(STEPS_MAX) + (from ? 0 : 1); steps > 0; steps -= 1) {
      const step = dice.weighted(STEPS);
      await DO[step](client, life);
      countUp(ledger.steps, step);
    }
    await finish(client, life);
  });
}

/** Asks again for what was not answered, much later: it is the one sandbox or none, and is ended then. */
export async function settle(client: Client, life: Life): Promise<void> {
  await inLife(client, life, async () => {
    if (await create(client, life, LONG)) await finish(client, life);
  });
}

async function inLife({ ledger }: Client, life: Life, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Problem && error.code === "sandbox_ended") life.told = String(error.facts["reason"]);
    else ledger.faults.push(`${life.name} (${life.id ?? "without an answer"}): ${faultOf(error)}`);
  }
}

/** False when the id was used up by a creation whose answer was lost or that was refused, or when no answer came in time. */
async function create(client: Client, life: Life, patience: Patience): Promise<boolean> {
  const { name, kind, snapshot } = life;
  const asking = () => void (life.createsAsked += 1);
  const patient = { ...patience, asking };
  const metadata = { soak: name };
  try {
    if (kind === "agentrun") {
      const body = { templateName: TEMPLATE, sandboxId: name, sandboxIdleTimeoutSeconds: LONG_IDLE_MS / 1000 };
      const { value } = await client.asker.ask(envelope(AgentrunSandbox), "POST", "/sandboxes", body, patient);
      expect(value.data.status, "READY");
      life.id = value.data.sandboxId;
    } else {
      const id = kind === "named" ? { id: name, idleTimeoutMs: LONG_IDLE_MS } : { idleTimeoutMs: SHORT_IDLE_MS };
      const body = { ...id, metadata, ...(snapshot === undefined ? {} : { snapshot }) };
      const { value } = await client.asker.ask(Sandbox, "POST", "/api/sandboxes", body, patient);
      expect(value.state, "ready");
      life.id = value.id;
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.code === "already_exists" && life.createsAsked > 1) return false;
    // It goes with the sandbox that it was taken of, before the last are asked for again.
    if (error.code === "snapshot_not_found" && patience === LONG) return false;
    if (patience !== SHORT || !PROBLEMS[error.code].retry) throw error;
    life.unsettled = true;
    return false;
  }
  if (kind !== "unnamed") expect(life.id, name);
  return true;
}

const execute = async (client: Client, life: Life): Promise<void> => {
  const token = client.newName();
  const code = client.dice.chance(0.3)
    ? `import time; time.sleep(0.3); said = ${quoted(token)}; print(said)`
    : `said = ${quoted(token)}; print(said)`;
  for (let again = 0; again < AGAIN_MAX; again += 1) {
    const { stdout, results } = await run(client, life, code);
    const last = results.at(-1);
    if (last?.type !== "endOfExecution") throw new Error(`An execution has no end: ${JSON.stringify(results)}`);
    if (last.status === "ok") return expect(stdout, `${token}\n`);
    if (last.status !== "killed") throw new Error(`An execution ended with ${JSON.stringify(results)}`);
    expect(last.stateKept, false);
    life.stateLost = true;
  }
  throw new Error(`An execution was killed ${AGAIN_MAX} times`);
};

/** What a context said it holds it holds, unless its interpreter was killed. */
const recall = async (client: Client, life: Life): Promise<void> => {
  const token = client.newName();
  await execute(client, life);
  const first = await run(client, life, `held = ${quoted(token)}; print(held)`);
  const second = await run(client, life, "print(held)");
  const lost = [first, second].some(({ results }) =>
    results.some(({ type, ...end }) => type === "error" || ("status" in end && end.status !== "ok")),
  );
  if (lost) life.stateLost = true;
  else expect(second.stdout, `${token}\n`);
};

const file = async (client: Client, life: Life): Promise<void> => {
  const content = await writeSome(client, life, "f");
  await expectFile(client, life, "f", content);
};

const command = async (client: Client, life: Life): Promise<void> => {
  const token = client.newName();
  const { value } = await client.asker.ask(CommandAnswer, "POST", `/sandboxes/${life.id}/processes/cmd`, { command: `echo ${token}` });
  expect({ stdout: value.result?.stdout, exitCode: value.result?.exitCode }, { stdout: `${token}\n`, exitCode: 0 });
};

const pause = async (client: Client, life: Life): Promise<void> => {
  const { value } = await client.asker.ask(Sandbox, "POST", `/api/sandboxes/${life.id}/pause`);
  expect(value.state, "paused");
  if (client.dice.chance(0.5)) return execute(client, life);
  const resumed = await client.asker.ask(Sandbox, "POST", `/api/sandboxes/${life.id}/resume`);
  expect(resumed.value.state, "ready");
};

/** The files are kept, and another sandbox begins with them. */
const snapshot = async (client: Client, life: Life): Promise<void> => {
  const name = client.newName();
  const content = await writeSome(client, life, "kept");
  const taken = client.asker.ask(Snapshot, "POST", `/api/sandboxes/${life.id}/snapshots`, { name });
  await unless("already_exists", taken);
  await liveOnce(client, { snapshot: name, file: content });
  await unless("snapshot_not_found", client.asker.ask(z.undefined(), "DELETE", `/api/snapshots/${name}`));
};

const DO = { execute, recall, file, command, pause, snapshot };

async function finish(client: Client, life: Life): Promise<void> {
  const { asker, dice } = client;
  const way = dice.weighted(ENDINGS[life.kind]);
  if (way === "idle") {
    life.idleAsked = true;
    await asker.ask(Sandbox, "PATCH", `/api/sandboxes/${life.id}`, { idleTimeoutMs: 1000 + dice.below(4000) });
  } else if (way === "delete") {
    life.deleteAsked = true;
    const { value } = await asker.ask(Sandbox, "DELETE", `/api/sandboxes/${life.id}`);
    expect(value.state, "ended");
  } else {
    if (way === "stop") life.stopAsked = true;
    else life.deleteAsked = true;
    const [method, path] = way === "stop" ? ["POST", "/stop"] : ["DELETE", ""];
    // A second deletion finds nothing there, as AgentRun has it.
    const asked = asker.ask(envelope(AgentrunSandbox), method ?? "", `/sandboxes/${life.id}${path}`);
    const answer = await unless("sandbox_not_found", asked);
    if (answer) expect(answer.value.data.status, "TERMINATED");
  }
}

async function run(client: Client, life: Life, code: string): Promise<Execution> {
  const { value } = await client.asker.ask(Execution, "POST", `/sandboxes/${life.id}/contexts/execute`, { code });
  return value;
}

async function writeSome(client: Client, life: Life, name: string): Promise<string> {
  const content = randomBytes(1 + client.dice.below(20_000)).toString("hex");
  const Written = z.object({ size: z.int() });
  const { value } = await client.asker.ask(Written, "POST", `/sandboxes/${life.id}/files`, { path: `/home/user/${name}`, content });
  expect(value.size, content.length);
  return content;
}

async function expectFile(client: Client, life: Life, name: string, content: string): Promise<void> {
  const { value } = await client.asker.ask(FileContent, "GET", `/sandboxes/${life.id}/files?path=/home/user/${name}`);
  expect(value.content === content, true, `the file ${name} is as it was written`);
}

/** Undefined for a Problem that an earlier try explains, whose answer was lost. */
async function unless<T extends { again: boolean }>(code: Problem["code"], asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Problem && error.code === code && error.facts["again"] === true) return undefined;
    throw error;
  }
}

function expect(actual: unknown, expected: unknown, what = "the answer"): void {
  const [said, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (said !== wanted) throw new Error(`${what} is ${said}, not ${wanted}`);
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function faultOf(error: unknown): string {
  if (error instanceof Problem) return `${error.code} ${JSON.stringify(error.facts)}`;
  return error instanceof Error ? error.message : String(error);
}
