import assert from "node:assert/strict";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { posix } from "node:path";
import * as fc from "fast-check";
import { SandboxId } from "#contract/id.ts";
import { OPERATIONS } from "#contract/operations.ts";
import { Problem } from "#contract/problem.ts";
import { createProject, findByApiKey } from "#core/projects.ts";
import { createSandbox } from "#core/sandboxes.ts";
import { splitKey } from "#gateway/arrival.ts";
import { targetOf } from "#gateway/data.ts";
import { openDoor } from "#gateway/server.ts";
import { CORE_LIMITS, spec } from "#support/core.ts";
import { openGate, ROOT } from "#support/gate.ts";
import { onWire, printable, segments, texts } from "./hostile.ts";
import { hold, property } from "./property.ts";

/** A door on stores in memory, with two projects that have one sandbox each. */
async function openHouse() {
  const { gateway, core } = await openGate();
  const { platform } = gateway;
  const root = (await findByApiKey(platform, ROOT.apiKey)) ?? assert.fail();
  const tenant = async (name: string) => {
    const { project, key } = await createProject(platform, CORE_LIMITS, root, { name }, ROOT.accountId);
    const { sandbox } = await createSandbox(platform, CORE_LIMITS, project, spec({ id: `sandbox-${name}` }));
    return { id: sandbox.id, apiKey: key.apiKey, session: core.engine.living.at(-1) ?? assert.fail() };
  };
  const [own, other] = [await tenant("own"), await tenant("other")];
  core.engine.requests.length = 0;
  const door = await openDoor(gateway, { host: "127.0.0.1", port: 0 });
  return { core, own, other, door, [Symbol.asyncDispose]: () => door[Symbol.asyncDispose]() };
}

/** Sends bytes as they are and answers what came back until the door hung up. */
async function exchange(port: number, sent: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end(Buffer.from(sent, "latin1"));
  return (await buffer(socket)).toString("latin1");
}

const bytes = (text: string) => Buffer.from(text).toString("latin1");

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
const OWN = "sandbox-own";
const targets = fc
  .tuple(
    fc.constantFrom("/", "//", "/./", "", "/\\", "http://h/"),
    fc.constantFrom("sandboxes", "Sandboxes", "%73andboxes", "./sandboxes"),
    fc.constantFrom(OWN, "sandbox-other", "sandbox%2dother", "."),
    fc.array(segments, { maxLength: 6 }),
    fc.constantFrom("", "?a=b", "?a=/../../sandbox-other", "#/..", "?Authorization=x"),
  )
  .map(([lead, plane, id, rest, tail]) => `${lead}${[plane, id, ...rest].join("/")}${tail}`);
const prefixed = fc
  .tuple(fc.constantFrom("", "", "/k/KEY", "/k/KEY/k/KEY", "//k/KEY", "/k//", "/%6b/KEY"), targets)
  .map((parts) => parts.join(""));

/** Where the parsers on the way may find a path: by the URL standard, and by decoding first and resolving then. */
function readingsOf(path: string): string[] {
  const decoded = path.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return [new URL(path, "http://door").pathname, posix.normalize(decoded), posix.normalize(decoded.replaceAll("\\", "/"))];
}

const values: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 2, arbitrary: texts(16) },
  fc.constantFrom(
    "sandbox-own",
    "python",
    "CodeInterpreter",
    "a",
    512,
    256,
    1,
    -1,
    0,
    1e308,
    0.5,
    null,
    true,
    [],
    {},
    "2026-01-01T00:00:00Z",
  ),
  fc.jsonValue({ maxDepth: 2 }),
);

/** The names of the fields that operations take, so that what is written in them is read. */
const FIELDS = [
  ...new Set(
    OPERATIONS.flatMap(({ body, query }) =>
      [body, query].flatMap((schema) => Object.keys((schema as { shape?: object } | undefined)?.shape ?? {})),
    ),
  ),
];
const bodies = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .dictionary(fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...FIELDS) }, texts(8)), values, { maxKeys: 6 })
      .map((body) => JSON.stringify(body)),
  },
  texts(),
);
const calls = fc.record({
  operation: fc.constantFrom(...OPERATIONS),
  parameter: fc.oneof({ weight: 2, arbitrary: fc.constantFrom("sandbox-own", "p", "code-interpreter") }, segments),
  query: fc.array(fc.tuple(fc.oneof(fc.constantFrom(...FIELDS), texts(6)), texts(8)), { maxLength: 3 }),
  headers: fc.dictionary(
    fc.constantFrom("range", "content-type", "accept", "connection", "x-request-id", "if-none-match", "x-forwarded-for", "origin"),
    texts(10),
    { maxKeys: 3 },
  ),
  body: bodies,
});

await hold(import.meta.url, [
  property("a path that is passed on lies under its sandbox for whoever reads it on the way", prefixed.map(onWire), (url) => {
    let target: ReturnType<typeof targetOf>;
    try {
      target = targetOf(url);
    } catch (error) {
      assert.ok(error instanceof Problem, String(error));
      return;
    }
    const path = target.path.split("?", 1)[0] ?? "";
    const within = `/sandboxes/${target.sandboxId}${path}`;
    assert.ok(splitKey(url).path.startsWith(within));
    // A sandbox of another name is nobody's.
    if (!SandboxId.safeParse(target.sandboxId).success) return;
    for (const reading of readingsOf(within)) assert.ok(reading.startsWith(`/sandboxes/${target.sandboxId}/`), `${within} is ${reading}`);
  }),
  property(
    "whatever the path, a request and an upgrade reach only the sandbox of their caller, and no key goes along",
    fc.tuple(fc.constantFrom(...METHODS), prefixed, fc.boolean()),
    async ([method, url, upgrade]) => {
      await using house = await openHouse();
      const { own, other, core, door } = house;
      const path = onWire(url).replaceAll("KEY", own.apiKey);
      const how = upgrade ? "Connection: upgrade\r\nUpgrade: websocket\r\n" : "Connection: close\r\n";
      const answer = await exchange(door.port, `${method} ${path} HTTP/1.1\r\nHost: door\r\nX-API-Key: ${own.apiKey}\r\n${how}\r\n`);
      assert.match(answer, /^HTTP\/1\.1 [1-5]\d\d /);
      assert.doesNotMatch(answer, /^HTTP\/1\.1 500/);
      assert.ok(core.engine.living.includes(other.session), "another's sandbox lives on");
      for (const { ref, passage } of core.engine.requests) {
        assert.equal(ref.sessionId, own.session);
        assert.doesNotMatch(passage.url + JSON.stringify([...passage.headers]), new RegExp(own.apiKey));
        assert.doesNotMatch(passage.url, /^[^?]*\/(\.|%2e){1,2}(\/|\?|$)/i);
      }
    },
    { cost: 4 },
  ),
  property(
    "whatever is asked, no answer is that something failed on our side",
    calls,
    async ({ operation, parameter, query, headers, body }) => {
      await using house = await openHouse();
      const { own, door } = house;
      const search = query.map((pair) => pair.map((text) => encodeURIComponent(text.toWellFormed())).join("=")).join("&");
      const path = onWire(operation.path.replaceAll(/:\w+/g, parameter) + (search === "" ? "" : `?${search}`));
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${printable(bytes(value))}\r\n`);
      const sent = bytes(body);
      const head = `${operation.method.toUpperCase()} ${path} HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer ${own.apiKey}\r\n`;
      const answer = await exchange(
        door.port,
        `${head}${lines.join("")}Content-Length: ${sent.length}\r\nConnection: close\r\n\r\n${sent}`,
      );
      assert.match(answer, /^HTTP\/1\.1 ([1-4]\d\d|501|507) /);
    },
    { cost: 4 },
  ),
]);
