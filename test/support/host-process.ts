import { spawn } from "node:child_process";

/** A process of the host with a command line that no sandbox has; it ends with the block or after a minute. */
export function hostProcess(environment: Record<string, string> = {}) {
  const marker = `60.${Math.trunc(Math.random() * 1e9)}1`;
  const child = spawn("/bin/sleep", [marker], { env: environment, stdio: "ignore" });
  return {
    marker,
    pid: child.pid ?? 0,
    alive: () => child.exitCode === null && child.signalCode === null,
    [Symbol.dispose]: () => void child.kill("SIGKILL"),
  };
}
