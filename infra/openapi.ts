import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openApiDocument } from "#contract/openapi.ts";
import { projectDir } from "./config.ts";

const path = join(projectDir(), "docs/openapi.json");
await writeFile(path, `${JSON.stringify(openApiDocument(), undefined, 2)}\n`);
console.log(`wrote ${path}`);
