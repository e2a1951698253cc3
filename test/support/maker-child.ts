import { createSealedMaker } from "#infra/local/sealed/sealed.ts";
import { sandboxRoot, SHELL, smallSpec } from "#support/sealed-host.ts";

/** An engine's part for tests that kill it: makes so many instances, pauses them if it is told to, says `ready` and stays. */
const [dataDir = "", count = "0", state = "running"] = process.argv.slice(2);
const root = sandboxRoot(dataDir);
const maker = await createSealedMaker({ dataDir, root });
const made = await Promise.all(Array.from({ length: Number(count) }, (_, index) => maker.make(smallSpec(root, `left-${index}`, SHELL))));
if (state === "paused") await Promise.all(made.map((instance) => instance.pause()));
process.stdout.write("ready\n");
