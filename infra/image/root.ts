import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import * as z from "zod";
import { WORKSPACE_INSIDE } from "#contract/workspace.ts";

/** What sandboxes start from: a root, what is added to it read-only, and where Node is inside. */
export interface SandboxRoot {
  source: "image" | "given" | "host";
  root: string;
  binds: Record<string, string>;
  node: string;
  /** Inside: gives up all rights as a workspace does, and becomes the program that follows. */
  lock: readonly string[];
  /** Inside: the program whose forks are workspaces. */
  zygote: readonly string[];
}

/** Where the browser looks for what its administrator decides; nothing inside can write there. */
const BROWSER_POLICIES = "/etc/chromium/policies/managed";
const POLICY_FILE = "cleanroom.json";
const PYTHON = ["/usr/bin/python3", "-I", "-B"];

/** The root that set-up built; else one around this host's own /usr, which the caller should announce. */
export function currentRoot(from: { dataDir: string; projectDir: string; rootDir?: string | undefined }): SandboxRoot {
  const workspace = join(from.projectDir, "dist/workspace");
  const binds = { [workspace]: WORKSPACE_INSIDE, [join(workspace, "browser/policies")]: BROWSER_POLICIES };
  const programs = { lock: [...PYTHON, `${WORKSPACE_INSIDE}/lock.py`], zygote: [...PYTHON, `${WORKSPACE_INSIDE}/zygote.py`] };
  if (from.rootDir) return { source: "given", root: from.rootDir, binds, node: "/usr/local/bin/node", ...programs };
  const built = builtRoot(from.dataDir) ?? builtRoot(join(from.projectDir, ".cleanroom"));
  if (built) return { source: "image", root: built, binds, node: "/usr/local/bin/node", ...programs };
  const nodeDir = join(from.projectDir, "node_modules/node/bin");
  const lent = { "/usr": "/usr", [nodeDir]: "/opt/node", ...binds };
  return { source: "host", root: hostRoot(from.dataDir), binds: lent, node: "/opt/node/node", ...programs };
}

const Policies = z.looseObject({ URLBlocklist: z.array(z.string()) });

/**
 * What the browser's administrator decides where a template opens pages that are closed otherwise: the same as everywhere
 * but for these. Nothing to add where it opens none.
 */
export function browserPolicies(from: { dataDir: string; projectDir: string }, opened: string): Record<string, string> {
  const pages = opened
    .split(",")
    .filter((page) => page !== "")
    .toSorted();
  if (pages.length === 0) return {};
  const folder = join(from.dataDir, "browser-policies", pages.join("+"));
  const closed = Policies.parse(JSON.parse(readFileSync(join(from.projectDir, "dist/workspace/browser/policies", POLICY_FILE), "utf8")));
  const URLBlocklist = closed.URLBlocklist.filter((pattern) => !pages.some((page) => pattern.startsWith(`${page}:`)));
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const partial = join(folder, `.${POLICY_FILE}.${process.pid}`);
  writeFileSync(partial, JSON.stringify({ ...closed, URLBlocklist }), { mode: 0o644 });
  renameSync(partial, join(folder, POLICY_FILE));
  return { [folder]: BROWSER_POLICIES };
}

function builtRoot(dataDir: string): string | undefined {
  const pointer = join(dataDir, "root", "current");
  if (!existsSync(pointer)) return undefined;
  const root = join(dataDir, "root", readFileSync(pointer, "utf8").trim());
  return existsSync(join(root, "usr")) ? root : undefined;
}

const FOLDERS = ["usr", "opt/node", "etc", "proc", "dev", "sys", "run", "tmp", "mnt", "root", "home/user", "var/tmp", "var/log"];
const COPIED = ["alternatives", "ld.so.cache", "ssl/certs", "ssl/openssl.cnf", "fonts", "mime.types", "python3", "python3.11", "terminfo"];
const FILES: Record<string, string> = {
  "etc/passwd":
    "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000:user:/home/user:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
  "etc/group": "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n",
  "etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
  "etc/hostname": "sandbox\n",
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
  "etc/resolv.conf": "",
  "etc/machine-id": "",
  "etc/matplotlibrc": "backend: Agg\n",
};

/** A root with nothing of the host but /usr and the few files of /etc that programs in /usr need. */
function hostRoot(dataDir: string): string {
  const root = join(dataDir, "root", "host");
  if (existsSync(root)) return root;
  const partial = `${root}.${process.pid}.partial`;
  rmSync(partial, { recursive: true, force: true });
  for (const folder of FOLDERS) mkdirSync(join(partial, folder), { recursive: true, mode: 0o755 });
  for (const [path, text] of Object.entries(FILES)) writeFileSync(join(partial, path), text, { mode: 0o644 });
  for (const name of COPIED) copyFromEtc(name, join(partial, "etc", name));
  for (const name of ["bin", "sbin", "lib", "lib64"]) linkLikeHost(name, join(partial, name));
  for (const folder of ["tmp", "var/tmp"]) chmodSync(join(partial, folder), 0o1777);
  chmodSync(partial, 0o755);
  chownSync(join(partial, "home/user"), 1000, 1000);
  renameSync(partial, root);
  return root;
}

function copyFromEtc(name: string, target: string): void {
  const source = join("/etc", name);
  if (!existsSync(source)) return;
  mkdirSync(dirname(target), { recursive: true });
  cpSync(source, target, { recursive: true, verbatimSymlinks: true });
}

/** Only hosts with a merged /usr can lend it: elsewhere /bin and /lib would be missing. */
function linkLikeHost(name: string, target: string): void {
  const source = join("/", name);
  if (!existsSync(source)) return;
  if (!lstatSync(source).isSymbolicLink())
    throw new Error(`This host keeps /${name} outside /usr, so its /usr cannot serve: build the root with set-up`);
  symlinkSync(readlinkSync(source), target);
}
