import { existsSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { projectDir } from "#infra/config.ts";
import { currentRoot, type SandboxRoot } from "#infra/image/root.ts";
import type { InstanceSpec } from "#infra/local/sealed/maker.ts";

/** Why this host cannot make sealed instances at all; undefined where it can and where failing to would be a fault. */
export function cannotSeal(): string | undefined {
  if (process.getuid?.() !== 0) return "making instances needs root";
  if (!existsSync("/usr/bin/bwrap")) return "bubblewrap is not installed";
  return undefined;
}

/** The root that set-up built, else the host's own. */
export function sandboxRoot(dataDir: string): SandboxRoot {
  return currentRoot({ dataDir, projectDir: projectDir() });
}

/** A small instance of that root. */
export function smallSpec(root: SandboxRoot, id: string, command: readonly string[]): InstanceSpec {
  return {
    id,
    command,
    root: root.root,
    binds: root.binds,
    cpu: 1,
    memoryMiB: 256,
    diskMiB: 128,
    processes: 64,
    env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: "/home/user", LANG: "C.UTF-8" },
  };
}

/** A server for descriptor 3 in the instance's own Python; `expression` is what it answers each request with. */
export function pythonServer(expression: string, before = ""): string[] {
  const program = `
import os, socket, subprocess, sys
${before}
listener = socket.socket(fileno=3)
while True:
    client, _ = listener.accept()
    asked = client.recv(65536).decode().split("\\r\\n\\r\\n", 1)[1]
    answer = str(${expression}).encode()
    client.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(answer) + answer)
    client.close()
`;
  return ["/usr/bin/python3", "-I", "-S", "-c", program];
}

/** Runs what is asked in the instance's shell: the answer is its output. */
export const SHELL = pythonServer('subprocess.run(["/bin/bash", "-c", asked], stdout=-1, stderr=-2).stdout.decode("utf8", "replace")');

/** Posts to an instance's socket and answers the body. */
export function ask(socketPath: string, body: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sent = request({ socketPath, method: "POST", path: "/", headers: { "content-length": Buffer.byteLength(body) } }, (response) => {
    text(response).then(resolve, reject);
  });
  sent.once("error", reject);
  sent.end(body);
  return promise;
}
