import { Execution } from "#contract/context.ts";
import { CommandAnswer } from "#contract/process.ts";
import { page } from "#contract/id.ts";
import { type CreateSandbox, Sandbox } from "#contract/sandbox.ts";
import type { Tenant } from "./door.ts";

/** A sandbox of a test's own, by our own API; deleted with the block that made it. */
export interface Box extends AsyncDisposable {
  id: string;
  sandbox: Sandbox;
  /** Sends a request to the workspace inside. */
  inside(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  execute(code: string, more?: object): Promise<Execution & { end: Extract<Execution["results"][number], { type: "endOfExecution" }> }>;
  command(command: string, more?: object): Promise<CommandAnswer>;
  read(): Promise<Sandbox>;
}

export async function makeBox(tenant: Tenant, spec: Partial<CreateSandbox> = {}): Promise<Box> {
  const sandbox = Sandbox.parse(await tenant.json("POST", "/api/sandboxes", spec, 201));
  return openBox(tenant, sandbox);
}

/** Every sandbox that the list tells of; `query` narrows it. */
export async function allBoxes(tenant: Tenant, query = ""): Promise<Sandbox[]> {
  const items: Sandbox[] = [];
  let cursor: string | undefined;
  do {
    const from: string = cursor === undefined ? "" : `&after=${cursor}`;
    const found = page(Sandbox).parse(await tenant.json("GET", `/api/sandboxes?limit=200${query}${from}`));
    items.push(...found.items);
    cursor = found.next;
  } while (cursor !== undefined);
  return items;
}

/** The same for a sandbox that exists. */
export function openBox(tenant: Tenant, sandbox: Sandbox): Box {
  const { id } = sandbox;
  return {
    id,
    sandbox,
    inside: (method, path, body, headers) => tenant.send(method, `/sandboxes/${id}${path}`, body, headers),
    async execute(code, more = {}) {
      const execution = Execution.parse(await tenant.json("POST", `/sandboxes/${id}/contexts/execute`, { code, ...more }));
      const end = execution.results.at(-1);
      if (end?.type !== "endOfExecution") throw new Error(`The execution has no end: ${JSON.stringify(execution)}`);
      return { ...execution, end };
    },
    command: async (command, more = {}) =>
      CommandAnswer.parse(await tenant.json("POST", `/sandboxes/${id}/processes/cmd`, { command, ...more })),
    read: async () => Sandbox.parse(await tenant.json("GET", `/api/sandboxes/${id}`)),
    async [Symbol.asyncDispose]() {
      await (await tenant.send("DELETE", `/api/sandboxes/${id}`)).body?.cancel();
    },
  };
}
