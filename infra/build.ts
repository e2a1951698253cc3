import { globSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { build, type BuildOptions, type Metafile } from "esbuild";
import { projectDir } from "./config.ts";
import { copyPython, gatherWorkspace } from "./gather.ts";

/**
 * Bundles each function to dist/<function>/. A trusted function's main bundle reaches its platform by a dynamic
 * import, so one bundle serves both: the cloud's package simply leaves `platform-local` out. The build refuses a
 * cloud package that still holds anything of infra/local, or a native file.
 */
const PAGES = "pages";
const WITNESS = "witness.js";
const LOCAL_PLATFORM = "platform-local";
const PLATFORMS = { local: "infra/local/stores/platform.ts", aliyun: "infra/aliyun/platform.ts" } as const;

const common: BuildOptions = {
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  outExtension: { ".js": ".mjs" },
  metafile: true,
  legalComments: "none",
  logLevel: "warning",
  external: ["node:*"],
  // Bundled CommonJS packages still call require, which an ES module lacks.
  banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
};

const root = projectDir();
const dist = join(root, "dist");

async function buildTrusted(name: "gateway" | "worker"): Promise<void> {
  const entryPoints: Record<string, string> = { main: join(root, `functions/${name}/main.ts`) };
  for (const platform of ["local", "aliyun"] as const) entryPoints[`platform-${platform}`] = join(root, PLATFORMS[platform]);
  // A thread is a program of its own, beside the bundle that starts it.
  entryPoints["search-thread"] = join(root, "infra/local/stores/search-thread.ts");
  const result = await build({ ...common, entryPoints, outdir: join(dist, name), splitting: true, minifySyntax: true });
  const cloud = cloudFiles(result.metafile, name);
  if (name === "gateway") {
    await buildPages(join(dist, name, PAGES));
    await buildWitness(join(dist, name, WITNESS));
    cloud.push(PAGES, WITNESS);
  }
  await writeFile(join(dist, name, "cloud-files.json"), JSON.stringify(cloud, undefined, 2));
}

/** The outputs that the cloud gets: all that `main` reaches without going through the local platform. */
function cloudFiles(metafile: Metafile | undefined, name: string): string[] {
  const prefix = `dist/${name}/`;
  const seen = new Set<string>();
  const queue = [`${prefix}main.mjs`];
  for (let output = queue.pop(); output !== undefined; output = queue.pop()) {
    if (seen.has(output) || output === `${prefix}${LOCAL_PLATFORM}.mjs`) continue;
    seen.add(output);
    const facts = metafile?.outputs[output];
    for (const input of Object.keys(facts?.inputs ?? {})) {
      if (input.startsWith("infra/local/") || input.endsWith(".node"))
        throw new Error(`The cloud's ${name} would hold ${input}, which only this machine may run`);
    }
    for (const imported of facts?.imports ?? []) if (!imported.external) queue.push(imported.path);
  }
  return [...seen].map((output) => output.slice(prefix.length));
}

/** The pages of the console: each HTML with the script and the style of its name, which their content names. */
async function buildPages(outdir: string): Promise<void> {
  const pages = globSync("functions/console/*.html");
  const { metafile } = await build({
    bundle: true,
    platform: "browser",
    target: "es2023",
    format: "esm",
    minify: true,
    metafile: true,
    legalComments: "none",
    logLevel: "warning",
    entryPoints: pages.map((page) => page.replace(/html$/, "ts")),
    entryNames: "[name]-[hash]",
    outdir,
  });
  for (const page of pages) {
    const entry = page.replace(/html$/, "ts");
    const [script, { cssBundle }] = Object.entries(metafile.outputs).find(([, output]) => output.entryPoint === entry) ?? ["", {}];
    const address = (output = "") => `/${PAGES}/${basename(output)}`;
    const html = (await readFile(page, "utf8")).replace("{{script}}", address(script)).replace("{{style}}", address(cssBundle));
    await writeFile(join(outdir, basename(page)), html);
  }
}

/** What the frames of watched pages run, as one expression: a function of what to report with. */
async function buildWitness(outfile: string): Promise<void> {
  const { outputFiles } = await build({
    bundle: true,
    platform: "browser",
    target: "es2023",
    format: "iife",
    globalName: "witness",
    minify: true,
    write: false,
    logLevel: "warning",
    entryPoints: [join(root, "functions/console/witness.ts")],
  });
  await writeFile(outfile, `(report) => { ${outputFiles[0]?.text ?? ""}\nwitness.watch(report); }`);
}

async function buildOne(name: string, entry: string): Promise<void> {
  await build({ ...common, entryPoints: { main: join(root, entry) }, outdir: join(dist, name) });
}

async function buildAll(): Promise<void> {
  process.chdir(root);
  await rm(dist, { recursive: true, force: true });
  await mkdir(dist);
  await Promise.all([
    buildTrusted("gateway"),
    buildTrusted("worker"),
    gatherWorkspace(join(dist, "workspace")),
    buildOne("local", "infra/local/main.ts"),
    buildOne("client", "client/main.ts"),
  ]);
  // The maker is Python beside the engine, as it forks where Node cannot.
  await copyPython("infra/local/sealed/maker", join(dist, "local/maker"));
}

const startedAtMs = performance.now();
await buildAll();
console.log(`built dist/ in ${Math.round(performance.now() - startedAtMs)} ms`);
