import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { WORKSPACE_INSIDE } from "#contract/workspace.ts";
import { localConfig } from "./config.ts";
import { isTransient, newestPackage, writeImage } from "./image/layout.ts";
import { currentRoot } from "./image/root.ts";

/**
 * Writes the sandboxes' own root, with the workspace in it, as an OCI image for the cloud's container runtime: the same
 * files that sandboxes of this machine start from. `npm run image [-- FOLDER]`
 */
const NAME = "cleanroom-workspace";
const PORT = 9000;

const config = localConfig();
const { source, root, binds } = currentRoot(config);
if (source === "host") throw new Error("There is no root of the recipe to write: `npm run setup` as root builds it");
const target = resolve(process.argv[2] ?? join(config.imageFolders[0] ?? "", NAME));
await mkdir(dirname(target), { recursive: true, mode: 0o700 });
const startedAtMs = performance.now();
const newest = await newestPackage(root);
const added = Object.entries(binds).map(([folder, at]) => ({ folder, at: `${at.slice(1)}/`, owner: 0 }));
const { digest, layers } = await writeImage(target, [{ folder: root, without: isTransient }, ...added], {
  newest,
  tag: "latest",
  config: {
    Entrypoint: ["/usr/bin/python3", "-I", "-B", `${WORKSPACE_INSIDE}/main.py`],
    Env: ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", `FC_SERVER_PORT=${PORT}`],
    ExposedPorts: { [`${PORT}/tcp`]: {} },
    WorkingDir: "/",
  },
});
const sizes = layers.map(({ sizeBytes }) => `${(sizeBytes / 2 ** 20).toFixed(1)} MiB`).join(" + ");
console.log(`${target}\n  ${digest}\n  ${sizes}, written in ${((performance.now() - startedAtMs) / 1000).toFixed(0)} s`);
