import { HTTP_TRIGGER, isolated, openEngine, trusted } from "./engine.ts";

/** An engine in a process of its own, for tests that kill it: says where it is and which processes it started. */
const e = await openEngine({ dataDir: process.argv[2] ?? "" });
await e.client.createFunction(isolated("ws"));
await e.client.createFunction(await trusted("t"));
for (const name of ["ws", "t"]) await e.client.createTrigger(name, HTTP_TRIGGER);
await e.client.createSession("ws", { sessionId: "s" });
const pidOf = async (name: string, headers: Record<string, string> = {}) =>
  Number(await (await fetch(`${e.origin}/door/${name}/pid`, { headers })).text());
console.log(JSON.stringify({ isolatedPid: await pidOf("ws", { "cleanroom-session-id": "s" }), trustedPid: await pidOf("t") }));
