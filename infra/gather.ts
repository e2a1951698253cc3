import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { projectDir } from "./config.ts";
import { contractForWorkspace } from "./contract.ts";

/** Copies Python as it stands, from a folder of the project, without what Python itself has put beside it. */
export async function copyPython(from: string, folder: string): Promise<void> {
  await cp(join(projectDir(), from), folder, { recursive: true, filter: (path) => !path.includes("__pycache__") });
}

/** The workspace as it ships: its Python, with the contract that it answers by beside it. */
export async function gatherWorkspace(folder: string): Promise<void> {
  await copyPython("functions/workspace", folder);
  await writeFile(join(folder, "contract.json"), JSON.stringify(contractForWorkspace()));
}
