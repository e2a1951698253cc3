import { once } from "node:events";
import { createServer } from "node:http";
import { WebhookBody } from "#contract/webhook.ts";

export interface Received {
  headers: Record<string, string>;
  text: string;
  body: WebhookBody | undefined;
}

/** Something that webhooks are told to, on this machine. */
export interface Receiver extends AsyncDisposable {
  url: string;
  got: Received[];
  /** Statuses to answer first. */
  moods: number[];
}

export async function openReceiver(): Promise<Receiver> {
  const got: Received[] = [];
  const moods: number[] = [];
  const server = createServer((incoming, outgoing) => {
    let text = "";
    incoming.setEncoding("utf8");
    incoming.on("data", (chunk: string) => (text += chunk));
    incoming.once("end", () => {
      const headers = Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]));
      got.push({ headers, text, body: WebhookBody.safeParse(JSON.parse(text)).data });
      outgoing.writeHead(moods.shift() ?? 200).end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/hook`,
    got,
    moods,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
