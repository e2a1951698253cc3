import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { createServer, type Server } from "node:tls";
import { promisify } from "node:util";

const run = promisify(execFile);
const openssl = (...args: string[]) => run("openssl", args);
const DAYS = "825";

/** A certificate for loopback names, signed by an authority of this data folder's own. */
export interface Certificate {
  caFile: string;
  key: Buffer;
  cert: Buffer;
}

/** Makes the authority and the certificate on the first start; later starts read them. */
export async function openCertificate(dataDir: string): Promise<Certificate> {
  const dir = join(dataDir, "tls");
  if (!existsSync(dir)) await makeCertificate(dir);
  const caFile = join(dir, "ca.pem");
  return { caFile, key: await readFile(join(dir, "key.pem")), cert: await readFile(join(dir, "cert.pem")) };
}

async function makeCertificate(dir: string): Promise<void> {
  const partial = `${dir}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { mode: 0o700 });
  const at = (name: string) => join(partial, name);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await writeFile(at("extensions"), "subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n");
  await openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    at("ca-key.pem"),
    "-out",
    at("ca.pem"),
    "-days",
    DAYS,
    "-subj",
    "/CN=Cleanroom local authority",
  );
  await openssl("req", ...newKey, "-keyout", at("key.pem"), "-out", at("request.pem"), "-subj", "/CN=localhost");
  const signing = ["-CA", at("ca.pem"), "-CAkey", at("ca-key.pem"), "-CAcreateserial", "-extfile", at("extensions")];
  await openssl("x509", "-req", "-in", at("request.pem"), "-out", at("cert.pem"), "-days", DAYS, ...signing);
  // The authority signs this one certificate; without its key nobody can make it sign another.
  for (const name of ["ca-key.pem", "request.pem", "extensions"]) await rm(at(name));
  await rename(partial, dir);
}

/**
 * The door's TLS twin: ends TLS and passes the bytes to the door on the same machine, so that HTTP and WebSockets
 * alike work unchanged. AgentRun's control clients speak only TLS.
 */
export async function openTwin(certificate: Certificate, port: number, doorPort: number): Promise<Server> {
  const server = createServer({ key: certificate.key, cert: certificate.cert }, (secure) => {
    const plain = connect(doorPort, "127.0.0.1");
    secure.pipe(plain).pipe(secure);
    secure.on("error", () => plain.destroy());
    plain.on("error", () => secure.destroy());
    secure.on("close", () => plain.destroy());
    plain.on("close", () => secure.destroy());
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return server;
}
