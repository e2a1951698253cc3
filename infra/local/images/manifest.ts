import { createHash } from "node:crypto";
import { arch } from "node:os";
import * as z from "zod";
import { LIMITS } from "#contract/limits.ts";
import type { Blobs } from "./blobs.ts";
import { imageNotValid } from "./refusal.ts";

/** What an image says of the program in it, as it says it. */
export const ImageProgram = z.object({
  entrypoint: z.array(z.string()),
  command: z.array(z.string()),
  environment: z.array(z.string()),
  folder: z.string(),
  user: z.string(),
});
export type ImageProgram = z.output<typeof ImageProgram>;

/** A layer as it lies there: what its bytes must hash to as they are, where that is said, and what once they are a tar. */
export interface LayerBlob {
  name: string;
  digest: string | undefined;
  diffId: string;
}

/** An image that has been found and not been unpacked. Its digest is that of its configuration, which names all of its content. */
export interface FoundImage {
  digest: string;
  program: ImageProgram;
  layers: LayerBlob[];
}

const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "is not a sha256 digest");
const Descriptor = z.object({
  mediaType: z.string().default(""),
  digest: Digest,
  platform: z.object({ os: z.string(), architecture: z.string() }).nullish(),
  annotations: z.record(z.string(), z.string()).nullish(),
});
type Descriptor = z.output<typeof Descriptor>;
const Index = z.object({ manifests: z.array(Descriptor).max(1000) });
const Manifest = z.object({ config: Descriptor, layers: z.array(Descriptor).max(LIMITS.imageLayers) });
const Texts = z
  .array(z.string().regex(/^[^\0]*$/, "holds a NUL"))
  .nullish()
  .transform((texts) => texts ?? []);
const Config = z.object({
  architecture: z.string(),
  os: z.string(),
  rootfs: z.object({ type: z.literal("layers"), diff_ids: z.array(Digest).max(LIMITS.imageLayers) }),
  config: z
    .object({ Entrypoint: Texts, Cmd: Texts, Env: Texts, WorkingDir: z.string().nullish(), User: z.string().nullish() })
    .nullish()
    .transform((config) => config ?? { Entrypoint: [], Cmd: [], Env: [], WorkingDir: "", User: "" }),
});
const Saved = z.array(
  z.object({ Config: z.string(), RepoTags: z.array(z.string()).nullish(), Layers: z.array(z.string()).max(LIMITS.imageLayers) }),
);

const REFERENCE_NAMES = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
const ARCHITECTURES: Partial<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const INDEX = /\b(image\.index|manifest\.list)\b/;
const MANIFEST = /\b(image\.manifest|distribution\.manifest\.v2)\b/;
const LEVELS_MAX = 3;

/** Finds the image in what holds it: the one of that tag, or else the only one, and of several processors this machine's. */
export async function findImage(blobs: Blobs, tag: string | undefined): Promise<FoundImage> {
  if (await blobs.has("index.json")) return inLayout(blobs, tag);
  if (await blobs.has("manifest.json")) return inSaved(blobs, tag);
  throw imageNotValid("It holds neither an index.json, as OCI images have, nor a manifest.json, as `docker save` writes it");
}

async function inLayout(blobs: Blobs, tag: string | undefined): Promise<FoundImage> {
  const { manifests } = parse(Index, "index.json", await blobs.read("index.json"));
  const chosen = await manifestIn(blobs, tag === undefined ? manifests : tagged(manifests, tag), 1);
  const { config, layers } = parse(Manifest, "manifest", await document(blobs, chosen));
  const unknown = layers.find(({ mediaType }) => !mediaType.includes("tar") || mediaType.includes("encrypted"));
  if (unknown) throw imageNotValid(`A layer of the type ${unknown.mediaType.slice(0, 100)} cannot be unpacked`);
  return foundImage(
    await document(blobs, config),
    layers.map(({ digest }) => ({ name: blobName(digest), digest })),
  );
}

async function manifestIn(blobs: Blobs, descriptors: Descriptor[], level: number): Promise<Descriptor> {
  const fitting = descriptors.filter(fits);
  const [first, second] = fitting;
  if (!first) throw imageNotValid(`It has nothing for ${platformText()}${listed(descriptors)}`);
  if (second && level === 1 && first.digest !== second.digest)
    throw imageNotValid("It holds several images: name one by its tag, as in `oci:/path:tag`");
  if (MANIFEST.test(first.mediaType)) return first;
  if (level >= LEVELS_MAX || !INDEX.test(first.mediaType))
    throw imageNotValid(`Of the type ${JSON.stringify(first.mediaType.slice(0, 100))} nothing can be made`);
  const { manifests } = parse(Index, "index", await document(blobs, first));
  return manifestIn(blobs, manifests, level + 1);
}

/** Statements about an image lie among its manifests, for a platform that is none. */
function fits({ platform }: Descriptor): boolean {
  return !platform || (platform.os === "linux" && platform.architecture === ARCHITECTURES[arch()]);
}

function platformText(): string {
  return `linux/${ARCHITECTURES[arch()] ?? arch()}, which this machine is`;
}

function listed(descriptors: Descriptor[]): string {
  const names = descriptors.flatMap(({ platform }) => (platform ? [`${platform.os}/${platform.architecture}`] : []));
  return names.length > 0 ? `; only for ${[...new Set(names)].slice(0, 10).join(", ")}` : "";
}

function tagged(descriptors: Descriptor[], tag: string): Descriptor[] {
  const found = descriptors.filter(({ annotations }) =>
    REFERENCE_NAMES.some((name) => annotations?.[name] === tag || annotations?.[name]?.endsWith(`:${tag}`)),
  );
  if (found.length === 0) throw imageNotValid(`It holds no image of the tag ${JSON.stringify(tag)}`);
  return found;
}

async function inSaved(blobs: Blobs, tag: string | undefined): Promise<FoundImage> {
  const all = parse(Saved, "manifest.json", await blobs.read("manifest.json"));
  const fitting =
    tag === undefined ? all : all.filter(({ RepoTags }) => RepoTags?.some((name) => name === tag || name.endsWith(`:${tag}`)));
  const [saved, other] = fitting;
  if (!saved) throw imageNotValid(tag === undefined ? "It holds no image" : `It holds no image of the tag ${JSON.stringify(tag)}`);
  if (other) throw imageNotValid("It holds several images: name one by its tag, as in `docker-archive:/path:tag`");
  const layers = saved.Layers.map((name) => ({ name, digest: undefined }));
  return foundImage(await blobs.read(saved.Config), layers);
}

function foundImage(bytes: Buffer, blobs: Omit<LayerBlob, "diffId">[]): FoundImage {
  const { os, architecture, rootfs, config } = parse(Config, "configuration", bytes);
  if (os !== "linux" || architecture !== ARCHITECTURES[arch()])
    throw imageNotValid(`It is for ${os}/${architecture}, and not for ${platformText()}`);
  if (rootfs.diff_ids.length !== blobs.length) throw imageNotValid("Its configuration names another number of layers than there are");
  const { Entrypoint, Cmd, Env, WorkingDir, User } = config;
  const program = { entrypoint: Entrypoint, command: Cmd, environment: Env, folder: WorkingDir ?? "", user: User ?? "" };
  if (Buffer.byteLength(JSON.stringify(program)) > LIMITS.imageProgramBytes) throw imageNotValid("Its command and variables are too long");
  const layers = blobs.map((blob, index) => ({ ...blob, diffId: rootfs.diff_ids[index] ?? "" }));
  return { digest: digestOf(bytes), program, layers };
}

/** A document whose content is what the descriptor says. */
async function document(blobs: Blobs, { digest }: Descriptor): Promise<Buffer> {
  const bytes = await blobs.read(blobName(digest));
  if (digestOf(bytes) !== digest) throw imageNotValid(`${digest} is not what its name says`);
  return bytes;
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function parse<S extends z.ZodType>(schema: S, what: string, bytes: Buffer): z.output<S> {
  const json = (() => {
    try {
      return JSON.parse(bytes.toString("utf8")) as unknown;
    } catch (error) {
      throw imageNotValid(`Its ${what} is not JSON`, error);
    }
  })();
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw imageNotValid(`Its ${what} is not one: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`);
}
