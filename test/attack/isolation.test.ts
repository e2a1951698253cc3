import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ISOLATION_HEADER, type Isolation } from "#contract/sandbox.ts";
import { projectDir } from "#infra/config.ts";
import { currentRoot } from "#infra/image/root.ts";
import { createSealedMaker } from "#infra/local/sealed/sealed.ts";
import { alteredWorkspace, startInstance } from "#support/altered.ts";
import { NOTHING_PREPARED, newTenant, startDoor } from "#support/door.ts";
import { proves } from "#support/range.ts";
import { tempDir } from "#support/temp.ts";

/** What a faulty lock would leave out, and the layers by which each is found. */
const FAULTS: Record<string, { lacking: string; breaks: [string, string][] }> = {
  "keeps its capabilities": { lacking: "no capabilities", breaks: [["    check(LIBC.capset(", "    held or check(LIBC.capset("]] },
  "may gain capabilities": {
    lacking: "no capabilities to gain",
    breaks: [["        if LIBC.prctl(PR_CAPBSET_DROP", "        if True or LIBC.prctl(PR_CAPBSET_DROP"]],
  },
  "has no filter": {
    lacking: "system call filter",
    breaks: [["    control(PR_SET_SECCOMP", "    return\n    control(PR_SET_SECCOMP"]],
  },
  "stays in the host's network": { lacking: "network namespace", breaks: [["NEWIPC | NEWUSER | NEWNET", "NEWIPC | NEWUSER"]] },
  "keeps its group": { lacking: "uids of its own", breaks: [["    os.setresgid(ROOT, USER, ROOT)\n", ""]] },
};

proves("I1", "every instance is looked at from outside: one that lacks a layer serves nobody", async () => {
  await using dir = await tempDir();
  const root = currentRoot({ dataDir: dir.path, projectDir: projectDir() });
  await using maker = await createSealedMaker({ dataDir: join(dir.path, "data"), root });
  const whole = await alteredWorkspace(join(dir.path, "whole"), {});
  await using good = await startInstance(maker, "good", whole);
  assert.equal(await good.run("print(6 * 7)"), "42\n");
  for (const [at, [what, { lacking, breaks }]] of Object.entries(FAULTS).entries()) {
    const faulty = await alteredWorkspace(join(dir.path, `faulty-${at}`), { "lock.py": breaks });
    await assert.rejects(startInstance(maker, `faulty-${at}`, faulty), new RegExp(`not sealed; missing:.*${lacking}`), what);
    assert.ok(!existsSync(join(dir.path, "data/run", `faulty-${at}`)), "nothing is left of it");
  }
});

/** The same machine without its control groups, in mounts of its own: nothing limits or counts what runs. */
const WEAK_HOST = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", `umount -R /sys/fs/cgroup && exec "$@"`, "sh"];
const WEAKLY = { ...NOTHING_PREPARED, CLEANROOM_ALLOW_WEAK_ISOLATION: "1" };

proves(
  "I2",
  "a host below the floor is refused, unless its operator insists; then every answer says weak",
  async ({ door, tenant, sandboxId }) => {
    const said = await fetch(`${door.origin}/health`);
    assert.equal(said.headers.get(ISOLATION_HEADER), "sealed");
    const { isolation } = await tenant.json<{ isolation: Isolation }>("GET", `/api/sandboxes/${sandboxId}`);
    assert.deepEqual([isolation.strength, isolation.layers.filter(({ on, why }) => !on && !why)], ["sealed", []]);
    await assert.rejects(startDoor(NOTHING_PREPARED, undefined, WEAK_HOST), /cannot seal a sandbox; missing:\n.*process limit/s);
    await using weak = await startDoor(WEAKLY, undefined, WEAK_HOST);
    const there = await newTenant(weak);
    const made = await there.json<{ id: string; isolation: Isolation }>("POST", "/api/sandboxes", {}, 201);
    const missing = made.isolation.layers.filter(({ on, why = "" }) => !on && why.length > 0).map(({ name }) => name);
    assert.equal(made.isolation.strength, "weak");
    for (const layer of ["memory limit", "process limit", "cpu limit"])
      assert.ok(missing.includes(layer), `${layer}: ${missing.join(", ")}`);
    const inside = `/sandboxes/${made.id}`;
    const answers: Record<string, Promise<Response>> = {
      "of the door": fetch(`${weak.origin}/health`),
      "a refusal": fetch(`${weak.origin}/api/sandboxes`),
      "no route": there.send("GET", "/nowhere"),
      "a list": there.send("GET", "/api/sandboxes"),
      "from inside": there.send("POST", `${inside}/processes/cmd`, { command: "true" }),
      "a stream": there.send("POST", `${inside}/processes/cmd`, { command: "true" }, { accept: "text/event-stream" }),
      "a file": there.send("GET", `${inside}/files/content?path=.bashrc`),
      "a refusal inside": there.send("GET", `${inside}/files?path=none`),
      "another's sandbox": there.send("GET", `/sandboxes/${sandboxId}/contexts`),
      "AgentRun's": there.send("GET", `/2025-09-10/sandboxes/${made.id}`),
    };
    for (const [what, answer] of Object.entries(answers)) {
      const { headers, status } = await answer;
      assert.equal(headers.get(ISOLATION_HEADER), "weak", `${what}, ${status}`);
      await (await answer).body?.cancel();
    }
    const agentrun = await there.json<{ data: { metadata: { fcSessionDetails: { isolation: string } } } }>(
      "GET",
      `/2025-09-10/sandboxes/${made.id}`,
    );
    assert.equal(agentrun.data.metadata.fcSessionDetails.isolation, "weak");
    const ended = await there.json<{ isolation: Isolation }>("DELETE", `/api/sandboxes/${made.id}`);
    assert.equal(ended.isolation.strength, "weak");
  },
);
