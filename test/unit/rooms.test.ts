import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { test } from "node:test";

/** What each room may import besides itself, Node and the libraries named. The files that compose may import anything. */
const ROOMS: Record<string, { rooms: string[]; libraries: string[] }> = {
  "functions/contract": { rooms: [], libraries: ["zod"] },
  "functions/core": { rooms: ["#contract/"], libraries: ["zod", "stemmer"] },
  "functions/gateway": { rooms: ["#contract/", "#core/"], libraries: ["hono", "@hono/node-server", "@modelcontextprotocol/server", "zod"] },
  "functions/console": { rooms: ["#contract/"], libraries: ["@xterm/xterm", "@xterm/addon-fit", "@novnc/novnc"] },
  "functions/worker": { rooms: ["#contract/", "#core/"], libraries: ["zod"] },
  "infra/local": { rooms: ["#contract/", "#core/ports.ts", "#infra/local/"], libraries: ["zod", "fflate", "yaml"] },
  "infra/aliyun": {
    rooms: ["#contract/", "#core/ports.ts", "#infra/aliyun/"],
    libraries: ["zod", "@alicloud/fc20230330", "@alicloud/openapi-core", "@alicloud/openapi-client", "@aws-sdk/client-s3"],
  },
  client: { rooms: ["#contract/", "#infra/config.ts"], libraries: ["zod", "tar-stream"] },
  cli: {
    rooms: ["#contract/", "#client/", "#infra/config.ts", "#infra/doctor.ts", "#infra/images.ts"],
    libraries: ["zod", "@modelcontextprotocol/client", "@modelcontextprotocol/server"],
  },
};

/** They put rooms together, so they see several. */
const COMPOSERS = new Set([
  "functions/gateway/main.ts",
  "functions/worker/main.ts",
  "infra/local/main.ts",
  "infra/local/component/deploy.ts",
  "cli/main.ts",
]);

const IMPORT = /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|(?:^|[^\w.])import\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s+"([^"]+)"/g;

function importsOf(file: string): string[] {
  return [...readFileSync(file, "utf8").matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

function allowed(room: { rooms: string[]; libraries: string[] }, own: string, specifier: string): boolean {
  if (specifier.startsWith("./") || isBuiltin(specifier) || specifier.startsWith(own)) return true;
  if (specifier.startsWith("#")) return room.rooms.some((prefix) => specifier.startsWith(prefix));
  return room.libraries.some((library) => specifier === library || specifier.startsWith(`${library}/`));
}

for (const [folder, room] of Object.entries(ROOMS)) {
  test(`${folder} imports only what its room may`, () => {
    const files = globSync(`${folder}/**/*.ts`).filter((file) => !COMPOSERS.has(file));
    assert.ok(files.length > 0, `${folder} has no files`);
    const own = `#${folder.split("/").at(-1)}/`;
    const crossings = files.flatMap((file) =>
      importsOf(file)
        .filter((specifier) => !allowed(room, own, specifier))
        .map((specifier) => `${file} imports ${specifier}`),
    );
    assert.deepEqual(crossings, []);
  });
}

test("only infra/config.ts reads the environment of the product", () => {
  const readers = globSync("{functions,infra,client,cli}/**/*.ts").filter((file) => /process\.env\b/.test(readFileSync(file, "utf8")));
  assert.deepEqual(readers, ["infra/config.ts"]);
});

test("no file of the product passes 300 lines", () => {
  const long = globSync("{functions,infra,client,cli,demo}/**/*.{ts,py,mjs}").filter(
    (file) => readFileSync(file, "utf8").split("\n").length > 301,
  );
  assert.deepEqual(long, []);
});
