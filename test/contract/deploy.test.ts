import assert from "node:assert/strict";
import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { projectDir } from "#infra/config.ts";
import { runServerlessDevs } from "#infra/deploy.ts";
import { renderManifest } from "#infra/manifest.ts";
import { HEADER, KEY, openEngine } from "#support/engine.ts";
import { refused } from "#support/fc-answers.ts";
import { tempDir } from "#support/temp.ts";

const SECRETS = { CLEANROOM_SIGNING_KEY: "signing", CLEANROOM_ROOT_KEY: '{"apiKey":"cr_1"}', CLEANROOM_PROOF_KEY: "proof" };
const PATH = "/usr/bin:/bin";

test("our rendering of s.yaml is what Serverless Devs renders", async () => {
  const env = { ...SECRETS, FC_REGION: "cn-beijing", CLEANROOM_PUBLIC_ORIGIN: "https://a.example", CLEANROOM_DATA: "" };
  const said = await runServerlessDevs({ projectDir: projectDir(), env: { PATH, ...env }, command: "preview" });
  const text = await readFile(join(projectDir(), "s.yaml"), "utf8");
  assert.deepEqual(renderManifest(text, env), JSON.parse(said.slice(said.indexOf("{"))));
});

test("s deploy brings up what s.yaml says, twice is once, and s remove takes it away", async () => {
  await using code = await tempDir();
  await using e = await openEngine();
  for (const name of ["gateway", "worker"]) {
    await mkdir(join(code.path, name));
    await cp(join(projectDir(), "test/support/fixture-function.mjs"), join(code.path, name, "main.mjs"));
  }
  const env = {
    PATH,
    ...SECRETS,
    FC_COMPONENT: "./infra/component",
    CLEANROOM_CODE: relativeTo(code.path),
    CLEANROOM_ENGINE_ENDPOINT: e.origin,
    ALIBABA_CLOUD_ACCESS_KEY_ID: KEY.accessKeyId,
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: KEY.accessKeySecret,
  };
  const said = await runServerlessDevs({ projectDir: projectDir(), env });
  assert.match(said, new RegExp(`${e.origin}/door/cleanroom-gateway`));
  await runServerlessDevs({ projectDir: projectDir(), env });
  const { functions = [] } = (await e.client.listFunctions()).body;
  assert.deepEqual(
    functions.map((it) => it.functionName),
    ["cleanroom-gateway", "cleanroom-worker", "cleanroom-workspace"],
  );
  assert.deepEqual(
    (await e.client.listTriggers("cleanroom-worker")).body.triggers?.map((it) => it.triggerName),
    ["jobs", "sweep"],
  );

  assert.equal((await fetch(`${e.origin}/door/cleanroom-gateway/health`)).status, 200);
  await e.client.createSession("cleanroom-workspace", { sessionId: "s" });
  assert.equal((await fetch(`${e.origin}/door/cleanroom-workspace/health`, { headers: { [HEADER]: "s" } })).status, 200);

  await runServerlessDevs({ projectDir: projectDir(), env, command: "remove" });
  await assert.rejects(e.client.getFunction("cleanroom-workspace"), refused("FunctionNotFound", 404));
  assert.deepEqual([(await e.client.listFunctions()).body.functions?.length, e.maker.live.size], [0, 0]);
});

test("s deploy that is refused says which field", async () => {
  await using e = await openEngine();
  const env = {
    PATH,
    ...SECRETS,
    FC_COMPONENT: "./infra/component",
    CLEANROOM_ENGINE_ENDPOINT: e.origin,
    ALIBABA_CLOUD_ACCESS_KEY_ID: "nobody",
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: "x",
  };
  await assert.rejects(runServerlessDevs({ projectDir: projectDir(), env }), /The access key nobody is not known/);
});

/** Serverless Devs joins code folders to the manifest's. */
function relativeTo(path: string): string {
  return `${"../".repeat(projectDir().split("/").length - 1)}${path.slice(1)}`;
}
