import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { openImageStore } from "#infra/local/images/store.ts";
import { type Entry, tarOf } from "#support/hostile-tar.ts";
import { type ImageSpec, layerOf, writeLayout } from "#support/images.ts";
import { isProblem } from "#support/problem.ts";
import { cannotSeal } from "#support/sealed-host.ts";
import { tempDir } from "#support/temp.ts";

const skip = cannotSeal() ?? false;

async function openStore() {
  const dir = await tempDir();
  const [dataDir, folder] = [join(dir.path, "data"), join(dir.path, "images")];
  await mkdir(folder);
  const { resolve } = await openImageStore({ dataDir, folders: [folder] });
  let count = 0;
  return {
    path: dir.path,
    folder,
    unpacked: join(dataDir, "unpacked"),
    resolve,
    /** Unpacks an image of these layers. */
    async unpack(...layers: Uint8Array[]) {
      const name = `image-${++count}`;
      await writeLayout(join(folder, name), { layers, config: { Cmd: ["x"] } });
      return resolve(name);
    },
    [Symbol.asyncDispose]: dir[Symbol.asyncDispose],
  };
}

const one = (entry: Entry) => tarOf([entry]);
const link = (name: string, to: string): Entry => ({ name, type: "2", link: to });
/** An extended header, whose length counts its own digits. */
const pax = (record: string): Entry => {
  const rest = record.length + 2;
  const digits = String(rest + String(rest).length).length;
  return { name: "pax", type: "x", body: `${rest + digits} ${record}\n` };
};

test(
  "O1: an image's hostile entries are refused or lose what could do harm, and nothing is written beside its root",
  { skip },
  async () => {
    await using store = await openStore();
    const control = await store.unpack(one({ name: "canary", body: "inside" }));
    assert.equal(readFileSync(join(control.root, "canary"), "utf8"), "inside");

    const refused: Record<string, Uint8Array[]> = {
      "a name that climbs": [one({ name: "../escaped", body: "x" })],
      "one that climbs within": [one({ name: "a/../../escaped", body: "x" })],
      "one that climbs by an extended header": [tarOf([pax("path=../escaped"), { name: "x", body: "x" }])],
      "a hard link that climbs": [one({ name: "x", type: "1", link: "../../../etc/shadow" })],
      "a hard link to nothing": [one({ name: "x", type: "1", link: "/etc/shadow" })],
      "a hard link to a folder": [
        tarOf([
          { name: "d", type: "5" },
          { name: "x", type: "1", link: "d" },
        ]),
      ],
      "something below a file": [
        tarOf([
          { name: "f", body: "x" },
          { name: "f/g", body: "x" },
        ]),
      ],
      "something below a link to nowhere": [tarOf([link("l", "/none"), { name: "l/g", body: "x" }])],
      "something below a link in a circle": [tarOf([link("l", "l"), { name: "l/g", body: "x" }])],
      "a mark that hides the folder above": [one({ name: "d/.wh...", body: "" })],
      "more than it may unpack to": [one({ name: "x", claims: 0o77777777777 })],
      "a body that is not there": [one({ name: "x", body: "x", claims: 100_000 })],
      "a name too long": [one({ name: "n".repeat(100), body: "" }), tarOf([pax(`path=${"n".repeat(300)}`), { name: "x" }])],
      "folders too deep": [tarOf([pax(`path=${"d/".repeat(200)}x`), { name: "x" }])],
      "folders too deep by links": [tarOf(deepening())],
      "a kind that nobody knows": [one({ name: "x", type: "Q" })],
      "a sparse file": [one({ name: "x", type: "S" })],
      "a header that lies of itself": [Buffer.concat([one({ name: "x" }).subarray(0, 100), Buffer.alloc(412, 1), Buffer.alloc(1024)])],
      "an extended header without end": [tarOf([{ name: "x", type: "x", body: "9999999 path=x\n" }, { name: "y" }])],
      "an extended header of a gigabyte": [tarOf([{ name: "x", type: "x", claims: 1 << 30 }, { name: "y" }])],
    };
    for (const [what, layers] of Object.entries(refused)) await assert.rejects(store.unpack(...layers), isProblem("image_not_valid"), what);

    const harmless = await store.unpack(
      tarOf([
        { name: "/absolute", body: "inside" },
        link("out", "../../../.."),
        { name: "out/etc/planted", body: "x" },
        link("here", store.path),
        { name: "set-uid", mode: 0o6755, body: "x" },
        { name: "disk", type: "4" },
        { name: "tty", type: "3" },
        { name: "pipe", type: "6" },
        pax("SCHILY.xattr.security.capability=x"),
        { name: "capable", body: "x" },
      ]),
    );
    const { root } = harmless;
    assert.equal(readFileSync(join(root, "absolute"), "utf8"), "inside");
    assert.equal(readFileSync(join(root, "etc/planted"), "utf8"), "x", "a link that leads out leads to the image's own root");
    assert.equal(statSync(join(root, "set-uid")).mode & 0o7777, 0o755);
    for (const name of ["disk", "tty", "pipe"]) assert.ok(!existsSync(join(root, name)), name);
    const facts = JSON.parse(readFileSync(join(root, "../image.json"), "utf8")) as { leftOut: object };
    assert.deepEqual(facts.leftOut, { setuid: 1, devices: 2, pipes: 1, attributes: 1 });
    assert.deepEqual(readdirSync(store.path).toSorted(), ["data", "images"], "nothing lies beside");
    assert.deepEqual(readdirSync(store.unpacked).length, 2, "nothing of what was refused stays");
  },
);

const deep = (letter: string) => Array.from({ length: 40 }, () => letter).join("/");

/** Each link leads deeper than its name is long. */
function deepening(): Entry[] {
  return [
    { name: deep("d"), type: "5" },
    link("l", deep("d")),
    { name: `l/${deep("e")}`, type: "5" },
    link("m", `l/${deep("e")}`),
    { name: `m/${deep("f")}`, type: "5" },
  ];
}

test(
  "O2: an image that is not what it says, floods or leads elsewhere is refused before it takes the machine's room",
  { skip },
  async () => {
    await using store = await openStore();
    const bytes = await layerOf([{ name: "a", content: "x" }]);
    await writeLayout(join(store.folder, "good"), { layers: [bytes], config: { Cmd: ["x"] } });
    assert.equal((await store.resolve("good")).program.command[0], "x", "the same without its harm is taken");
    const names: Record<string, object> = {
      "a-blob-by-a-path": {
        manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: "sha256:../../../../etc/passwd" }],
      },
      "a-digest-of-another-kind": {
        manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: `md5:${"0".repeat(32)}` }],
      },
      nothing: { manifests: [] },
      "no-list": { manifests: "x" },
    };
    for (const [what, index] of Object.entries(names)) {
      await writeLayout(join(store.folder, what), { layers: [bytes] });
      writeFileSync(join(store.folder, what, "index.json"), JSON.stringify(index));
      await assert.rejects(store.resolve(what), isProblem("image_not_valid"), what);
    }
    const secret = join(store.path, "secret");
    writeFileSync(secret, JSON.stringify([{ Config: "secret.json", Layers: [] }]));
    for (const name of [secret, "../secret", "../../../../etc/passwd"]) {
      const saved = tarOf([link("manifest.json", name)]);
      writeFileSync(join(store.folder, "linked.tar"), saved);
      await assert.rejects(store.resolve("linked.tar"), isProblem("image_not_valid"), name);
    }
    await assert.rejects(
      resolveSaved(store, [{ Config: "../../secret", RepoTags: [], Layers: [] }]),
      isProblem("image_not_valid"),
      "a part by a path",
    );
    // A zip bomb: a thousand to one, and more than any image has.
    const zeros = gzipSync(Buffer.alloc(1 << 20));
    writeFileSync(join(store.folder, "bomb.tar.gz"), Buffer.concat(Array.from({ length: 64 }, () => zeros)));
    await assert.rejects(store.resolve("bomb.tar.gz"), isProblem("image_not_valid"));
    const many: Partial<ImageSpec> = { layers: Array.from({ length: 200 }, () => bytes) };
    await writeLayout(join(store.folder, "many"), { layers: [], ...many });
    await assert.rejects(store.resolve("many"), isProblem("image_not_valid"), "layers without end");
    assert.equal(readdirSync(store.unpacked).length, 1);
  },
);

async function resolveSaved(store: { folder: string; resolve: (name: string) => Promise<unknown> }, manifest: object): Promise<unknown> {
  writeFileSync(join(store.folder, "saved.tar"), tarOf([{ name: "manifest.json", body: JSON.stringify(manifest) }]));
  return store.resolve("saved.tar");
}
