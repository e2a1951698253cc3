import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, globSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, test } from "node:test";
import type { Maker } from "#infra/local/sealed/maker.ts";
import { createSealedMaker } from "#infra/local/sealed/sealed.ts";
import { loopDevices } from "#infra/local/sealed/sweep.ts";
import { ask, cannotSeal, pythonServer, sandboxRoot, SHELL, smallSpec } from "#support/sealed-host.ts";
import { familyOf } from "#support/processes.ts";
import { tempDir } from "#support/temp.ts";
import { until } from "#support/until.ts";

const skip = cannotSeal() ?? false;

/** Everything on the host that names this data folder or a group of it. */
function leftovers(dataDir: string) {
  const hash = createHash("sha256").update(dataDir).digest("hex").slice(0, 10);
  return {
    groups: globSync(`/sys/fs/cgroup/**/cleanroom-${hash}/*/`).length,
    disks: loopDevices([join(dataDir, "run")]).length,
    files: readdirSync(join(dataDir, "run")).length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(dataDir)).length,
  };
}
/** An instance's part of the processors, beside others that want them too. */
function weightOf(id: string): number {
  const [path = ""] = globSync(`/sys/fs/cgroup/**/cleanroom-*/${id}/cpu.{weight,shares}`);
  return Number(readFileSync(path, "utf8"));
}

/** The processes that make instances for this one. */
function helpers() {
  return familyOf(process.pid).filter(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("maker/main.py"));
}

const NOTHING = { groups: 0, disks: 0, files: 0, mounts: 0 };

describe("the sealed maker", { skip }, () => {
  let dir: Awaited<ReturnType<typeof tempDir>>;
  let maker: Maker;
  let root: ReturnType<typeof sandboxRoot>;
  before(async () => {
    dir = await tempDir();
    root = sandboxRoot(dir.path);
    maker = await createSealedMaker({ dataDir: dir.path, root });
  });
  after(async () => {
    await maker[Symbol.asyncDispose]();
    await dir[Symbol.asyncDispose]();
  });

  /** An instance for one test; nothing may be left of it afterwards. */
  async function box(id: string, command: readonly string[] = SHELL, changes: Partial<ReturnType<typeof smallSpec>> = {}) {
    const instance = await maker.make({ ...smallSpec(root, id, command), ...changes });
    return {
      instance,
      run: (script: string) => ask(instance.socketPath, script),
      async [Symbol.asyncDispose]() {
        await instance.destroy();
        await until(`nothing of ${id} is left`, () => !existsSync(join(dir.path, "run", id)));
      },
    };
  }

  test("every layer of the floor holds on a host that can give it", () => {
    assert.deepEqual(
      maker.isolation.layers.filter(({ on }) => !on),
      [],
    );
    assert.equal(maker.isolation.strength, "sealed");
  });

  test("an instance answers on the socket it inherited", async () => {
    await using made = await box("answers");
    assert.equal(await made.run("echo hello; id -u; hostname"), "hello\n0\nsandbox\n");
  });

  test("one that nobody waits for yet weighs a twentieth, and all of it as soon as somebody does", async () => {
    await using full = await box("full");
    const { promise: wanted, resolve: want } = Promise.withResolvers<void>();
    await using waits = await box("waits", SHELL, { wanted });
    assert.equal(await waits.run("echo it runs"), "it runs\n");
    const whole = weightOf(full.instance.id);
    assert.equal(weightOf("waits"), Math.round(whole / 20));
    want();
    await until("it has its whole weight", () => weightOf("waits") === whole);
  });

  test("destroying twice is one destruction, and leaves nothing", async () => {
    const made = await box("twice");
    await made.run("nohup setsid sleep 600 >/dev/null 2>&1 & dd if=/dev/zero of=/tmp/a bs=1M count=20 2>/dev/null");
    await Promise.all([made.instance.destroy(), made.instance.destroy()]);
    await made.instance.destroy();
    assert.equal((await made.instance.ended).reason, "destroyed");
    await until("its disk is free", () => leftovers(dir.path).disks === 0);
    assert.deepEqual(leftovers(dir.path), NOTHING);
    await assert.rejects(made.run("true"));
  });

  test("two of one name are refused, and a name that is a path too", async () => {
    await using made = await box("only");
    await assert.rejects(maker.make(smallSpec(root, "only", SHELL)), /exists already/);
    for (const id of ["../out", "a/b", "", ".hidden"]) await assert.rejects(maker.make(smallSpec(root, id, SHELL)), RangeError);
    assert.equal(await made.run("echo here"), "here\n");
  });

  test("a program that ends by itself says how, and is cleaned away", async () => {
    const made = await box("exits", ["/bin/sh", "-c", "exit 3"]);
    assert.deepEqual(await made.instance.ended, { reason: "exited", exitCode: 3 });
    await until("it is cleaned away", () => leftovers(dir.path).files === 0 && leftovers(dir.path).groups === 0);
  });

  test("a root that is not there is an error that says so", async () => {
    await assert.rejects(maker.make({ ...smallSpec(root, "rootless", SHELL), root: "/no/such/root" }), /no\/such\/root/);
    assert.deepEqual(leftovers(dir.path), NOTHING);
  });

  test("an aborted making leaves nothing", async () => {
    const stop = new AbortController();
    const making = maker.make(smallSpec(root, "aborted", SHELL), stop.signal);
    stop.abort(new Error("changed my mind"));
    await assert.rejects(making, /changed my mind/);
    await until("nothing is left", () => leftovers(dir.path).disks === 0);
    assert.deepEqual(leftovers(dir.path), NOTHING);
  });

  test("the server's memory at its end is said to be the reason", async () => {
    const hog = pythonServer('bytearray(1 << 30) and "unreachable"');
    const made = await box("hog", hog);
    await assert.rejects(made.run("grow"));
    assert.equal((await made.instance.ended).reason, "oom");
    assert.ok((await made.instance.usage()).oomKills > 0);
  });

  test("code that is killed for memory leaves its server alive", async () => {
    await using made = await box("greedy");
    const greedy = `echo 500 > /proc/self/oom_score_adj; python3 -c 'x = bytearray(1 << 30)'; echo ended $?`;
    assert.match(await made.run(greedy), /ended 137/);
    assert.equal(await made.run("echo alive"), "alive\n");
    assert.ok((await made.instance.usage()).oomKills > 0);
  });

  test("a fork bomb stops at the limit and ends with its instance", async () => {
    await using made = await box("bomb", SHELL, { processes: 40 });
    const bomb = "import os\ntry:\n  while os.fork(): pass\n  import time; time.sleep(600)\nexcept OSError as error: print(error)";
    assert.match(await made.run(`timeout 5 python3 -c '${bomb}' </dev/null 2>&1 | head -1`), /temporarily unavailable/);
    const count = Number(await made.run("ls -d /proc/[0-9]* | wc -l"));
    assert.ok(count > 5 && count <= 40, `${count} processes`);
    assert.ok((await made.instance.usage()).processes <= 40);
  });

  test("a full disk is full for its own instance alone", async () => {
    await using filler = await box("filler");
    await using neighbour = await box("neighbour");
    assert.match(await filler.run("dd if=/dev/zero of=/home/user/fill bs=1M count=500 2>&1"), /No space left/);
    assert.equal(await neighbour.run("dd if=/dev/zero of=/home/user/fill bs=1M count=50 2>/dev/null && echo written"), "written\n");
    const { diskBytes } = await filler.instance.usage();
    assert.ok(diskBytes > 80e6 && diskBytes <= 128 * 1024 * 1024, `${diskBytes} bytes`);
  });

  test("usage is measured from outside", async () => {
    await using made = await box("busy");
    // So much of its own time, however long that takes on a busy host.
    await made.run("python3 -c 'import time\nwhile time.process_time() < 0.25: pass'");
    const usage = await made.instance.usage();
    assert.ok(usage.cpuMs > 200, `${usage.cpuMs} ms`);
    assert.ok(usage.memoryPeakBytes >= usage.memoryBytes && usage.memoryBytes > 1e6);
    assert.ok(usage.processes >= 2);
  });

  test("a cpu limit is held", async () => {
    await using made = await box("half", SHELL, { cpu: 0.25 });
    const idle = (await made.instance.usage()).cpuMs;
    await made.run("timeout 1 python3 -c 'while True: pass'");
    const { cpuMs } = await made.instance.usage();
    assert.ok(cpuMs - idle < 500, `${cpuMs - idle} ms of cpu in a second`);
  });

  test("what is added is read-only and names no folder of the host", async () => {
    const binds = { ...root.binds, [import.meta.dirname]: "/opt/tests", [fileURLToPath(import.meta.url)]: "/opt/one.ts" };
    await using made = await box("added", SHELL, { binds });
    assert.match(await made.run("head -1 /opt/one.ts /opt/tests/maker.test.ts"), /import assert[^]*import assert/);
    assert.match(await made.run("touch /opt/tests/x 2>&1; echo x >> /opt/one.ts"), /Read-only[^]*Permission denied/);
    assert.doesNotMatch(await made.run("cat /proc/self/mountinfo"), new RegExp(import.meta.dirname));
    assert.doesNotMatch(await made.run("cat /proc/self/mountinfo"), new RegExp(dir.path));
  });

  test("the root is the instance's own to change, and everybody's to read", async () => {
    await using one = await box("one");
    await using other = await box("other");
    const asUser = "setpriv --reuid 1000 --regid 1000 --clear-groups";
    assert.equal(await one.run(`${asUser} touch /a /tmp/a /home/user/a && echo can`), "can\n");
    assert.match(await one.run(`${asUser} rm -rf /usr 2>&1; ${asUser} mv /usr /us 2>&1; ls -d /usr /us 2>&1`), /^\/usr$/m);
    assert.match(await other.run("ls /a /tmp/a /home/user/a 2>&1; true"), /No such file[^]*No such file[^]*No such file/);
  });

  test("nothing of the host is to be seen inside", async () => {
    await using made = await box("view");
    assert.equal(await made.run("tr '\\0' '\\n' </proc/1/environ | wc -c"), "0\n");
    assert.doesNotMatch(await made.run("tr '\\0' ' ' </proc/1/cmdline"), /mnt|setenv|cleanroom/);
    assert.equal(await made.run("cat /proc/self/cgroup | cut -d: -f3 | sort -u"), "/\n");
    assert.equal(await made.run("ls /sys /run /mnt | grep -v : | tr -d '\\n'"), "");
    assert.equal((await made.run("ls -d /proc/[0-9]* | wc -l").then(Number)) < 12, true);
    assert.equal(await made.run("cat /proc/kallsyms /proc/keys /proc/cmdline 2>/dev/null | wc -c"), "0\n");
    assert.match(await made.run("echo x 2>&1 >/proc/sys/kernel/core_pattern; cat /proc/net/dev | wc -l"), /[Rr]ead-only[^]*3\n$/);
    assert.equal(await made.run("ls /proc/self/fd | wc -l; ls -l /proc/1/fd | grep -c socket"), "4\n0\n");
    assert.doesNotMatch(await made.run("ls /dev"), /kvm|mem|fuse|loop|vd|sd/);
  });

  test("a paused instance stands still where it was, answers what it has used, and goes on when it is resumed", async () => {
    await using made = await box("stands");
    await made.run(
      "nohup setsid sh -c 'while :; do echo; sleep 0.01; done' >/tmp/count 2>/dev/null & dd if=/dev/zero of=/tmp/a bs=1M count=20 2>/dev/null",
    );
    const { instance } = made;
    const cpuMs = async () => (await instance.usage()).cpuMs;
    const { memoryBytes } = await instance.usage();
    await instance.pause();
    await instance.pause();
    const [asked, usedMs] = [made.run("wc -l </tmp/count"), await cpuMs()];
    await until("its memory went back", async () => (await instance.usage()).memoryBytes < memoryBytes - 15e6);
    assert.equal(await cpuMs(), usedMs, "it has run");
    await instance.resume();
    await instance.resume();
    const count = Number(await asked);
    await until("it goes on", async () => Number(await made.run("wc -l </tmp/count")) > count + 3);
  });

  test("a paused instance is destroyed as it stands, and leaves nothing", async () => {
    const made = await box("standing");
    await made.run("nohup setsid sleep 600 >/dev/null 2>&1 & true");
    await made.instance.pause();
    await made.instance.destroy();
    assert.equal((await made.instance.ended).reason, "destroyed");
    await until("its disk is free", () => leftovers(dir.path).disks === 0);
    assert.deepEqual(leftovers(dir.path), NOTHING);
    await assert.rejects(made.instance.pause(), "there is nothing to pause");
  });

  test("the helper's death by SIGKILL fails what it was making, whatever waits for its turn too, and the next one makes again", async () => {
    const others = new Set(helpers().map(({ pid }) => pid));
    await using place = await tempDir();
    await using own = await createSealedMaker({ dataDir: place.path, root });
    const helper = helpers().find(({ pid }) => !others.has(pid));
    assert.ok(helper);
    const makings = Array.from({ length: 12 }, (_value, at) => own.make(smallSpec(root, `made-${at}`, SHELL)));
    const first = await Promise.race(makings);
    process.kill(helper.pid, "SIGKILL");
    const made = (await Promise.allSettled(makings)).filter((making) => making.status === "fulfilled");
    assert.ok(made.length < makings.length, "some were still to be made");
    for (const { value } of made) assert.equal((await value.ended).reason, "killed");
    assert.ok(made.some(({ value }) => value === first));
    const next = await own.make(smallSpec(root, "next", SHELL));
    assert.equal(await ask(next.socketPath, "echo here"), "here\n");
    await next.destroy();
    await until("nothing is left", () => JSON.stringify(leftovers(place.path)) === JSON.stringify(NOTHING));
  });

  for (const state of ["running", "paused"]) {
    test(`the engine's death by SIGKILL ends its ${state} instances, and the next one finds and removes what is left`, async () => {
      await using place = await tempDir();
      const program = fileURLToPath(import.meta.resolve("#support/maker-child.ts"));
      const child = spawn(process.execPath, [program, place.path, "10", state], { stdio: ["ignore", "pipe", "inherit"] });
      await once(child.stdout, "data");
      assert.equal(leftovers(place.path).files, 10);
      child.kill("SIGKILL");
      await once(child, "exit");
      await using next = await createSealedMaker({ dataDir: place.path, root });
      const found = await next.sweep();
      assert.deepEqual(
        found.toSorted(),
        Array.from({ length: 10 }, (_, index) => `left-${index}`),
      );
      assert.deepEqual(leftovers(place.path), NOTHING);
      assert.deepEqual(await next.sweep(), []);
    });
  }
});
