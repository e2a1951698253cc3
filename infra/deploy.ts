import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { localConfig, projectDir } from "./config.ts";
import { localVariables } from "#infra/local/variables.ts";

/** What one run of Serverless Devs needs: where its manifest and files are, and the variables that the manifest names. */
export interface DeployRun {
  projectDir: string;
  env: Readonly<Record<string, string | undefined>>;
  command?: "deploy" | "remove" | "preview";
}

/** Runs Serverless Devs with a home folder of its own, as it writes there, and answers what it said. */
export async function runServerlessDevs({ projectDir: cwd, env, command = "deploy" }: DeployRun): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "cleanroom-s-"));
  try {
    const script = join(cwd, "node_modules/@serverless-devs/s/bin/s");
    const args = command === "preview" ? ["preview", "-o", "json"] : [command, "--assume-yes"];
    const child = spawn(process.execPath, [script, ...args, "--template", join(cwd, "s.yaml")], {
      cwd,
      // NODE_ENV keeps it from leaving processes behind that report home and look for updates.
      env: { ...env, HOME: home, NODE_ENV: "test" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (said += text));
    const code = await new Promise<number | null>((resolve, reject) => child.once("error", reject).once("close", resolve));
    if (code !== 0 || said.includes("Error Message:")) throw new Error(`s ${command} failed (${code}):\n${said}`);
    return said;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

/** Puts the bundles that the cloud gets beside the others: each without the parts that only this machine may run. */
async function stageCloudCode(root: string): Promise<string> {
  const staged = join(root, "dist/cloud");
  await rm(staged, { recursive: true, force: true });
  for (const name of ["gateway", "worker"]) {
    const from = join(root, "dist", name);
    const files = JSON.parse(await readFile(join(from, "cloud-files.json"), "utf8")) as string[];
    for (const file of files) await cp(join(from, file), join(staged, name, file), { recursive: true });
  }
  return "./dist/cloud";
}

async function main(target: string | undefined): Promise<void> {
  const config = localConfig();
  const root = projectDir();
  if (target !== "local" && target !== "cloud") throw new Error("Usage: node infra/deploy.ts local|cloud");
  const path = `${dirname(process.execPath)}:${config.environment["PATH"] ?? ""}`;
  const local = target === "local" ? localVariables(config) : { CLEANROOM_CODE: await stageCloudCode(root), CLEANROOM_PLATFORM: "aliyun" };
  const said = await runServerlessDevs({ projectDir: root, env: { ...config.environment, ...local, PATH: path } });
  console.log(said);
  if (target === "local") console.log(`The gateway: http://127.0.0.1:${config.port}`);
}

if (import.meta.main) await main(process.argv[2]);
