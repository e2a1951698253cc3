import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { appendFile, cp, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/**
 * Builds the root file system that every sandbox starts from: Debian packages without documentation, Node 24, one
 * ordinary user. Plain JavaScript for any Node from 18 on, since set-up runs it before anything is installed.
 */
const here = dirname(fileURLToPath(import.meta.url));
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C.UTF-8",
  DEBIAN_FRONTEND: "noninteractive",
};
/** The day of the suite's release, which is before that of any of its packages. */
const SUITE_AT = "2023-06-10T00:00:00Z";
const FONTS = ["/usr/share/fonts", "/usr/local/share/fonts"];

/** The name of the root that this recipe makes: the same recipe, builder and Node are the same root. */
export async function rootVersion(projectDir) {
  const parts = [join(here, "recipe.json"), fileURLToPath(import.meta.url)];
  const hash = createHash("sha256");
  for (const path of parts) hash.update(await readFile(path));
  const lock = JSON.parse(await readFile(join(projectDir, "package-lock.json"), "utf8"));
  hash.update(lock.packages["node_modules/node"].version).update(process.arch);
  return hash.digest("hex").slice(0, 16);
}

/** True when the data folder holds the root of this very recipe. */
export async function hasRoot(dataDir, version) {
  const current = await readFile(join(dataDir, "root", "current"), "utf8").catch(() => "");
  return current.trim() === version && existsSync(join(dataDir, "root", version, "usr"));
}

/**
 * Builds beside and renames at the end, so that a root is either whole or not there. `say` gets (done, of, what);
 * `nodeReady` settles when node_modules holds Node, which is needed only at the end.
 */
export async function buildRoot({ projectDir, dataDir, say, nodeReady }) {
  const recipe = JSON.parse(await readFile(join(here, "recipe.json"), "utf8"));
  const version = await rootVersion(projectDir);
  const folder = join(dataDir, "root");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) if (name.endsWith(".partial")) await discard(join(folder, name));
  const partial = join(folder, `${version}.partial`);
  const work = await mkdtemp(join(tmpdir(), "cleanroom-root-"));
  try {
    await mmdebstrap({ recipe, target: partial, work, say });
    await nodeReady;
    await finish(partial, projectDir);
    await rm(join(folder, version), { recursive: true, force: true });
    await rename(partial, join(folder, version));
    await writeFile(join(folder, "current.partial"), version);
    await rename(join(folder, "current.partial"), join(folder, "current"));
    return join(folder, version);
  } catch (error) {
    await discard(partial);
    throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Removes a root that was not finished, after what a builder that was killed left mounted in it. */
async function discard(partial) {
  const mounted = (await readFile("/proc/self/mountinfo", "utf8")).split("\n").map((line) => line.split(" ")[4] ?? "");
  const held = mounted.filter((place) => place.startsWith(`${partial}/`)).toReversed();
  for (const place of held) must(spawnSync("umount", ["--lazy", place], { env: ENVIRONMENT, encoding: "utf8" }), `umount ${place}`);
  await rm(partial, { recursive: true, force: true });
}

async function mmdebstrap({ recipe, target, work, say }) {
  const placeholder = await makePlaceholder(recipe.without, work);
  // Each package would compile its Python on its own and one after the other; doing it once, in parallel, is faster.
  const lazy = 'cp /bin/true "$1/usr/local/bin/py3compile"';
  const eager = 'rm "$1/usr/local/bin/py3compile"; chroot "$1" python3 -m compileall -q -j 0 /usr/lib/python3 /usr/lib/python3.11 || true';
  const options = [
    "--mode=root",
    "--variant=essential",
    "--format=directory",
    "--verbose",
    "--skip=cleanup/reproducible",
    ...recipe.exclude.map((path) => `--dpkgopt=path-exclude=${path}`),
    ...recipe.include.map((path) => `--dpkgopt=path-include=${path}`),
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
    "--aptopt=Acquire::Retries 3",
    // apt gives package scripts a path without /usr/local, where the stand-in for the compiler is.
    `--aptopt=DPkg::Path "${ENVIRONMENT.PATH}"`,
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    `--include=${recipe.packages.join(",")}`,
    `--essential-hook=${lazy}`,
    `--essential-hook=copy-in ${placeholder} /tmp`,
    '--essential-hook=chroot "$1" dpkg -i /tmp/placeholder.deb; rm "$1/tmp/placeholder.deb"',
    `--customize-hook=${eager}`,
  ];
  const { mirror, security } = await hostMirrors(recipe);
  const signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
  const sources = [
    `deb ${signed} ${mirror} ${recipe.suite} main`,
    `deb ${signed} ${mirror} ${recipe.suite}-updates main`,
    `deb ${signed} ${security} ${recipe.suite}-security main`,
  ];
  await run(["mmdebstrap", ...options, recipe.suite, target, ...sources], say);
}

/** A package that claims to be those that the recipe leaves out, where a dependency is wider than its use. */
async function makePlaceholder(names, work) {
  const folder = join(work, "placeholder");
  await mkdir(join(folder, "DEBIAN"), { recursive: true });
  const provides = names.map((name) => `${name} (= 999)`).join(", ");
  const control = ["Package: cleanroom-placeholder", "Version: 1", "Architecture: all", "Maintainer: Cleanroom <root@localhost>"];
  const text = [...control, "Multi-Arch: foreign", `Provides: ${provides}`, "Description: stands in for packages left out", ""].join("\n");
  await writeFile(join(folder, "DEBIAN", "control"), text);
  const deb = join(work, "placeholder.deb");
  must(spawnSync("dpkg-deb", ["--build", "--root-owner-group", folder, deb], { env: ENVIRONMENT }), "dpkg-deb");
  return deb;
}

/** The mirror that this host already uses for Debian is likely the near one. */
async function hostMirrors(recipe) {
  const files = await readdir("/etc/apt/sources.list.d").catch(() => []);
  const paths = ["/etc/apt/sources.list", ...files.map((name) => join("/etc/apt/sources.list.d", name))];
  const texts = await Promise.all(paths.map((path) => readFile(path, "utf8").catch(() => "")));
  const text = texts.join("\n").replaceAll(/#.*$/gm, "");
  return {
    mirror: /https?:\/\/[^\s\]]+\/debian\/?(?=\s)/.exec(text)?.[0] ?? recipe.mirror,
    security: /https?:\/\/[^\s\]]+\/debian-security\/?(?=\s)/.exec(text)?.[0] ?? recipe.securityMirror,
  };
}

/** Follows mmdebstrap by what dpkg says of each package: unpacked is half, set up is the whole. */
async function run([program, ...rest], say) {
  const child = spawn(program, rest, { env: ENVIRONMENT, stdio: ["ignore", "pipe", "pipe"] });
  const last = [];
  let total = 0;
  let done = 0;
  const read = (line) => {
    last.push(line);
    if (last.length > 25) last.shift();
    const counted = /^\d+ upgraded, (\d+) newly installed/.exec(line);
    if (counted) total += Number(counted[1]) * 2;
    const step = /^(Unpacking|Setting up) (\S+)/.exec(line);
    if (step) say(Math.min(++done, total), total, step[2]);
    else if (/^I: |^Get:/.test(line)) say(done, total, line.startsWith("I: ") ? line.slice(3) : `fetching ${line.split(" ")[4] ?? ""}`);
  };
  const readers = [child.stdout, child.stderr].map((input) => createInterface({ input }).on("line", read));
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  for (const reader of readers) reader.close();
  if (code !== 0) throw new Error(`${program} failed with ${code}:\n${last.join("\n")}`);
}

/** What makes the packages a sandbox: no identity of any machine, no names to resolve, figures without a screen. */
async function finish(root, projectDir) {
  await cp(join(projectDir, "node_modules/node/bin/node"), join(root, "usr/local/bin/node"));
  const files = {
    "etc/hostname": "sandbox\n",
    "etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "etc/resolv.conf": "",
    "etc/machine-id": "",
    "etc/matplotlibrc": "backend: Agg\n",
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/motd": "",
  };
  for (const [path, text] of Object.entries(files)) {
    await rm(join(root, path), { force: true });
    await writeFile(join(root, path), text);
  }
  await appendFile(join(root, "etc/passwd"), "user:x:1000:1000:user:/home/user:/bin/bash\n");
  await appendFile(join(root, "etc/group"), "user:x:1000:\n");
  await cp(join(root, "etc/skel"), join(root, "home/user"), { recursive: true });
  inside(root, ["chown", "-R", "1000:1000", "/home/user"]);
  dateFonts(root);
  // The first import of pyplot writes a list of fonts, in the order of hashes; with it in the root no sandbox waits for that.
  const warm = "import matplotlib.pyplot, pandas, scipy.stats, scipy.optimize, openpyxl, PIL.Image";
  const asUser = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "env", "HOME=/home/user", "PYTHONHASHSEED=0"];
  inside(root, [...asUser, "python3", "-c", warm]);
  for (const folder of ["run", "tmp", "var/log", "var/cache/apt", "var/lib/apt/lists", "root"]) await empty(join(root, folder));
}

/**
 * The lists of fonts say of what moment each folder was, and hold as long as it is of that moment. So folders get one that
 * is the same in every build, and that an image of the root keeps.
 */
function dateFonts(root) {
  inside(root, ["find", ...FONTS, "-type", "d", "-exec", "touch", `--date=${SUITE_AT}`, "{}", "+"]);
  inside(root, ["fc-cache", "--force", "--system-only"]);
}

function inside(root, command) {
  must(spawnSync("chroot", [root, ...command], { env: ENVIRONMENT, encoding: "utf8" }), command.join(" "));
}

function must(result, what) {
  if (result.status !== 0) throw new Error(`${what} failed: ${result.error?.message ?? result.stderr}`);
}

async function empty(folder) {
  for (const name of await readdir(folder).catch(() => [])) await rm(join(folder, name), { recursive: true, force: true });
}
