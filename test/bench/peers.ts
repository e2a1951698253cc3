import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { sample, type Figure } from "./stats.ts";

const run = promisify(execFile);
const PYTHON = ["/usr/bin/python3", "-I", "-S", "-c", "print(1)"] as const;

/** Another way to run a program sealed on this machine: its command, and how to get it where it is missing. */
interface Peer {
  name: string;
  command: readonly string[];
  install: string;
}

const BUBBLEWRAP = ["--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--"];
const PODMAN = ["--runtime", "runc", "run", "--rm", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/** What others on this machine take from nothing to the output of print(1), one after another. Those that are not here are named. */
export async function measurePeers(runs: number, root: string): Promise<{ figures: Figure[]; missing: string[] }> {
  const folder = await mkdtemp(join(tmpdir(), "cleanroom-peers-"));
  try {
    const settings = join(folder, "srt.json");
    const network = { allowedDomains: [], deniedDomains: [] };
    await writeFile(settings, JSON.stringify({ network, filesystem: { denyRead: [], allowWrite: [folder], denyWrite: [] } }));
    const quoted = PYTHON.map((word) => `'${word}'`).join(" ");
    const peers: Peer[] = [
      { name: "python3 alone", command: PYTHON, install: "apt-get install python3" },
      { name: "sh -c echo alone", command: ["/bin/sh", "-c", "echo 1"], install: "" },
      { name: "bubblewrap", command: ["bwrap", ...BUBBLEWRAP, ...PYTHON], install: "apt-get install bubblewrap" },
      {
        name: "firejail",
        command: ["firejail", "--quiet", "--noprofile", "--net=none", "--private", "--", ...PYTHON],
        install: "apt-get install firejail",
      },
      { name: "podman + runc", command: ["podman", ...PODMAN, "--rootfs", `${root}:O`, ...PYTHON], install: "apt-get install podman runc" },
      {
        name: "sandbox-runtime",
        command: ["srt", "--settings", settings, "-c", quoted],
        install: "npm install -g @anthropic-ai/sandbox-runtime (and apt-get install socat ripgrep)",
      },
    ];
    const figures: Figure[] = [];
    const missing: string[] = [];
    for (const { name, command, install } of peers) {
      const [program = "", ...rest] = command;
      if (!isHere(program)) missing.push(`${name}: ${install}`);
      else figures.push(await sample(name, runs, () => prints(program, rest)));
    }
    return { figures, missing };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function prints(program: string, rest: readonly string[]): Promise<void> {
  const { stdout } = await run(program, rest);
  if (stdout.trim() !== "1") throw new Error(`${program} printed ${JSON.stringify(stdout)}`);
}

function isHere(program: string): boolean {
  return program.includes("/") || (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)));
}
