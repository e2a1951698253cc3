import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildRoot, hasRoot, rootVersion } from "./image/build.mjs";

/**
 * Gives a fresh machine what it lacks: npm packages, Debian packages, the root that sandboxes start from, the bundles.
 * Plain JavaScript without dependencies for any Node from 18 on. With nothing missing it says so and is done at once.
 */
const project = dirname(dirname(fileURLToPath(import.meta.url)));
// Set-up runs before config.ts can, so these two variables are read here as well.
const dataDir = resolve(process.env.CLEANROOM_DATA ?? join(project, ".cleanroom"));
const ownRoot = process.env.CLEANROOM_ROOT;
const isRoot = process.getuid?.() === 0;

/** What the engine runs on the host: the Debian package, and a file by which it is known to be there. */
const PACKAGES = {
  bubblewrap: ["/usr/bin/bwrap"],
  python3: ["/usr/bin/python3"],
  openssl: ["/usr/bin/openssl"],
  e2fsprogs: ["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"],
  mount: ["/usr/bin/mount", "/bin/mount"],
  tar: ["/usr/bin/tar", "/bin/tar"],
};
/** Needed only to build the sandboxes' root. */
const BUILDER = {
  mmdebstrap: ["/usr/bin/mmdebstrap"],
  "debian-archive-keyring": ["/usr/share/keyrings/debian-archive-keyring.gpg"],
};

const started = Date.now();
const lines = new Map();
let lastShown = 0;

async function main() {
  const needs = await findNeeds();
  if (Object.values(needs).every((need) => !need)) {
    console.log("Everything is set up.");
    return;
  }
  const unlock = await lock();
  try {
    await provide(await findNeeds());
  } finally {
    unlock();
  }
  console.log(`\nSet up in ${seconds(started)} s.`);
}

async function findNeeds() {
  return {
    npm: !hasPackages(),
    debian: missing(PACKAGES),
    root: ownRoot ? undefined : await neededRoot(),
    bundles: !hasBundles(),
  };
}

/** npm and the Debian side do not need each other until Node is copied into the root, so they run side by side. */
async function provide(needs) {
  const npm = needs.npm ? installPackages() : Promise.resolve();
  npm.catch(() => undefined);
  const builder = needs.root ? missing(BUILDER) : undefined;
  const wanted = [needs.debian, builder].filter(Boolean).flat();
  if (wanted.length > 0) await installDebian(wanted, needs.debian);
  const root = needs.root && !missing(BUILDER) ? makeRoot(npm) : Promise.resolve();
  const bundles = npm.then(() => (needs.bundles || needs.npm ? bundle() : undefined));
  const results = await Promise.allSettled([npm, root, bundles]);
  const failed = results.find(({ status }) => status === "rejected");
  if (failed) throw failed.reason;
}

/** Packages that somebody installed with npm itself count too: npm then keeps its own lock file among them. */
function hasPackages() {
  if (!existsSync(join(project, "node_modules/node/bin/node"))) return false;
  const stamp = join(project, "node_modules/.cleanroom");
  if (existsSync(stamp)) return readFileSync(stamp, "utf8") === lockHash();
  const installed = join(project, "node_modules/.package-lock.json");
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(project, "package-lock.json")).mtimeMs;
}

function lockHash() {
  return createHash("sha256")
    .update(readFileSync(join(project, "package-lock.json")))
    .digest("hex");
}

/** No install script runs but those of the packages that package.json approves by name. */
async function installPackages() {
  const { allowScripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8"));
  const approved = Object.keys(allowScripts).filter((name) => allowScripts[name]);
  show("npm packages", "downloading");
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  // A registry that lacks some other platform's build makes `npm ci` refuse a lock that `npm install` follows all the same.
  await run("npm packages", ["npm", "ci", ...quiet]).catch(() => run("npm packages", ["npm", "install", "--no-save", ...quiet]));
  show("npm packages", approved.join(", "));
  await run("npm packages", ["npm", "rebuild", "--ignore-scripts=false", ...approved]);
  writeFileSync(join(project, "node_modules/.cleanroom"), lockHash());
  show("npm packages", "done");
}

function missing(packages) {
  const names = Object.keys(packages).filter((name) => !packages[name].some((path) => existsSync(path)));
  return names.length > 0 ? names : undefined;
}

/** Without the right to install, the engine's own needs end set-up; the builder's have a substitute. */
async function installDebian(names, necessary) {
  const sudo = isRoot ? [] : ["sudo", "-n"];
  const allowed = isRoot || spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
  const hasApt = existsSync("/usr/bin/apt-get");
  if (!hasApt || !allowed) {
    if (!necessary) return console.log("No builder for the sandboxes' root can be installed: they will see this host's /usr, read-only.");
    const fix = hasApt
      ? `sudo apt-get update && sudo apt-get install -y ${names.join(" ")}`
      : `install these with your package manager: ${names.join(" ")}`;
    throw new Error(`These packages are missing. Run this, then try again:\n  ${fix}`);
  }
  const apt = [...sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-q"];
  show("Debian packages", names.join(", "));
  const install = [...apt, "install", "-y", "--no-install-recommends", ...names];
  try {
    await run("Debian packages", install);
  } catch {
    // The lists may be absent or old, in which case fetching them is what was missing.
    await run("Debian packages", [...apt, "update"]);
    await run("Debian packages", install);
  }
  show("Debian packages", "done");
}

async function neededRoot() {
  const version = await rootVersion(project);
  if (await hasRoot(dataDir, version)) return undefined;
  const canBuild = isRoot && (existsSync("/usr/bin/apt-get") || !missing(BUILDER));
  return canBuild ? version : undefined;
}

async function makeRoot(nodeReady) {
  const say = (done, total, what) => show("sandbox root", total > 0 ? `${done}/${total} ${what}` : what);
  await buildRoot({ projectDir: project, dataDir, say, nodeReady });
  show("sandbox root", "done");
}

/** Bundles older than any source are none. */
function hasBundles() {
  const stamp = join(project, "dist/.built");
  if (!existsSync(join(project, "infra/build.ts"))) return true;
  if (!existsSync(stamp)) return false;
  const built = statSync(stamp).mtimeMs;
  return ["functions", "infra", "client", "package-lock.json"].every((path) => newest(join(project, path)) <= built);
}

function newest(path) {
  const facts = statSync(path, { throwIfNoEntry: false });
  if (!facts) return 0;
  if (!facts.isDirectory()) return facts.mtimeMs;
  return readdirSync(path).reduce((latest, name) => Math.max(latest, newest(join(path, name))), 0);
}

async function bundle() {
  const begun = new Date();
  show("bundles", "building");
  await run("bundles", [join(project, "node_modules/.bin/node"), join(project, "infra/build.ts")]);
  mkdirSync(join(project, "dist"), { recursive: true });
  writeFileSync(join(project, "dist/.built"), begun.toISOString());
  show("bundles", "done");
}

async function run(name, [program, ...rest]) {
  const child = spawn(program, rest, { cwd: project, stdio: ["ignore", "pipe", "pipe"] });
  let tail = "";
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding("utf8").on("data", (text) => {
      tail = (tail + text).slice(-6000);
    });
  }
  const tick = setInterval(() => show(name), 1000);
  try {
    const code = await new Promise((settle, reject) => {
      child.once("error", reject);
      child.once("close", settle);
    });
    if (code !== 0) throw new Error(`${[program, ...rest].join(" ")} failed with ${code}:\n${tail.trim()}`);
  } finally {
    clearInterval(tick);
  }
}

/** One line on a terminal that is written over; elsewhere a line every five seconds. */
function show(name, what = lines.get(name) ?? "") {
  const changed = what === "done" && lines.get(name) !== "done";
  lines.set(name, what);
  const text = `[${seconds(started)} s] ${[...lines].map((line) => line.join(": ")).join(" · ")}`;
  if (process.stdout.isTTY) {
    process.stdout.write(`\r\x1b[K${text.slice(0, (process.stdout.columns ?? 80) - 1)}`);
  } else if (changed || Date.now() - lastShown > 5000) {
    lastShown = Date.now();
    console.log(text);
  }
}

function seconds(since) {
  return Math.round((Date.now() - since) / 1000);
}

/** Two set-ups at once would build the same things over each other; the second waits and then finds nothing missing. */
async function lock() {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, "setup.lock");
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (!isAlive(Number(readFileSync(path, "utf8")))) rmSync(path, { force: true });
    else {
      show("waiting", "for another set-up");
      await new Promise((wake) => setTimeout(wake, 500));
    }
  }
}

function isAlive(pid) {
  return pid > 0 && existsSync(`/proc/${pid}`);
}

main().catch((error) => {
  console.error(`\n${error.message}`);
  process.exitCode = 1;
});
