import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { functionConfig, projectDir } from "#infra/config.ts";
import { readFunction, renderManifest } from "#infra/manifest.ts";

const SECRETS = { CLEANROOM_SIGNING_KEY: "signing", CLEANROOM_ROOT_KEY: '{"apiKey":"cr_1"}', CLEANROOM_PROOF_KEY: "proof" };
const manifest = () => readFile(join(projectDir(), "s.yaml"), "utf8");

async function propsOf(name: string): Promise<Record<string, unknown>> {
  return structuredClone(renderManifest(await manifest(), SECRETS).resources[name]?.props ?? {});
}

test("a secret that is not set is refused by its name", async () => {
  const text = await manifest();
  for (const name of Object.keys(SECRETS)) assert.throws(() => renderManifest(text, { ...SECRETS, [name]: undefined }), new RegExp(name));
});

test("expressions keep their type, nest, and end when they go in a circle", () => {
  assert.deepEqual(
    render(
      "vars: { m: { k: 1 }, l: [2] }\nresources: { r: { props: { a: '${vars.m}', b: 'x-${vars.m.k}-${env(\\'A\\')}' } } }".replaceAll(
        "\\'",
        "''",
      ),
    ).resources["r"],
    {
      props: { a: { k: 1 }, b: "x-1-1" },
    },
  );
  assert.throws(() => render("vars: { a: '${vars.b}', b: '${vars.a}' }"), /circle/);
  assert.throws(() => render("vars: { a: '${vars.none}' }"), /vars\.none/);
  assert.throws(() => render("vars: { a: '${config(1)}' }"), /not understood/);
});

test("every function of s.yaml is one that the engine takes", async () => {
  const { resources } = renderManifest(await manifest(), SECRETS);
  const functions = Object.values(resources).map(({ props }) => readFunction(props));
  assert.deepEqual(functions.map(({ name }) => name).toSorted(), ["cleanroom-gateway", "cleanroom-worker", "cleanroom-workspace"]);
  const worker = functions.find(({ name }) => name === "cleanroom-worker");
  assert.deepEqual(
    worker?.triggers.map((trigger) => trigger["triggerType"]),
    ["timer", "eventbridge"],
  );
});

test("what the gateway and the worker are deployed with is what they read", async () => {
  for (const name of ["gateway", "worker"]) {
    const variables = (await propsOf(name))["environmentVariables"] as Record<string, string>;
    const read = new Set<string>();
    const platform = { ALIBABA_CLOUD_ACCESS_KEY_ID: "id", ALIBABA_CLOUD_ACCESS_KEY_SECRET: "secret" };
    const seen = new Proxy<NodeJS.ProcessEnv>({ ...variables, ...platform }, { get: (env, key: string) => (read.add(key), env[key]) });
    assert.equal(functionConfig(seen).signingKey, "signing");
    assert.deepEqual(
      Object.keys(variables).filter((key) => !read.has(key)),
      [],
    );
    assert.deepEqual(
      [...read].filter((key) => key.startsWith("CLEANROOM_") && !(key in variables)),
      [],
    );
  }
});

test("what s.yaml can get wrong is refused by name", async () => {
  const props = await propsOf("workspace");
  const wrong: [string, unknown, RegExp][] = [
    ["memorySize", 1000, /memorySize/],
    ["memorySize", 512, /memorySize/],
    ["sessionAffinity", "HEADERFIELD", /sessionAffinity/],
    ["instanceIsolationMode", "EXCLUSIVE", /instanceIsolationMode/],
    ["sessionAffinityConfig", { affinityHeaderFieldName: "x-fc-session-id" }, /affinityHeaderFieldName/],
    ["sessionAffinityConfig", { affinityHeaderFieldName: "cleanroom-session-id", sessionTTLInSeconds: 999_999 }, /sessionTTLInSeconds/],
    ["instanceConcurency", 10, /instanceConcurency/],
    ["triggers", [{ triggerName: "t", triggerType: "http", triggerConfig: { authType: "foo", methods: ["GET"] } }], /authType/],
    ["triggers", [{ triggerName: "t", triggerType: "http", triggerConfig: { authType: "anonymous", methods: [] } }], /methods/],
    ["triggers", [{ triggerName: "t", triggerType: "timer", triggerConfig: { cronExpression: "1m" } }], /cronExpression/],
    ["triggers", [{ triggerName: "t", triggerType: "eventbridge", triggerConfig: {} }], /eventSourceConfig/],
  ];
  for (const [field, value, message] of wrong)
    assert.throws(() => readFunction({ ...props, [field]: value }), message, JSON.stringify(value));
  assert.equal(readFunction(props).name, "cleanroom-workspace");
});

function render(yaml: string) {
  return renderManifest(`name: x\naccess: default\n${yaml}`, { A: "1" });
}
