import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, test } from "node:test";
import { type Cgroups, findHierarchies, openCgroups } from "#infra/local/sealed/cgroups.ts";
import { cannotSeal } from "#support/sealed-host.ts";
import { until } from "#support/until.ts";

const LIMITS = { cpu: 1, memoryMiB: 64, processes: 10 };
const found = findHierarchies();
const kinds = { unified: found, old: { v1: found.v1, unified: undefined } };

/** A program that does nothing but run, in a group of its own. */
async function running(cgroups: Cgroups) {
  const group = cgroups.create("stands", LIMITS);
  const child = spawn("/bin/sh", ["-c", "while :; do :; done"], { stdio: "ignore" });
  await once(child, "spawn");
  for (const entrance of group.entrances) writeFileSync(entrance, String(child.pid));
  const ended = once(child, "exit");
  return {
    group,
    child,
    ended,
    ticks: () => Number(readFileSync(`/proc/${child.pid}/stat`, "utf8").split(" ")[13]),
    async [Symbol.asyncDispose]() {
      group.kill();
      await ended;
      await group.remove();
    },
  };
}

for (const [kind, hierarchies] of Object.entries(kinds)) {
  const missing =
    kind === "old" ? !found.v1.has("freezer") && "no old freezer here" : found.unified === undefined && "no unified hierarchy here";
  describe(`groups with the ${kind} freezer`, { skip: cannotSeal() ?? missing }, () => {
    test("freezing stops what runs, thawing lets it go on", async () => {
      const cgroups = openCgroups(`cleanroom-freezer-${process.pid}`, hierarchies);
      await using program = await running(cgroups);
      await until("it runs", () => program.ticks() > 0);
      await program.group.freeze();
      const before = program.ticks();
      program.group.reclaim();
      await program.group.reclaimed();
      assert.equal(program.ticks(), before);
      program.group.thaw();
      await until("it runs again", () => program.ticks() > before);
      await program[Symbol.asyncDispose]();
      await cgroups.close();
    });

    test("a member that nobody else ends does not keep its group", async () => {
      const cgroups = openCgroups(`cleanroom-freezer-${process.pid}`, hierarchies);
      await using program = await running(cgroups);
      await program.group.remove();
      assert.deepEqual(await program.ended, [null, "SIGKILL"]);
      assert.deepEqual(cgroups.list(), []);
      await cgroups.close();
    });

    test("what is killed in a frozen group dies, and the group can go", async () => {
      const cgroups = openCgroups(`cleanroom-freezer-${process.pid}`, hierarchies);
      await using program = await running(cgroups);
      await program.group.freeze();
      program.group.kill();
      assert.deepEqual(await program.ended, [null, "SIGKILL"]);
      await program.group.remove();
      assert.deepEqual(cgroups.list(), []);
      await cgroups.close();
    });
  });
}
