import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream, globSync, type Stats } from "node:fs";
import { lstat, mkdir, readdir, readlink, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough, type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack, type Pack } from "tar-stream";

/** A folder that becomes a layer: where it lies in the image, and what of it is left out. */
export interface LayerSource {
  folder: string;
  at?: string;
  /** Whose its files are, instead of whoever owns them here. */
  owner?: number;
  without?: (path: string) => boolean;
}

/** What of a root is made anew wherever it runs, or tells of the machine that it was built on. */
const TRANSIENT = /^(proc|sys|dev|run|tmp)\/|^var\/(log|cache\/ldconfig|lib\/apt\/lists)\/.|^var\/lib\/dpkg\/[^/]*-old$/;
const ARCHITECTURES: Partial<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const GZIP_LEVEL = 6;

/** Of a root that is to run elsewhere, what stays here. */
export function isTransient(path: string): boolean {
  return TRANSIENT.test(path);
}

/**
 * The moment after which files of a root were made by its building and not by its packages: that of the newest package.
 * What is later is dated by it, so that equal packages are equal files.
 */
export async function newestPackage(root: string): Promise<number> {
  const papers = globSync("usr/share/doc/*/copyright", { cwd: root });
  const times = await Promise.all(papers.map(async (path) => (await stat(join(root, path))).mtimeMs));
  return Math.floor(times.reduce((newest, time) => Math.max(newest, time), 0) / 1000);
}

/** Writes folders as the layers of an OCI image layout. Equal folders are equal bytes, wherever and whenever that is done. */
export async function writeImage(
  target: string,
  layers: readonly LayerSource[],
  about: { config: object; newest: number; tag: string },
): Promise<{ digest: string; layers: { digest: string; sizeBytes: number }[] }> {
  const partial = `${target}.${randomUUID()}.partial`;
  const blobs = join(partial, "blobs/sha256");
  await mkdir(blobs, { recursive: true });
  try {
    const written = [];
    for (const layer of layers) written.push(await writeLayer(blobs, layer, about.newest));
    const put = async (document: object, mediaType: string) => {
      const bytes = Buffer.from(JSON.stringify(document));
      const digest = createHash("sha256").update(bytes).digest("hex");
      await writeFile(join(blobs, digest), bytes);
      return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
    };
    const platform = { os: "linux", architecture: ARCHITECTURES[process.arch] ?? process.arch };
    const created = new Date(about.newest * 1000).toISOString();
    const rootfs = { type: "layers", diff_ids: written.map(({ diffId }) => diffId) };
    const config = await put({ created, ...platform, config: about.config, rootfs }, "application/vnd.oci.image.config.v1+json");
    const described = written.map(({ digest, sizeBytes: size }) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest,
      size,
    }));
    const manifest = { schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", config, layers: described };
    const { mediaType, digest, size } = await put(manifest, manifest.mediaType);
    const annotations = { "org.opencontainers.image.ref.name": about.tag };
    await writeFile(
      join(partial, "index.json"),
      JSON.stringify({ schemaVersion: 2, manifests: [{ mediaType, digest, size, platform, annotations }] }),
    );
    await writeFile(join(partial, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    await rm(target, { recursive: true, force: true });
    await rename(partial, target);
    return { digest, layers: written };
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function writeLayer(blobs: string, layer: LayerSource, newest: number) {
  const file = join(blobs, "layer.partial");
  const tar = pack();
  const [plain, packed] = [new Measured(), new Measured()];
  // A tar begins to flow when somebody reads it, and its entries wait for that.
  const flowing = pipeline(tar.pipe(new PassThrough()), plain, createGzip({ level: GZIP_LEVEL }), packed, createWriteStream(file));
  await Promise.all([addAll(tar, layer, newest).then(() => tar.finalize()), flowing]);
  await rename(file, join(blobs, packed.hex()));
  return { digest: `sha256:${packed.hex()}`, diffId: `sha256:${plain.hex()}`, sizeBytes: packed.sizeBytes };
}

async function addAll(tar: Pack, { folder, at = "", owner, without = () => false }: LayerSource, newest: number): Promise<void> {
  const links = new Map<string, string>();
  for (let end = at.indexOf("/"); end > 0; end = at.indexOf("/", end + 1))
    await entry(tar, { name: `${at.slice(0, end)}/`, type: "directory", mode: 0o755, uid: 0, gid: 0, mtime: new Date(newest * 1000) });
  async function walk(path: string): Promise<void> {
    const names = (await readdir(join(folder, path))).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const name of names) {
      const below = path === "" ? name : `${path}/${name}`;
      if (without(below)) continue;
      const facts = await lstat(join(folder, below));
      await add(below, facts);
      if (facts.isDirectory()) await walk(below);
    }
  }
  async function add(path: string, facts: Stats): Promise<void> {
    const [uid, gid] = owner === undefined ? [facts.uid, facts.gid] : [owner, owner];
    const mtime = new Date(Math.min(Math.floor(facts.mtimeMs / 1000), newest) * 1000);
    const header = { name: at + path, mode: facts.mode & 0o7777, uid, gid, mtime };
    if (facts.isDirectory()) return entry(tar, { ...header, name: `${header.name}/`, type: "directory" });
    if (facts.isSymbolicLink()) return entry(tar, { ...header, type: "symlink", linkname: await readlink(join(folder, path)) });
    // What is no file is made where it runs.
    if (!facts.isFile()) return;
    const inode = `${facts.dev}:${facts.ino}`;
    const first = links.get(inode);
    if (first !== undefined) return entry(tar, { ...header, type: "link", linkname: first });
    if (facts.nlink > 1) links.set(inode, header.name);
    await entry(tar, { ...header, type: "file", size: facts.size }, createReadStream(join(folder, path)));
  }
  await walk("");
}

async function entry(tar: Pack, header: Parameters<Pack["entry"]>[0], content?: Readable): Promise<void> {
  if (content) return pipeline(content, tar.entry(header));
  await new Promise<void>((resolve, reject) => tar.entry(header, (error) => (error ? reject(error) : resolve())));
}

/** Passes bytes on, and knows how many there were and what they hash to. */
class Measured extends Transform {
  readonly #hash = createHash("sha256");
  #hex: string | undefined;
  sizeBytes = 0;

  override _transform(piece: Buffer, _encoding: BufferEncoding, done: (error: null, piece: Buffer) => void): void {
    this.#hash.update(piece);
    this.sizeBytes += piece.length;
    done(null, piece);
  }

  hex(): string {
    return (this.#hex ??= this.#hash.digest("hex"));
  }
}
