import { execFile } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

/** Empty disks by size, made once and copied for each instance: copying the few blocks of a sparse image costs a millisecond. */
export interface Disks {
  template(sizeMiB: number): Promise<string>;
}

export function openDisks(folder: string): Disks {
  const templates = new Map<number, Promise<string>>();
  return {
    template: (sizeMiB) => {
      const known = templates.get(sizeMiB);
      if (known) return known;
      const made = makeTemplate(folder, sizeMiB);
      templates.set(sizeMiB, made);
      made.catch(() => templates.delete(sizeMiB));
      return made;
    },
  };
}

/** How many files a disk can have is fixed when it is made: 32,768 on one of 512 MiB, 655,360 on one of 10 GiB. */
const BYTES_PER_NAME = 16_384;

/** Without a journal, as a disk that dies with its instance has nothing to recover; without room to grow, which is most of an empty image. */
async function makeTemplate(folder: string, sizeMiB: number): Promise<string> {
  const path = join(folder, `${sizeMiB}MiB.img`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const partial = `${path}.${process.pid}.partial`;
  try {
    const image = openSync(partial, "w", 0o600);
    ftruncateSync(image, sizeMiB * 1024 * 1024);
    closeSync(image);
    const options = "lazy_itable_init=1,nodiscard,root_owner=0:0";
    await promisify(execFile)(
      "mkfs.ext4",
      ["-q", "-F", "-m", "0", "-i", String(BYTES_PER_NAME), "-O", "^has_journal,^resize_inode", "-E", options, partial],
      {
        env: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" },
      },
    );
    renameSync(partial, path);
  } finally {
    rmSync(partial, { force: true });
  }
  return path;
}
