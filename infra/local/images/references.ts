import { existsSync, realpathSync } from "node:fs";
import { isAbsolute, join, sep } from "node:path";
import { Problem } from "#contract/problem.ts";

/** Where an image lies, and which one of what lies there. */
export interface Found {
  path: string;
  tag: string | undefined;
}

const TRANSPORT = /^(?:oci|oci-archive|docker-archive|dir):/;
const ENDINGS = ["", ".tar", ".tar.gz", ".tgz", ".tar.zst"];
const REFERENCE_CHARS = 512;

/** The file name under which an image of any name lies in a folder of images. */
export function fileNameOf(name: string): string {
  return `${encodeURIComponent(name)}.tar`;
}

/** The name that a file in a folder of images stands for. */
export function nameOfFile(file: string): string {
  const ending = ENDINGS.toSorted((a, b) => b.length - a.length).find((one) => file.endsWith(one)) ?? "";
  try {
    return decodeURIComponent(file.slice(0, file.length - ending.length));
  } catch {
    return file;
  }
}

/**
 * Finds what a reference means on this machine: a path, bare or with the transport that skopeo writes before it, or a
 * name under which an image was added. Nothing outside of the operator's folders is ever read, or said to be there.
 */
export function findReference(reference: string, folders: readonly string[]): Found {
  if (reference.length > REFERENCE_CHARS || /\p{Cc}/u.test(reference)) throw notFound("That is no name of an image");
  const named = reference.replace(TRANSPORT, "");
  if (isAbsolute(named)) return atPath(named, folders);
  if (named !== reference) throw notFound(`The path after ${reference.slice(0, reference.indexOf(":") + 1)} must be absolute`);
  for (const folder of folders) {
    for (const ending of ENDINGS) {
      const path = join(folder, encodeURIComponent(named) + ending);
      // Encoded, every name is one segment, and only these two are no file's.
      if (named !== "." && named !== ".." && named !== "" && existsSync(path)) return { path: within(path, folders), tag: undefined };
    }
  }
  throw notFound(
    `No image called ${JSON.stringify(reference)} is on this machine, and it has no registry to ask: \`docker save\` it where it is`,
  );
}

function atPath(named: string, folders: readonly string[]): Found {
  const whole = realPath(named);
  if (whole !== undefined) return { path: within(whole, folders), tag: undefined };
  // A tag may have a colon of its own.
  for (let colon = named.lastIndexOf(":"); colon > 0; colon = named.lastIndexOf(":", colon - 1)) {
    const path = realPath(named.slice(0, colon));
    if (path !== undefined) return { path: within(path, folders), tag: named.slice(colon + 1) };
  }
  throw outside(named);
}

/** A path that every link has been followed of. */
function within(path: string, folders: readonly string[]): string {
  const real = realPath(path);
  const inside = real !== undefined && folders.some((folder) => isBelow(real, realPath(folder)));
  if (!inside) throw outside(path);
  return real;
}

function isBelow(path: string, folder: string | undefined): boolean {
  return folder !== undefined && path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

function outside(path: string): Problem {
  return notFound(`There is no image at ${path} that may be used: images are read from the folders that CLEANROOM_IMAGES names`);
}

function notFound(detail: string): Problem {
  return new Problem("image_not_found", { detail });
}
