import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { arch } from "node:os";
import { basename, dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { pack } from "tar-stream";
import { projectDir } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";

/** A file of a layer; a folder when its name ends with a slash. */
export interface LayerFile {
  name: string;
  content?: Buffer | string;
  link?: string;
  hard?: string;
  mode?: number;
  uid?: number;
  gid?: number;
}

type Packing = "plain" | "gzip" | "zstd";

/** How an image is described; `platform` is this machine's unless it is given. */
export interface ImageSpec {
  layers: Uint8Array[];
  packing?: Packing;
  config?: { Entrypoint?: string[]; Cmd?: string[]; Env?: string[]; WorkingDir?: string; User?: string };
  architecture?: string;
  tag?: string;
}

export const ARCHITECTURE = arch() === "arm64" ? "arm64" : "amd64";
const PACK: Record<Packing, { suffix: string; pack: (bytes: Uint8Array) => Uint8Array }> = {
  plain: { suffix: "tar", pack: (bytes) => bytes },
  gzip: { suffix: "tar+gzip", pack: (bytes) => gzipSync(bytes) },
  zstd: { suffix: "tar+zstd", pack: (bytes) => zstdCompressSync(bytes) },
};

export async function layerOf(files: LayerFile[]): Promise<Buffer> {
  const tar = pack();
  for (const { name, content = "", link, hard, ...owner } of files) {
    if (link !== undefined) tar.entry({ name, type: "symlink", linkname: link, ...owner });
    else if (hard !== undefined) tar.entry({ name, type: "link", linkname: hard, ...owner });
    else if (name.endsWith("/")) tar.entry({ name, type: "directory", mode: 0o755, ...owner });
    else tar.entry({ name, mode: 0o644, ...owner }, Buffer.from(content));
  }
  tar.finalize();
  return buffer(tar);
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export function configOf({ layers, config = {}, architecture = ARCHITECTURE }: ImageSpec): string {
  return JSON.stringify({ architecture, os: "linux", config, rootfs: { type: "layers", diff_ids: layers.map((layer) => sha256(layer)) } });
}

/** Writes an image as an OCI layout, of several processors' images beside each other when there are several. */
export async function writeLayout(dir: string, ...specs: [ImageSpec, ...ImageSpec[]]): Promise<void> {
  const blobs = join(dir, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  const put = async (bytes: Uint8Array | string, mediaType: string) => {
    const digest = sha256(bytes);
    await writeFile(join(blobs, digest.slice("sha256:".length)), bytes);
    return { mediaType, digest, size: Buffer.byteLength(bytes) };
  };
  const manifests = [];
  for (const spec of specs) {
    const { packing = "gzip", architecture = ARCHITECTURE, tag } = spec;
    const { suffix, pack: packed } = PACK[packing];
    const layers = [];
    for (const layer of spec.layers) layers.push(await put(packed(layer), `application/vnd.oci.image.layer.v1.${suffix}`));
    const config = await put(configOf(spec), "application/vnd.oci.image.config.v1+json");
    const manifest = JSON.stringify({ schemaVersion: 2, config, layers });
    const described = await put(manifest, "application/vnd.oci.image.manifest.v1+json");
    const annotations = tag === undefined ? {} : { annotations: { "org.opencontainers.image.ref.name": tag } };
    manifests.push({ ...described, platform: { os: "linux", architecture }, ...annotations });
  }
  await writeFile(join(dir, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await writeFile(join(dir, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
}

/** An image as `docker save` of old writes it: a tar whose layers are tars, one of them by a link. */
export async function savedTar(spec: ImageSpec, name = "app:latest"): Promise<Buffer> {
  const config = configOf(spec);
  const configName = `${sha256(config).slice("sha256:".length)}.json`;
  const tar = pack();
  const names = spec.layers.map((layer, index) => {
    const real = `blob-${index}/layer.tar`;
    tar.entry({ name: real }, Buffer.from(layer));
    const link = `link-${index}/layer.tar`;
    tar.entry({ name: link, type: "symlink", linkname: `../${real}` });
    return link;
  });
  tar.entry({ name: configName }, config);
  tar.entry({ name: "manifest.json" }, JSON.stringify([{ Config: configName, RepoTags: [name], Layers: names }]));
  tar.finalize();
  return buffer(tar);
}

/** What a program of Python needs to run, taken from the sandboxes' own root: nothing is downloaded. */
export async function pythonLayer(files: LayerFile[] = []): Promise<Buffer> {
  const { root } = currentRoot({ dataDir: join(projectDir(), ".cleanroom"), projectDir: projectDir() });
  const needed = new Set<string>();
  for (const path of [...run(root, ["/usr/bin/python3", "-I", "-S", "-c", MODULES]), "/usr/bin/python3"]) needed.add(realIn(root, path));
  const binaries = [...needed].filter((path) => path.endsWith(".so") || path.startsWith("/usr/bin/"));
  for (const library of run(root, ["/usr/bin/ldd", ...binaries])) {
    const found = /(\/\S+) \(0x/.exec(library)?.[1];
    if (found) needed.add(found);
  }
  const folders = ["bin", "lib", "lib64"].map((name) => ({ name, link: readlinkSync(join(root, name)) }));
  const links = [{ name: "usr/bin/python3", link: basename(realIn(root, "/usr/bin/python3")) }];
  const taken = [...needed].map((path) => {
    const place = path.startsWith("/usr/") ? path : `/usr${path}`;
    return {
      name: place.slice(1),
      content: readFileSync(join(root, path)),
      mode: place.includes("/bin/") || place.includes(".so") ? 0o755 : 0o644,
    };
  });
  const parents = [...new Set(taken.flatMap(({ name }) => parentsOf(name)))].toSorted();
  return layerOf([
    { name: "./" },
    ...folders,
    ...parents.map((name) => ({ name: `${name}/` })),
    { name: "tmp/", mode: 0o1777 },
    { name: "etc/" },
    { name: "etc/passwd", content: "root:x:0:0:root:/root:/bin/sh\napp:x:1234:4321:app:/home/app:/bin/sh\n" },
    { name: "etc/group", content: "root:x:0:\napp:x:4321:\nextra:x:77:app\n" },
    ...taken,
    ...links,
    ...files,
  ]);
}

const MODULES = `
import sys, base64, contextlib, ctypes, hashlib, http.client, http.server, io, json, os, socket, struct, subprocess, threading, time, traceback
import encodings.idna, encodings.latin_1, encodings.ascii
for module in list(sys.modules.values()):
    path = getattr(module, "__file__", None)
    if path: print(path)
`;

function run(root: string, command: string[]): string[] {
  const { status, stdout, stderr } = spawnSync("chroot", [root, ...command], {
    encoding: "utf8",
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  if (status !== 0 && !command.includes("/usr/bin/ldd")) throw new Error(`${command.join(" ")} failed: ${stderr}`);
  return stdout.split("\n").filter((line) => line !== "");
}

/** A path with every link in it followed, as it is inside the root. */
function realIn(root: string, path: string): string {
  const full = join(root, path);
  if (!existsSync(full) || lstatSync(full).isSymbolicLink() || realpathSync(full) !== full) {
    const parent = dirname(path) === path ? path : realIn(root, dirname(path));
    const place = join(parent, basename(path));
    if (!lstatSync(join(root, place)).isSymbolicLink()) return place;
    const target = readlinkSync(join(root, place));
    return realIn(root, target.startsWith("/") ? target : join(parent, target));
  }
  return path;
}

function parentsOf(name: string): string[] {
  const parts = name.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}
