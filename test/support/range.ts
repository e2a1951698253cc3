import { execFile } from "node:child_process";
import { connect } from "node:net";
import { test } from "node:test";
import { newTenant, openDoor, type Door, type Tenant } from "#support/door.ts";

/** What a probe said, wherever it ran. */
export interface Said {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** A sandbox as its owner reaches it. */
export interface Box {
  sandboxId: string;
  /** Runs a shell probe inside, as any agent's code would. */
  inside(probe: string, timeoutSeconds?: number): Promise<Said & { status: string }>;
  /** Sends a request below `/sandboxes/{id}`. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
}

/** One sandbox under attack, and the same machine without one for the control. */
export interface Range extends Box {
  door: Door;
  tenant: Tenant;
  /** Runs the same probe on the bare machine, where nothing stops it. */
  outside(probe: string): Promise<Said>;
  /** Another sandbox of the same project; it ends with the attack. */
  neighbour(spec?: object): Promise<Box>;
  /** Another project altogether. */
  stranger(): Promise<Tenant>;
}

/** Opens a sandbox for one attack; it is destroyed with the block. */
export async function openRange(spec: object = {}): Promise<Range & AsyncDisposable> {
  const door = await openDoor();
  const tenant = await newTenant(door);
  const made: Box[] = [];
  const neighbour = async (of: object = {}) => {
    const box = await openBox(tenant, of);
    made.push(box);
    return box;
  };
  return {
    ...(await neighbour(spec)),
    door,
    tenant,
    outside,
    neighbour,
    stranger: () => newTenant(door),
    async [Symbol.asyncDispose]() {
      // Whatever an attack did, its sandbox can be destroyed: the end of every attack proves it again.
      await Promise.all(made.map(({ sandboxId }) => tenant.json("DELETE", `/api/sandboxes/${sandboxId}`)));
      await door[Symbol.asyncDispose]();
    },
  };
}

async function openBox(tenant: Tenant, spec: object): Promise<Box> {
  return boxOf(tenant, (await tenant.json<{ id: string }>("POST", "/api/sandboxes", spec, 201)).id);
}

/** A sandbox that was made in another way. */
export function boxOf(tenant: Tenant, id: string): Box {
  const send: Box["send"] = (method, path, body, headers) => tenant.send(method, `/sandboxes/${id}${path}`, body, headers);
  return {
    sandboxId: id,
    send,
    async inside(command, timeout = 60) {
      const answer = await send("POST", "/processes/cmd", { command, timeout });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`The probe was not run, ${answer.status}: ${text}`);
      const { status, result } = JSON.parse(text) as { status: string; result: Said };
      return { ...result, status };
    },
  };
}

/** A bounded run of a probe by the host's shell. */
export async function outside(command: string): Promise<Said> {
  return new Promise((resolve) => {
    execFile("/bin/bash", ["-c", command], { timeout: 60_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      resolve({ exitCode, stdout, stderr });
    });
  });
}

/** A Python probe as a shell one; the code reads like a file, so it holds no line `PROBE`. */
export function python(code: string): string {
  return `/usr/bin/python3 - <<'PROBE'\n${code}\nPROBE`;
}

/** Python that offers `attempt(name, work)`, which prints `name ok` or `name ERRNO`, and `call(number, …)`, a bare system call. */
const ATTEMPT = `
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *given):
    ctypes.set_errno(0)
    result = libc.syscall(*[ctypes.c_long(one) if isinstance(one, int) else one for one in (number, *given)])
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
def attempt(name, work):
    try: work(); said = "ok"
    except OSError as error: said = errno.errorcode.get(error.errno, type(error).__name__)
    except Exception as error: said = type(error).__name__
    print(name, said, flush=True)
`;

/** A probe of several attempts; `answers` reads what it printed. */
export function attempts(code: string): string {
  return python(`${ATTEMPT}\n${code}`);
}

/** How each attempt ended, by its name. A probe that broke off is an error and no result. */
export function answers({ stdout, stderr, exitCode }: Said): Record<string, string> {
  if (exitCode !== 0) throw new Error(`The probe broke off with ${exitCode}: ${stdout}${stderr}`);
  const pairs = stdout
    .trim()
    .split("\n")
    .map((line) => line.split(" ", 2) as [string, string]);
  return Object.fromEntries(pairs);
}

/** Sends bytes to the door as they are, which no HTTP client would do, and answers all that comes back. */
export function speak(door: Door, text: string | readonly string[]): Promise<string> {
  const { hostname, port } = new URL(door.origin);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let heard = "";
    socket.on("data", (chunk: Buffer) => (heard += chunk.toString("latin1")));
    socket.on("error", reject);
    socket.on("close", () => resolve(heard));
    socket.setTimeout(10_000, () => socket.destroy(new Error(`The door said no more after: ${heard}`)));
    socket.write(typeof text === "string" ? text : `${text.join("\r\n")}\r\n\r\n`);
  });
}

/**
 * Declares the proof of one case: its id stands in docs/threat-model.md beside the claim that it supports, and a gate
 * holds the two lists against each other. `skip` says why a host cannot run it; `sandbox` is what to attack.
 */
export function proves(
  caseId: string,
  promise: string,
  attack: (range: Range) => Promise<void>,
  options: { skip?: string; sandbox?: object } = {},
): void {
  test(`${caseId}: ${promise}`, options.skip === undefined ? {} : { skip: options.skip }, async () => {
    await using range = await openRange(options.sandbox);
    await attack(range);
  });
}
