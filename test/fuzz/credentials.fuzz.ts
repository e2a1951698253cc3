import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Problem } from "#contract/problem.ts";
import { linkArtifact, linkedArtifact, openBytes } from "#core/artifact-links.ts";
import { keepArtifact } from "#core/artifacts.ts";
import { createProject, findByApiKey, findSecret } from "#core/projects.ts";
import { createSandbox } from "#core/sandboxes.ts";
import { findByToken, mintToken } from "#core/tokens.ts";
import { CORE_LIMITS, spec } from "#support/core.ts";
import { openGate, ROOT } from "#support/gate.ts";
import { altered, texts } from "./hostile.ts";
import { hold, property } from "./property.ts";

const { gateway, core } = await openGate();
const { platform } = gateway;
const root = (await findByApiKey(platform, ROOT.apiKey)) ?? assert.fail();
const { project, key } = await createProject(platform, CORE_LIMITS, root, { name: "one" }, ROOT.accountId);
const { token } = mintToken(platform, project, { sandboxId: "sandbox" }, 60_000);
const { sandbox } = await createSandbox(platform, CORE_LIMITS, project, spec());
core.engine.workspace = () => new Response("kept");
const artifact = await keepArtifact(platform, project, sandbox.id, { path: "/home/user/file" });
const { path } = await linkArtifact(platform, project, artifact.id, 60_000);
const link = new URL(path, "http://door").searchParams;
const [expires, ticket] = [link.get("expires") ?? "", link.get("ticket") ?? ""];

/** What is nearly a credential: one that is good but for a change or two, or anything at all. */
const nearly = (good: string) =>
  fc
    .oneof(
      { weight: 4, arbitrary: altered(good) },
      { weight: 2, arbitrary: altered(good).chain((one) => altered(one)) },
      { weight: 1, arbitrary: texts() },
    )
    .filter((one) => one !== good);

async function refused(opening: Promise<unknown>): Promise<void> {
  await assert.rejects(opening, (error) => error instanceof Problem && error.status < 500);
}

await hold(import.meta.url, [
  property("a token that is changed in anything is nobody's", nearly(token), async (other) => {
    assert.equal(await findByToken(platform, other), undefined);
    assert.equal((await findByToken(platform, token))?.project.id, project.id);
  }),
  property("an API key that is changed in anything is nobody's", nearly(key.apiKey), async (other) => {
    assert.equal(await findByApiKey(platform, other), undefined);
    assert.equal((await findByApiKey(platform, key.apiKey))?.project.id, project.id);
  }),
  property("an id of a key that is changed in anything has no secret", nearly(key.accessKeyId), async (other) => {
    const found = await findSecret(platform, other);
    assert.equal(found?.principal.project.id === project.id, false);
  }),
  property(
    "a link that is changed in anything opens nothing",
    fc.tuple(nearly(ticket), nearly(expires)),
    async ([otherTicket, otherExpires]) => {
      await refused(linkedArtifact(platform, artifact.id, { expires, ticket: otherTicket }));
      await refused(linkedArtifact(platform, artifact.id, { expires: otherExpires, ticket }));
      const body = await openBytes(platform, await linkedArtifact(platform, artifact.id, { expires, ticket }));
      assert.equal(await new Response(body).text(), "kept");
    },
  ),
]);
