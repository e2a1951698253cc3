import { createServer, type AddressInfo } from "node:net";

/** The ports that the server opens, each under the setting that moves it. */
export function portsOf(config: { port: number; tlsPort: number; enginePort: number }): Record<string, number> {
  return { CLEANROOM_PORT: config.port, CLEANROOM_TLS_PORT: config.tlsPort, CLEANROOM_ENGINE_PORT: config.enginePort };
}

/** Refuses to start on ports that are taken, before anything is made, and says which setting moves each. */
export async function refuseTakenPorts(ports: Readonly<Record<string, number>>): Promise<void> {
  for (const [variable, port] of Object.entries(ports)) {
    if (!(await isFree(port))) throw new Error(`port ${port} is taken by another program: end it, or set ${variable} to a free port`);
  }
}

/** Whether a port of loopback can be listened on now. */
export function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}

/** A port that nobody has now; whoever gets it listens on it at once. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
