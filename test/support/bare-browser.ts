import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/**
 * The root's own display and browser with a file system and nothing else of a sandbox's: no filter, no limits, the
 * host's network. Answers where its DevTools listen; it ends with the block.
 */
export async function openBareBrowser(root: string): Promise<{ url: string } & AsyncDisposable> {
  const view = [
    "--ro-bind",
    root,
    "/",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--tmpfs",
    "/tmp",
    "--tmpfs",
    "/home/user",
    "--tmpfs",
    "/dev/shm",
  ];
  const script = `Xtigervnc :47 -SecurityTypes None -nolisten tcp -rfbport -1 -geometry 1280x800 -depth 24 -displayfd 3 3>/tmp/ready &
until [ -s /tmp/ready ]; do sleep 0.02; done
DISPLAY=:47 exec /usr/lib/chromium/chromium --user-data-dir=/home/user/profile --remote-debugging-port=0 --ozone-platform=x11 \
--no-first-run --no-default-browser-check --disable-background-networking --disable-component-update --disable-gpu \
--window-size=1280,800 about:blank`;
  // Its files may lie where only their owner can go: whoever may read them shows them to the user that it becomes inside.
  const become = [...view, "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--die-with-parent"];
  const child = spawn("bwrap", [...become, "--setenv", "HOME", "/home/user", "/bin/sh", "-c", script], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: "/usr/bin:/bin" },
  });
  const ended = once(child, "exit");
  const url = await addressIn(child.stderr);
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

async function addressIn(output: Readable): Promise<string> {
  const said: string[] = [];
  for await (const line of createInterface({ input: output })) {
    const address = /DevTools listening on ws:\/\/([\d.:]+)\//.exec(line)?.[1];
    said.push(line);
    if (address === undefined) continue;
    output.resume();
    return `http://${address}`;
  }
  throw new Error(`The bare browser did not start: ${said.slice(-5).join("\n")}`);
}
