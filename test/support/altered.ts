import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { cp, readFile, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { signProof } from "#contract/proof.ts";
import { PROOF_HEADER, SESSION_HEADER, WORKSPACE_INSIDE } from "#contract/workspace.ts";
import { projectDir } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import type { FunctionRecord } from "#infra/local/compute/functions.ts";
import { startIsolated } from "#infra/local/compute/isolated.ts";
import type { Maker } from "#infra/local/sealed/maker.ts";

/** By file: a text that is in it, and what stands there instead. */
export type Changes = Readonly<Record<string, readonly (readonly [before: string, after: string])[]>>;

/** The workspace as it is shipped, with parts of it replaced: what a fault would make of it. */
export async function alteredWorkspace(dir: string, changes: Changes): Promise<string> {
  await cp(join(projectDir(), "dist/workspace"), dir, { recursive: true });
  for (const [file, pairs] of Object.entries(changes)) {
    let source = await readFile(join(dir, file), "utf8");
    for (const [before, after] of pairs) {
      assert.ok(source.includes(before), `${file} has ${before}`);
      source = source.replace(before, after);
    }
    await writeFile(join(dir, file), source);
  }
  return dir;
}

/** Makes an instance of a workspace's files just as the engine does, and runs Python in it by its own API. */
export async function startInstance(maker: Maker, id: string, workspace: string) {
  const { root, zygote } = currentRoot({ dataDir: "", projectDir: projectDir() });
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = (publicKey.export({ format: "jwk" }) as { x: string }).x;
  const definition = {
    customContainerConfig: { image: "any" },
    environmentVariables: { CLEANROOM_PROOF_KEY: Buffer.from(raw, "base64url").toString("base64") },
    cpu: 1,
    memorySize: 512,
    diskSize: 128,
    instanceConcurrency: 10,
  };
  const { instance, upstream } = await startIsolated({
    maker,
    image: () => ({ root, binds: { [workspace]: WORKSPACE_INSIDE }, zygote }),
    record: { name: "workspace", definition } as unknown as FunctionRecord,
    id,
    limits: { processesPerInstance: 64, readyMs: 30_000 },
    now: Date.now,
    signal: new AbortController().signal,
  });
  return {
    async run(code: string): Promise<string> {
      const headers = {
        host: "sandbox",
        "content-type": "application/json",
        [SESSION_HEADER]: id,
        [PROOF_HEADER]: signProof(privateKey, id, Date.now() + 60_000),
      };
      const answer = await new Promise<string>((resolve, reject) => {
        const asked = request({ socketPath: instance.socketPath, method: "POST", path: "/contexts/execute", headers }, (response) => {
          text(response).then(resolve, reject);
        });
        asked.once("error", reject);
        asked.end(JSON.stringify({ language: "python", code }));
      });
      const { stdout, stderr } = JSON.parse(answer) as { stdout?: string; stderr?: string };
      if (stdout === undefined) throw new Error(`The code was not run: ${answer}`);
      return stdout + (stderr ?? "");
    },
    async [Symbol.asyncDispose]() {
      upstream.close("seen");
      await instance.destroy();
    },
  };
}
