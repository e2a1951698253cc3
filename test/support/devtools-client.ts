import { WebSocket } from "ws";
import type { Range } from "./range.ts";

export interface DevtoolsAnswer {
  result?: Record<string, unknown>;
  error?: { message: string };
}

export interface DevtoolsClient {
  ask(method: string, params?: object, sessionId?: string): Promise<DevtoolsAnswer>;
  /** Opens a page and attaches to it; answers its session. */
  page(url: string): Promise<string>;
  socket: WebSocket;
}

/** The barest client of DevTools, on the browser of a sandbox under attack. */
export function devtoolsClient({ door, tenant, sandboxId }: Range): Promise<DevtoolsClient> {
  const socket = new WebSocket(`${door.origin.replace("http", "ws")}/sandboxes/${sandboxId}/ws/automation`, {
    headers: { authorization: `Bearer ${tenant.key.apiKey}` },
    maxPayload: 0,
  });
  const waiting = new Map<number, (answer: DevtoolsAnswer) => void>();
  let last = 0;
  socket.on("message", (data: Buffer) => {
    const answer = JSON.parse(data.toString("utf8")) as DevtoolsAnswer & { id?: number };
    waiting.get(answer.id ?? 0)?.(answer);
  });
  const ask = (method: string, params: object = {}, sessionId?: string) =>
    new Promise<DevtoolsAnswer>((resolve) => {
      last += 1;
      waiting.set(last, resolve);
      socket.send(JSON.stringify({ id: last, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    });
  const page = async (url: string) => {
    const { result: opened } = await ask("Target.createTarget", { url });
    const { result: attached } = await ask("Target.attachToTarget", { targetId: opened?.["targetId"], flatten: true });
    return String(attached?.["sessionId"]);
  };
  return new Promise((resolve, reject) => socket.once("error", reject).once("open", () => resolve({ ask, page, socket })));
}
