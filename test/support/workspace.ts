import { spawn } from "node:child_process";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, request, type IncomingMessage, type RequestOptions } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { signProof } from "#contract/proof.ts";
import { PROOF_HEADER, SESSION_HEADER, WORKSPACE_INSIDE } from "#contract/workspace.ts";
import { localConfig } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { freePort } from "#infra/local/ports.ts";

export const SESSION = "session-under-test";

export interface Reply {
  status: number;
  headers: IncomingMessage["headers"];
  bytes: Buffer;
  text: string;
  // What a workspace answers is JSON of many shapes; tests look into it by name.
  // oxlint-disable-next-line typescript/no-explicit-any
  json: any;
}

/** A workspace of its own: the real program in the sandbox's root, in its own mount and pid namespace, with a small /home. */
export interface TestWorkspace extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  headers(session?: string): Record<string, string>;
  /** Sends a request and reads the whole answer. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
  /** Sends a request and hands over the answer's stream. */
  open(
    method: string,
    path: string,
    body?: Buffer | string | AsyncIterable<Uint8Array>,
    headers?: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<IncomingMessage>;
}

export interface StartOptions {
  homeMiB?: number;
  env?: Record<string, string>;
  /** The control group's file that counts kills, shown inside where a sandbox has it. */
  memoryEvents?: string;
  /** A shell line run as root of the namespace before the workspace starts. */
  prepare?: string;
  /** A program of a test's own instead of the workspace's, inside. */
  program?: string;
}

/** Starts the built workspace and waits until it is healthy. */
export async function startWorkspace(options: StartOptions = {}): Promise<TestWorkspace> {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from((publicKey.export({ format: "jwk" }) as { x: string }).x, "base64url").toString("base64");
  const port = await freePort();
  const env = {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    FC_SERVER_PORT: String(port),
    CLEANROOM_PROOF_KEY: raw,
    ...options.env,
  };
  const child = spawn("unshare", namespaceArgs(options), { env, stdio: ["ignore", "inherit", "inherit"] });
  const workspace = createClient(port, privateKey);
  for (let look = 0; (await workspace.send("GET", "/health").catch(() => undefined))?.status !== 200; look += 1) {
    if (child.exitCode !== null || look > 2000) throw new Error(`The workspace does not start (exit ${child.exitCode})`);
    await delay(2);
  }
  return {
    ...workspace,
    pid: child.pid ?? 0,
    port,
    async [Symbol.asyncDispose]() {
      workspace.agent.destroy();
      if (child.exitCode === null) {
        const gone = once(child, "exit");
        // The first process of the namespace took other rights, and with that lost the wish to die with who started it.
        for (const inner of childrenOf(child.pid)) process.kill(inner, "SIGKILL");
        child.kill("SIGKILL");
        await gone;
      }
    },
  };
}

function childrenOf(pid: number | undefined): number[] {
  const text = pid === undefined ? "" : readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

/** The sandbox's root around the workspace, read-only but for what a sandbox has of its own, with a file in it that is root's alone. */
function namespaceArgs(options: StartOptions): string[] {
  const { root, binds } = currentRoot(localConfig());
  const script = `set -e; mount --bind ${root} /mnt; mount -o remount,bind,ro /mnt
    mount -t tmpfs -o size=${options.homeMiB ?? 64}m none /mnt/home; mkdir /mnt/home/user; chown 1000:1000 /mnt/home/user
    mount -t tmpfs -o mode=1777 none /mnt/tmp; mount -t proc none /mnt/proc
    mount --rbind /dev /mnt/dev; mount -t tmpfs -o mode=1777 none /mnt/dev/shm
    mount -t tmpfs none /mnt/mnt; mkdir /mnt/mnt/etc; (umask 077; echo root > /mnt/mnt/etc/shadow)
    ${Object.values(binds)
      .filter((inside) => inside.startsWith("/etc/"))
      .map((inside) => `mkdir -p /mnt/mnt${inside}`)
      .join("\n")}
    mount -t overlay -o lowerdir=/mnt/mnt/etc:${root}/etc none /mnt/etc; umount /mnt/mnt
    mount -t tmpfs none /mnt/opt
    ${Object.entries(binds)
      .map(([source, inside]) => `mkdir -p /mnt${inside}; mount --rbind ${source} /mnt${inside}`)
      .join("\n")}
    ${options.prepare ?? ""}
    ${options.memoryEvents ? showEvents(options.memoryEvents, "/mnt") : ""}
    exec chroot /mnt "$@"`;
  const drop = process.getuid?.() === 0 ? [] : ["setpriv", "--inh-caps=-all", "--ambient-caps=-all"];
  const main = [...drop, "/usr/bin/python3", "-I", "-B", options.program ?? `${WORKSPACE_INSIDE}/main.py`];
  // Without root there is one uid to be had, and what it takes to mount is kept until the root is entered.
  const identity = process.getuid?.() === 0 ? [] : ["--user", "--map-user=1000", "--map-group=1000", "--keep-caps"];
  return [...identity, "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", ...main];
}

function showEvents(source: string, root: string): string {
  const place = `${root}/opt/cleanroom/memory-events`;
  return `mkdir -p ${root}/opt/cleanroom && touch ${place} && mount --bind ${source} ${place}`;
}

function createClient(port: number, key: KeyObject) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const headers = (session = SESSION) => ({ [SESSION_HEADER]: session, [PROOF_HEADER]: signProof(key, session, Date.now() + 60_000) });
  const own = headers();
  const open = async (
    method: string,
    path: string,
    body?: Buffer | string | AsyncIterable<Uint8Array>,
    extra: Record<string, string> = {},
    signal?: AbortSignal,
  ) => {
    const options: RequestOptions = {
      host: "127.0.0.1",
      port,
      method,
      path,
      agent,
      headers: { ...own, ...extra },
      ...(signal ? { signal } : {}),
    };
    const sent = request(options);
    const answered = once(sent, "response") as Promise<[IncomingMessage]>;
    answered.catch(() => undefined);
    if (body === undefined || typeof body === "string" || Buffer.isBuffer(body)) sent.end(body);
    else {
      for await (const chunk of body) if (!sent.write(chunk)) await Promise.race([once(sent, "drain"), answered]);
      sent.end();
    }
    return (await answered)[0];
  };
  const send = async (method: string, path: string, body?: unknown, extra: Record<string, string> = {}): Promise<Reply> => {
    const raw = body === undefined || typeof body === "string" || Buffer.isBuffer(body);
    const response = await open(method, path, raw ? body : JSON.stringify(body), extra);
    const bytes = Buffer.concat(await response.toArray());
    const text = bytes.toString();
    const json = /json/.test(response.headers["content-type"] ?? "") ? JSON.parse(text) : undefined;
    return { status: response.statusCode ?? 0, headers: response.headers, bytes, text, json };
  };
  return { agent, headers, open, send };
}
