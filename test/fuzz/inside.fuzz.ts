import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { posix } from "node:path";
import * as fc from "fast-check";
import { LIMITS } from "#contract/limits.ts";
import { signProof } from "#contract/proof.ts";
import { PROOF_HEADER, SESSION_HEADER } from "#contract/workspace.ts";
import { altered, onWire, segments, texts, wholeTexts } from "./hostile.ts";
import { hold, property } from "./property.ts";
import { nonsense, smuggling } from "./requests.ts";
import { base64, cannotParse, openParsers } from "./workspace.ts";

const NAME_BYTES = 255;
const NOW = 1_800_000_000_000;
const { publicKey, privateKey } = generateKeyPairSync("ed25519");
const KEY = base64(publicKey.export({ format: "der", type: "spki" }).subarray(-32));
const PROOF = signProof(privateKey, "session", NOW + 1000);
const EXPIRED = signProof(privateKey, "session", NOW);

const sizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 4 });
const paths = fc.oneof(
  fc.array(segments, { maxLength: 6 }).map((parts) => parts.join("/").toWellFormed()),
  wholeTexts(),
  fc.tuple(fc.constantFrom("a", "é", "a/", "~", "/"), fc.nat(5000)).map(([text, times]) => text.repeat(times)),
);

await using parsers = await openParsers();

/** A form as browsers write it. */
interface Part {
  name: string;
  file: string | null;
  content: Buffer;
}

const BOUNDARY = "----boundary-7MA4YWxkTrZu0gW";
const quoted = (text: string) => text.replaceAll('"', "%22").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const contents = fc.oneof(
  texts().map((text) => Buffer.from(text)),
  fc
    .constantFrom("\r\n", "--", `\r\n--${BOUNDARY.slice(0, -1)}`, `\r\n-${BOUNDARY}`, `--${BOUNDARY}`, "\r\r\n\r\n--")
    .map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)),
);
const parts: fc.Arbitrary<Part[]> = fc.array(
  fc
    .record({
      name: fc.constantFrom("path", "file", "a b", "é", ""),
      file: fc.option(
        wholeTexts(12).map((text) => text.replaceAll(/[\\%]/g, "_")),
        { nil: null },
      ),
      content: contents,
    })
    .filter(({ content }) => !`\r\n${content.toString("latin1")}`.includes(`\r\n--${BOUNDARY}`)),
  { maxLength: 4 },
);

function formOf(all: readonly Part[]): Buffer {
  const head = ({ name, file }: Part) =>
    `Content-Disposition: form-data; name="${quoted(name)}"${file === null ? "" : `; filename="${quoted(file)}"\r\nContent-Type: application/octet-stream`}\r\n\r\n`;
  const pieces = all.flatMap((part) => [Buffer.from(`--${BOUNDARY}\r\n${head(part)}`), part.content, Buffer.from("\r\n")]);
  return Buffer.concat([...pieces, Buffer.from(`--${BOUNDARY}--\r\n`)]);
}

/** What a browser writes in place of characters that end a name stays as it was written. */
const shownPart = ({ name, file, content }: Part) => ({
  name: quoted(name),
  file: file === null ? null : quoted(file),
  bytes: base64(content),
});

const messages = fc.array(fc.array(texts(20), { maxLength: 4 }), { maxLength: 5 });
const LIMIT = 4096;

/** The messages of whole bytes, as their description says: a length, then parts of a length each. */
function framesIn(bytes: Buffer): { messages: string[][]; broken: boolean } {
  const found: string[][] = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const size = bytes.readUInt32LE(at);
    if (size > LIMIT) return { messages: found, broken: true };
    if (at + 4 + size > bytes.length) break;
    const all: string[] = [];
    for (let inner = at + 4; inner < at + 4 + size;) {
      const length = inner + 4 <= at + 4 + size ? bytes.readUInt32LE(inner) : Number.POSITIVE_INFINITY;
      if (inner + 4 + length > at + 4 + size) return { messages: found, broken: true };
      all.push(base64(bytes.subarray(inner + 4, inner + 4 + length)));
      inner += 4 + length;
    }
    found.push(all);
    at += 4 + size;
  }
  return { messages: found, broken: false };
}

const sizesOnWire = fc
  .oneof(fc.constantFrom(0, 1, 3, 4, 8, 12, LIMIT, LIMIT + 1, 0xffffffff), fc.nat(40))
  .map((size) => Buffer.from(new Uint32Array([size]).buffer));
const channels = fc
  .array(
    fc.oneof(
      { weight: 2, arbitrary: sizesOnWire },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)) },
    ),
    { maxLength: 14 },
  )
  .map((all) => Buffer.concat(all));

const HIDDEN = "GET /hidden HTTP/1.1\r\nHost: inside\r\n\r\n";
const isHidden = ({ target }: { target: string }) => target === "/hidden";
interface Heard {
  method: string;
  target: string;
}

const admit = (session: string, proof: string) =>
  parsers.ask("admit", { key: KEY, now: NOW, headers: { [SESSION_HEADER]: session, [PROOF_HEADER]: proof } });

function bytesOfProof(proof: string): string {
  const [expiry = "", signature = "", ...more] = proof.split(".");
  const shown = /^[\w-]{86}$/.test(signature) ? Buffer.from(signature, "base64url").toString("hex") : signature;
  return [expiry, shown, ...more].join(".");
}

await hold(
  import.meta.url,
  [
    property("a path is refused, or the one that it says without anything climbing", paths, async (path) => {
      const answer = await parsers.ask<string>("resolve", { path });
      const below = path === "~" ? "." : path.replace(/^~\//, "");
      const climbs = path.split("/").includes("..");
      const fits = Buffer.byteLength(path) <= LIMITS.pathBytes && path.split("/").every((name) => Buffer.byteLength(name) <= NAME_BYTES);
      const isPath = path !== "" && !path.includes("\0") && !climbs && fits;
      assert.deepEqual(answer, isPath ? { value: posix.resolve("/home/user", below) } : { problem: "invalid_path" });
    }),
    property("a form reads as it was written, wherever it is cut", fc.tuple(parts, sizes), async ([all, cut]) => {
      const answer = await parsers.ask("form", {
        type: `multipart/form-data; boundary=${BOUNDARY}`,
        bytes: base64(formOf(all)),
        sizes: cut,
      });
      assert.deepEqual(answer, { value: all.map(shownPart) });
    }),
    property(
      "whatever a form holds, it is read to its end or refused",
      fc.tuple(
        fc.oneof(
          { weight: 3, arbitrary: fc.constant(`multipart/form-data; boundary=${BOUNDARY}`) },
          { weight: 1, arbitrary: texts().map((text) => `multipart/form-data; boundary=${onWire(text)}`) },
        ),
        parts.chain((all) =>
          altered(formOf(all).toString("latin1"), [
            "\r",
            "\n",
            "\r\n",
            "--",
            BOUNDARY,
            `\r\n--${BOUNDARY}`,
            '"',
            ";",
            ":",
            "\\",
            "%",
            "filename*=utf-8''%ff",
            "\0",
            " ",
          ]),
        ),
        sizes,
      ),
      async ([type, form, cut]) => {
        const answer = await parsers.ask("form", { type, bytes: base64(Buffer.from(form, "latin1")), sizes: cut });
        if ("problem" in answer) assert.equal(answer.problem, "invalid_request");
      },
    ),
    property(
      "messages of an interpreter arrive as they were sent, wherever they are cut",
      fc.tuple(messages, sizes),
      async ([sent, cut]) => {
        const all: Buffer[] = [];
        for (const one of sent) {
          const encoded = await parsers.ask<string>("encode", { parts: one });
          assert.ok("value" in encoded);
          all.push(Buffer.from(encoded.value, "base64"));
        }
        const answer = await parsers.ask<{ messages: string[][]; broken: boolean }>("frames", {
          bytes: base64(Buffer.concat(all)),
          sizes: cut,
          limit: LIMIT,
        });
        assert.ok("value" in answer);
        assert.equal(answer.value.broken, false);
        assert.deepEqual(
          answer.value.messages.map((one) => one.map((part) => Buffer.from(part, "base64").toString())),
          sent.map((one) => one.map((part) => decodedHalves(part))),
        );
      },
    ),
    property(
      "whatever an interpreter sends, it is messages, or broken at the same place and held no longer",
      fc.tuple(channels, sizes),
      async ([bytes, cut]) => {
        const answer = await parsers.ask<{ messages: string[][]; broken: boolean; held: number }>("frames", {
          bytes: base64(bytes),
          sizes: cut,
          limit: LIMIT,
        });
        assert.ok("value" in answer);
        const { held, ...rest } = answer.value;
        assert.deepEqual(rest, framesIn(bytes));
        assert.ok(held <= 4 + LIMIT + Math.max(...cut), `${held} bytes held`);
      },
    ),
    property(
      "whatever is told of a process's life, it is heard to its end",
      fc.array(
        fc.oneof(
          fc.constantFrom("pid 12\n", "status 9\n", "status -9\n", "failed 2\n", "pid", "\n", " ", "status\n", "pid x\n", "pid 1 2\n"),
          texts(6),
        ),
        { maxLength: 6 },
      ),
      async (lines) => {
        const answer = await parsers.ask<{ status: number | null }>("hear", { bytes: base64(lines.join("")) });
        assert.ok("value" in answer && answer.value.status !== null);
      },
    ),
    property(
      "a proof that is changed opens nothing more",
      fc.oneof(
        altered(PROOF),
        altered(PROOF).chain((one) => altered(one)),
        texts(),
        fc.constantFrom(EXPIRED, `${NOW + 1000}.${EXPIRED.split(".")[1]}`, `${EXPIRED.split(".")[0]}.${PROOF.split(".")[1]}`),
      ),
      async (proof) => {
        const wire = Buffer.from(proof).toString("latin1");
        assert.deepEqual(await admit("session", PROOF), { value: true });
        assert.deepEqual(await admit("another", PROOF), { problem: "unauthenticated" });
        const { problem } = { problem: undefined, ...(await admit("session", wire)) };
        // The last character of a signature has bits that say nothing: another spelling of the same is no other proof.
        const isSame = wire.length === PROOF.length && bytesOfProof(wire) === bytesOfProof(PROOF);
        assert.equal(problem, isSame ? undefined : "unauthenticated");
      },
    ),
    property(
      "inside too, a request that hides in another's body is never served",
      fc.tuple(fc.constantFrom("GET", "POST", "PUT", "HEAD", "DELETE"), smuggling(HIDDEN), fc.integer({ min: 1, max: 40 })),
      async ([method, { headers, body, version }, size]) => {
        const head = Buffer.from([`${method} /outer ${version}`, "Host: inside", ...headers].join("\r\n") + "\r\n\r\n", "latin1");
        const answer = await parsers.ask<Heard[]>("talk", { bytes: base64(Buffer.concat([head, body])), size });
        assert.ok("value" in answer);
        assert.equal(answer.value.some(isHidden), false);
      },
    ),
    property("whatever bytes come in, they are requests or the end of the connection", nonsense, async (bytes) => {
      const answer = await parsers.ask<Heard[]>("talk", { bytes: base64(bytes) });
      assert.ok("value" in answer);
    }),
  ],
  cannotParse(),
);

/** Halves of characters travel as their three bytes each, which no decoder takes for a character. */
function decodedHalves(text: string): string {
  const bytes = Array.from(text, (char) =>
    char.isWellFormed()
      ? Buffer.from(char)
      : Buffer.from([0xe0 | (char.charCodeAt(0) >> 12), 0x80 | ((char.charCodeAt(0) >> 6) & 63), 0x80 | (char.charCodeAt(0) & 63)]),
  );
  return Buffer.concat(bytes).toString();
}
