import { once } from "node:events";
import { functionConfig } from "#infra/config.ts";
import { limitsOf, openPlatform } from "#infra/platform.ts";
import { createWorker } from "./server.ts";

const DRAIN_MS = 5_000;

const stop = Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
const config = functionConfig();
await using platform = await openPlatform(config);
const stopping = new AbortController();
const server = createWorker(platform, limitsOf(config), stopping.signal);
server.listen(config.listen.port, config.listen.host);
await once(server, "listening");
await stop;
stopping.abort();
const closed = once(server, "close");
server.close();
const cut = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
await closed;
clearTimeout(cut);
