import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tarOf } from "#support/hostile-tar.ts";
import { proves, speak } from "#support/range.ts";

/** A file of the host that nobody in a sandbox may ever see. */
async function canaryFile() {
  const dir = await mkdtemp(join(tmpdir(), "cleanroom-canary-"));
  const path = join(dir, "secret");
  const text = `canary-${crypto.randomUUID()}`;
  await writeFile(path, text, { mode: 0o644 });
  return { dir, path, text, [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) };
}

const READS = [
  "/files?path=",
  "/files/content?path=",
  "/filesystem/download?path=",
  "/filesystem/stat?path=",
  "/filesystem?path=",
  "/filesystem/archive?path=",
];

proves("F1", "no way of writing a path reads a file of the host", async ({ door, tenant, sandboxId, send, outside, inside }) => {
  await using canary = await canaryFile();
  assert.equal((await outside(`cat ${canary.path}`)).stdout, canary.text);
  await inside(`mkdir -p ~/own && printf mine > ~/own/file`);
  assert.match(await (await send("GET", "/files/content?path=own/file")).text(), /mine/, "a path below home works");
  const up = "../".repeat(12);
  const forms = [
    canary.path,
    up + canary.path.slice(1),
    `/home/user/${up}${canary.path.slice(1)}`,
    `..\\..\\..${canary.path.replaceAll("/", "\\")}`,
    `${canary.path}\0.txt`,
    `/proc/self/root${canary.path}`,
    `file://${canary.path}`,
    `/home/user/own/file\0${canary.path}`,
    `~root/../..${canary.path}`,
  ];
  for (const form of forms) {
    const once = encodeURIComponent(form);
    for (const encoded of [
      once,
      once.replaceAll(".", "%2e"),
      encodeURIComponent(once),
      once.replaceAll("%2F", "/"),
      once.replaceAll("..", "%c0%ae%c0%ae"),
    ]) {
      for (const route of READS) {
        const said = await speak(door, [
          `GET /sandboxes/${sandboxId}${route}${encoded} HTTP/1.1`,
          "host: x",
          `authorization: Bearer ${tenant.key.apiKey}`,
          "connection: close",
        ]);
        assert.match(said, /^HTTP\/1\.1 (400|403|404|409) /, `${route}${encoded}`);
        assert.ok(!said.includes(canary.text));
      }
    }
  }
});

proves(
  "F2",
  "a link leads nowhere but within the sandbox, whichever way the API follows it",
  async ({ send, inside, outside, tenant, sandboxId }) => {
    await using canary = await canaryFile();
    await inside(
      `ln -s /etc/passwd passwd; ln -s ${canary.path} host; ln -s / root; ln -s /proc/1/root/etc/passwd init; ln -s /opt/cleanroom/workspace/seed.py code; ln -s /etc etc; ln -s loop loop`,
    );
    const passwd = await (await send("GET", "/files/content?path=passwd")).text();
    assert.match(passwd, /^user:x:1000:/m);
    assert.notEqual(passwd, (await outside("cat /etc/passwd")).stdout);
    for (const path of ["host", `root${canary.path}`, `root/proc/self/root${canary.path}`, "init", "loop"]) {
      for (const route of READS.filter((read) => !read.includes("/stat")))
        assert.ok([400, 403, 404, 409].includes((await send("GET", route + path)).status), route + path);
      const kept = await tenant.send("POST", `/api/sandboxes/${sandboxId}/artifacts`, { path });
      assert.ok([400, 403, 404, 409].includes(kept.status), `artifact ${path}: ${kept.status}`);
    }
    for (const path of ["code", "etc/passwd", "etc/new", "root/usr/bin/env", "init"]) {
      assert.equal((await send("PUT", `/files/content?path=${path}`, "written by a stranger")).status, 403, path);
      assert.equal((await send("POST", "/files", { path, content: "written by a stranger" })).status, 403, path);
    }
    assert.equal(
      (await send("POST", "/filesystem/move", { source: "/home/user/code", destination: "/opt/cleanroom/workspace/x" })).status,
      403,
    );
    assert.equal(
      (await send("POST", "/filesystem/move", { source: "/opt/cleanroom/workspace/seed.py", destination: "/home/user/x" })).status,
      403,
    );
    assert.equal((await send("POST", "/filesystem/remove", { path: "/home/user/etc/passwd" })).status, 403);
    assert.equal((await send("POST", "/filesystem/mkdir", { path: "/home/user/etc/x" })).status, 403);
    assert.equal(
      (await send("PUT", "/filesystem/archive?path=/home/user/etc", tarOf([{ name: "x", body: "written by a stranger" }]))).status,
      403,
    );
    assert.equal(
      (
        await inside(
          "ls /etc/new /opt/cleanroom/workspace/x 2>/dev/null; grep -l 'written by a stranger' /opt/cleanroom/workspace/* /etc/passwd",
        )
      ).stdout,
      "",
    );
    await inside("ln -s ~/real own; printf before > real");
    assert.equal((await send("PUT", "/files/content?path=own", "after")).status, 200, "a link to the user's own file is followed");
    assert.equal((await inside("cat real")).stdout, "after");
  },
);

proves("F4", "every root and folder that /proc leads to is the sandbox's own", async ({ inside, outside, door, send }) => {
  await using canary = await canaryFile();
  const probe = `for p in self thread-self 1 2 $$ $PPID; do for l in root cwd; do cat /proc/$p/$l${canary.path} /proc/$p/$l/../../../..${canary.path} /proc/$p/fd/3/../../..${canary.path}; ls /proc/$p/$l${door.dataDir}; done; done 2>/dev/null; ln ${canary.path} ~/hard 2>&1; true`;
  assert.match((await outside(probe.replace("~/hard", `${canary.dir}/hard`))).stdout, new RegExp(canary.text));
  const { stdout } = await inside(probe);
  assert.ok(!stdout.includes(canary.text));
  assert.match(stdout, /No such file/);
  for (const path of [
    `/proc/self/root${canary.path}`,
    `/proc/1/root${canary.path}`,
    `/proc/self/cwd${canary.path}`,
    "/proc/1/cwd",
    "/proc/1/environ",
  ]) {
    assert.ok([403, 404].includes((await send("GET", `/files?path=${path}`)).status), path);
  }
  const hard = await inside(
    "ln /opt/cleanroom/workspace/seed.py ~/hard; ln /etc/passwd ~/passwd; ls ~/hard ~/passwd 2>/dev/null; touch a && ln a b && echo linked",
  );
  assert.equal(hard.stdout, "linked\n", "only what is the user's own can get another name");
});

proves(
  "F8",
  "a pipe, socket, terminal or device in the place of a file is answered at once",
  async ({ inside, send, tenant, sandboxId }) => {
    await inside(
      `mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'; ln -s /dev/zero zero; ln -s /dev/tty tty; ln -s pipe link; printf x > file`,
    );
    assert.equal((await send("GET", "/files?path=file")).status, 200);
    for (const path of [
      "pipe",
      "sock",
      "zero",
      "tty",
      "link",
      "/dev/zero",
      "/dev/random",
      "/dev/full",
      "/dev/ptmx",
      "/dev/stdin",
      "/proc/kmsg",
      "/proc/1/mem",
    ]) {
      for (const route of ["/files", "/files/content", "/filesystem/download", "/filesystem/archive"]) {
        const answer = await within(2_000, send("GET", `${route}?path=${path}`));
        assert.ok([400, 403, 404, 409].includes(answer.status), `${route} ${path}: ${answer.status}`);
      }
      const kept = await within(2_000, tenant.send("POST", `/api/sandboxes/${sandboxId}/artifacts`, { path }));
      assert.ok([400, 403, 404, 409].includes(kept.status), `artifact ${path}: ${kept.status}`);
      const written = await within(2_000, send("PUT", `/files/content?path=${path}`, "x"));
      assert.ok([400, 403, 404, 409].includes(written.status), `write ${path}: ${written.status}`);
    }
  },
);

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`No answer in ${ms} ms`)), ms);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

proves(
  "F10",
  "settings and hooks that a sandbox leaves for the host's tools are run by nobody",
  async ({ inside, outside, send, tenant, sandboxId, door }) => {
    await using canary = await canaryFile();
    const plant = `mkdir -p project/.git/hooks project/.agent project/.vscode; cd project; for f in .git/hooks/post-checkout .git/hooks/pre-commit .envrc .bashrc; do printf '#!/bin/sh\\ntouch ${canary.dir}/run' > $f; chmod 755 $f; done
printf '{"hooks":{"start":"touch ${canary.dir}/run"}}' > .agent/settings.json; printf 'node-options=--require=./x.js' > .npmrc; printf '{"scripts":{"preinstall":"touch ${canary.dir}/run"}}' > package.json; printf '[core]\\nfsmonitor="touch ${canary.dir}/run"' > .git/config`;
    await inside(plant);
    assert.equal((await send("GET", "/filesystem/archive?path=project")).status, 200);
    const kept = await tenant.json<{ id: string }>(
      "POST",
      `/api/sandboxes/${sandboxId}/artifacts`,
      { path: "project/.git/hooks/pre-commit" },
      201,
    );
    const { url } = await tenant.json<{ url: string }>("POST", `/api/artifacts/${kept.id}/link`, {}, 201);
    const download = await fetch(url.replace(/^https?:\/\/[^/]+/, door.origin));
    assert.match(await download.text(), /touch/);
    assert.match(download.headers.get("content-disposition") ?? "", /^attachment/);
    assert.match(download.headers.get("content-security-policy") ?? "", /sandbox/);
    assert.equal((await outside(`ls ${canary.dir}/run`)).exitCode, 2, "it was not run");
    assert.equal((await outside(`find ${door.dataDir}/objects -type f -perm /111`)).stdout, "", "nothing kept can be run as a program");
    assert.equal(
      (await outside(`find ${door.dataDir} -name pre-commit -o -name .envrc -o -name settings.json`)).stdout,
      "",
      "no name of the sandbox's choice is on the host's disk",
    );
    assert.equal(
      (await outside(`cd ${canary.dir} && printf 'touch ${canary.dir}/run' > .envrc && sh .envrc && ls run`)).exitCode,
      0,
      "the hook does its work where it is run",
    );
  },
);

proves("F11", "no request can bring a folder of the host into a sandbox", async ({ tenant, door, inside }) => {
  for (const place of ["/", "/var/run/docker.sock", "/proc", door.dataDir]) {
    const wishes = [
      { mounts: [{ source: place, target: "/mnt" }] },
      { volumes: [`${place}:/mnt`] },
      { binds: { [place]: "/mnt" } },
      { root: place },
      { image: place },
    ];
    for (const wish of wishes) {
      assert.equal((await tenant.send("POST", "/api/sandboxes", wish)).status, 400, JSON.stringify(wish));
      assert.equal((await tenant.send("POST", "/api/templates", { name: "mounting", ...wish })).status, 400, JSON.stringify(wish));
    }
    const points = { mountPoints: [{ mountDir: "/mnt", serverAddr: place, enableTLS: false }] };
    for (const wish of [{ nasConfig: points }, { ossMountConfig: points }, { polarFsConfig: points }]) {
      const answer = await tenant.send("POST", "/sandboxes", { templateName: "code-interpreter", ...wish });
      assert.ok(answer.status >= 400, `${JSON.stringify(wish)}: ${answer.status}`);
    }
  }
  assert.equal((await tenant.send("POST", "/api/templates", { name: "plain" })).status, 201, "the same request without the wish is taken");
  assert.equal((await inside("ls -A /mnt")).stdout, "");
});
