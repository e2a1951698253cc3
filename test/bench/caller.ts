import { Agent, request, type IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import type { Tenant } from "#support/door.ts";

/** A client with connections kept open, as light as Node has one: what is timed is the door and not the caller. */
export interface Caller extends Disposable {
  json<T>(method: string, path: string, body?: unknown, expectedStatus?: number): Promise<T>;
  /** Sends a body and reads the whole answer without keeping it; its length. */
  bytes(method: string, path: string, body?: Buffer | Readable): Promise<number>;
}

/** What a create answers, as far as a bench needs it. */
export interface Made {
  id: string;
}

export function callerOf(origin: string, tenant: { key: Pick<Tenant["key"], "apiKey"> }): Caller {
  const agent = new Agent({ keepAlive: true, maxSockets: 2048 });
  const { hostname, port } = new URL(origin);
  const send = (method: string, path: string, type: string, body?: Buffer | Readable): Promise<IncomingMessage> => {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const length: Record<string, number> = Buffer.isBuffer(body) ? { "content-length": body.length } : {};
    const headers = { authorization: `Bearer ${tenant.key.apiKey}`, "content-type": type, ...length };
    const sent = request({ agent, host: hostname, port, method, path, headers }, resolve);
    sent.once("error", reject);
    if (body === undefined || Buffer.isBuffer(body)) sent.end(body);
    else body.pipe(sent);
    return promise;
  };
  return {
    async json<T>(method: string, path: string, body?: unknown, expectedStatus = 200) {
      const sent = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
      const answer = await send(method, path, "application/json", sent);
      const text = Buffer.concat(await answer.toArray()).toString();
      if (answer.statusCode !== expectedStatus) throw new Error(`${method} ${path} answered ${answer.statusCode}: ${text}`);
      return (text === "" ? undefined : JSON.parse(text)) as T;
    },
    async bytes(method, path, body) {
      const answer = await send(method, path, "application/octet-stream", body);
      let size = 0;
      for await (const chunk of answer) size += (chunk as Buffer).length;
      if (answer.statusCode !== 200) throw new Error(`${method} ${path} answered ${answer.statusCode}`);
      return size;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** Makes a sandbox, of the built-in template unless told. */
export async function create(caller: Caller, body: object = {}): Promise<string> {
  return (await caller.json<Made>("POST", "/api/sandboxes", body, 201)).id;
}

/** Runs Python by execute and holds its output to what was expected. */
export async function execute(caller: Caller, id: string, code: string, expected: string): Promise<void> {
  const answer = await caller.json<{ stdout: string }>("POST", `/sandboxes/${id}/contexts/execute`, { code, language: "python" });
  if (answer.stdout !== expected) throw new Error(`${code} answered ${JSON.stringify(answer)}`);
}

/** Runs a command and holds its output to what was expected. */
export async function command(caller: Caller, id: string, line: string, expected: RegExp): Promise<void> {
  const answer = await caller.json<{ result: { stdout: string } }>("POST", `/sandboxes/${id}/processes/cmd`, { command: line });
  if (!expected.test(answer.result.stdout)) throw new Error(`${line} answered ${JSON.stringify(answer)}`);
}

/** Ends a sandbox; the answer comes when nothing of it is left. */
export async function destroy(caller: Caller, id: string): Promise<void> {
  await caller.json("DELETE", `/api/sandboxes/${id}`);
}
