import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Template } from "#contract/template.ts";
import type { Door, Tenant } from "./door.ts";
import { type ImageSpec, pythonLayer, writeLayout } from "./images.ts";

/** What the image's server tells of itself. */
export interface Itself {
  pid: number;
  uid: number[];
  gid: number[];
  groups: number[];
  cwd: string;
  argv: string[];
  environment: Record<string, string>;
  root: string[];
}

const SERVER = ["/usr/bin/python3", "-I", "-S", "/app/server.py"];
let layer: Promise<Buffer> | undefined;

/** Writes an image of the tests' server where the door's engine finds it, under a name of its own; answers the name. */
export async function addServerImage(door: Door, config: ImageSpec["config"] = {}): Promise<string> {
  layer ??= pythonLayer([
    { name: "app/" },
    { name: "app/server.py", content: readFileSync(`${import.meta.dirname}/image-server.py`) },
    { name: "srv/", uid: 1234, gid: 4321 },
  ]);
  const name = `test-${crypto.randomUUID()}`;
  await mkdir(join(door.dataDir, "images"), { recursive: true });
  await writeLayout(join(door.dataDir, "images", name), {
    layers: [await layer],
    config: { Entrypoint: SERVER, ...config },
    packing: "plain",
  });
  return name;
}

/** A template of an image; answers its name. */
export async function imageTemplate(
  tenant: Tenant,
  container: { image: string; command?: string[]; port?: number },
  more: object = {},
): Promise<string> {
  const name = `image-${crypto.randomUUID().slice(0, 8)}`;
  const spec = { name, type: "CustomImage", memoryMiB: 512, cpu: 0.5, container, ...more };
  return (await tenant.json<Template>("POST", "/api/templates", spec, 201)).name;
}
