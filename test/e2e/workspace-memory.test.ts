import assert from "node:assert/strict";
import { accessSync, constants, existsSync, readFileSync, rmdirSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { startWorkspace } from "#support/workspace.ts";

const GROUPS = "/sys/fs/cgroup/memory";
const LIMIT_BYTES = 300 * 1024 * 1024;

function whyNot(): string | undefined {
  if (process.getuid?.() !== 0) return "only root may limit memory here; the sandbox's own tests do it everywhere";
  if (!existsSync(`${GROUPS}/memory.limit_in_bytes`))
    return "this host has no memory controller of the first version; the sandbox's own tests know both";
  try {
    accessSync(GROUPS, constants.W_OK);
    return undefined;
  } catch {
    return "the memory controller may not be written here";
  }
}

test("code that runs out of memory is `oom`, its neighbours and the workspace go on", async (t) => {
  const reason = whyNot();
  if (reason) return t.skip(reason);
  const group = `${GROUPS}/workspace-test-${process.pid}`;
  const prepare = `mkdir ${group} && echo ${LIMIT_BYTES} > ${group}/memory.limit_in_bytes && echo $$ > ${group}/cgroup.procs`;
  const memoryEvents = `${group}/memory.oom_control`;
  try {
    await using box = await startWorkspace({ prepare, memoryEvents });
    const run = async (code: string, contextId: string) => (await box.send("POST", "/contexts/execute", { code, contextId })).json;
    await run("kept = 1", "neighbour");
    const hog = await run("data = b'x' * (1 << 30)", "hog");
    const end = hog.results.at(-1);
    assert.deepEqual([end.status, end.stateKept, hog.exitCode], ["oom", false, 137]);
    assert.match(hog.results.at(-2).value, /memory ran out/);
    const command = await box.send("POST", "/processes/cmd", { command: "python3 -c \"data = b'x' * (1 << 30)\"; exit $?" });
    assert.deepEqual([command.json.status, command.json.result.exitCode], ["oom", 137]);
    assert.equal((await run("kept", "neighbour")).results[0].text, "1");
    assert.equal((await run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "hog")).results.at(-1).status, "killed");
  } finally {
    await removeGroup(group);
  }
});

/** The group can go once the last of its processes has been reaped. */
async function removeGroup(group: string): Promise<void> {
  for (let look = 0; existsSync(group) && readFileSync(`${group}/cgroup.procs`, "utf8") !== ""; look += 1) {
    if (look > 1000) throw new Error(`${group} still holds processes`);
    await delay(5);
  }
  if (existsSync(group)) rmdirSync(group);
}
