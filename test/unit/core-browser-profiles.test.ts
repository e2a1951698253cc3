import assert from "node:assert/strict";
import { test } from "node:test";
import { INNER_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { Problem, problemBody } from "#contract/problem.ts";
import { collectProfiles } from "#core/browser-profile-rows.ts";
import { deleteBrowserProfile, getBrowserProfile, listBrowserProfiles, saveBrowserProfile } from "#core/browser-profiles.ts";
import type { Passage } from "#core/ports.ts";
import { createSandbox, getSandbox } from "#core/sandboxes.ts";
import { CORE_LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { type Entry, tarOf } from "#support/hostile-tar.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const HOUR_MS = 3_600_000;
const COOKIES = { name: "Cookies", body: "the cookies" };

/** A core whose browsers remember one tar each. */
interface Browsers extends Core {
  remembered: Entry[];
  given: Map<string, string>;
}

async function openWithBrowsers(): Promise<Browsers> {
  const core: Browsers = { ...openCore(), remembered: [COOKIES], given: new Map() };
  core.engine.workspace = async (passage, ref) => {
    if (new URL(passage.url).pathname !== "/profile") return Response.json({});
    assert.equal(passage.headers.get(INNER_HEADER), "1");
    if (passage.method === "POST") return new Response(tarOf(core.remembered));
    core.given.set(ref.sessionId, await textOf(passage));
    return new Response(null, { status: 204 });
  };
  await make(core, "mine-1");
  return core;
}

async function textOf(passage: Passage): Promise<string> {
  return Buffer.concat(await Array.fromAsync(passage.body as AsyncIterable<Uint8Array>)).toString();
}

const make = (core: Core, id: string, more: object = {}) =>
  createSandbox(core.platform, CORE_LIMITS, ONE, spec({ id, template: "all-in-one", ...more }));
const save = (core: Core, name = "clerk") => saveBrowserProfile(core.platform, ONE, "mine-1", name);
const drop = (core: Core, name = "clerk") => deleteBrowserProfile(core.platform, ONE, name);
const objects = async (core: Core) => (await core.platform.objects.list("", { limit: 1000 })).map((info) => info.key);
const intents = (core: Core) => core.platform.tables.range("browser-profile-intents", "", { limit: 1000 });
const names = async (core: Core) => (await listBrowserProfiles(core.platform, ONE)).items.map(({ name }) => name);

test("a profile is given where it is asked for and nowhere else, with the bytes that were saved", async () => {
  const core = await openWithBrowsers();
  const saved = await save(core);
  assert.partialDeepStrictEqual(saved, { name: "clerk", version: 1, sizeBytes: 2048, sandboxId: "mine-1" });
  await make(core, "mine-2", { browserProfile: "clerk" });
  await make(core, "mine-3");
  assert.deepEqual([...core.given.keys()], ["p1_mine-2"]);
  assert.match(core.given.get("p1_mine-2") ?? "", /the cookies/);
  assert.deepEqual(await getBrowserProfile(core.platform, ONE, "clerk"), saved);
  await assert.rejects(getBrowserProfile(core.platform, OTHER, "clerk"), isProblem("browser_profile_not_found"));
});

test("one object is kept for each name, whatever is saved at once and however it is called", async () => {
  const core = await openWithBrowsers();
  const saved = await Promise.all(["constructor", "constructor", "toString", "clerk", "clerk"].map((name) => save(core, name)));
  assert.deepEqual(saved.map(({ version }) => version).toSorted(), [1, 1, 1, 2, 2]);
  assert.deepEqual(await names(core), ["clerk", "constructor", "toString"]);
  assert.equal((await objects(core)).length, 3);
  await Promise.all(["clerk", "constructor", "toString"].map((name) => drop(core, name)));
  assert.deepEqual([await objects(core), await intents(core), await names(core)], [[], [], []]);
});

test("what is no profile, too large or one too many is refused, and what had the name stays", async () => {
  const core = await openWithBrowsers();
  const saved = await save(core);
  for (const entry of [
    { name: "IndexedDB/link", type: "2", link: "/etc/passwd" },
    { name: "IndexedDB/hard", type: "1", link: "Cookies" },
    { name: "IndexedDB/device", type: "3" },
    { name: "IndexedDB/../../out", body: "x" },
    { name: "/etc/cron.d/out", body: "x" },
  ]) {
    core.remembered = [COOKIES, entry];
    await assert.rejects(save(core), isProblem("invalid_archive"), entry.name);
  }
  core.remembered = [{ name: "IndexedDB/large", body: "x".repeat(LIMITS.browserProfileBytes) }];
  await assert.rejects(save(core), isProblem("body_too_large"));
  const { workspace } = core.engine;
  core.engine.workspace = () => Response.json(problemBody(new Problem("browser_unavailable"), "r"), { status: 503 });
  await assert.rejects(save(core), isProblem("browser_unavailable"));
  core.engine.workspace = workspace;
  core.remembered = [COOKIES];
  for (let count = 1; count < LIMITS.browserProfiles; count += 1) await save(core, `n${count}`);
  await assert.rejects(save(core, "more"), isProblem("quota_exceeded"));
  assert.deepEqual(await getBrowserProfile(core.platform, ONE, "clerk"), saved);
  assert.equal((await save(core)).version, 2);
  assert.equal((await objects(core)).length, LIMITS.browserProfiles);
});

test("a sandbox whose browser does not take its profile ends and says why; one without a browser is not begun", async () => {
  const core = await openWithBrowsers();
  await save(core);
  core.engine.workspace = () => Response.json(problemBody(new Problem("browser_unavailable"), "r"), { status: 503 });
  await assert.rejects(make(core, "mine-2", { browserProfile: "clerk" }), isProblem("browser_unavailable"));
  assert.partialDeepStrictEqual(await getSandbox(core.platform, ONE, "mine-2"), { state: "ended", endReason: "failed" });
  const none = make(core, "mine-3", { browserProfile: "clerk", template: "code-interpreter" });
  await assert.rejects(none, isProblem("not_supported"));
  await assert.rejects(getSandbox(core.platform, ONE, "mine-3"), isProblem("sandbox_not_found"));
  assert.deepEqual(core.engine.living, ["p1_mine-1"]);
});

test("who is given a profile that is saved again at that moment gets the newest", async () => {
  const core = await openWithBrowsers();
  await save(core);
  core.remembered = [{ name: "Cookies", body: "newer" }];
  core.engine.before = async (operation, ref) => {
    if (operation === "start" && ref?.sessionId === "p1_mine-2") await save(core);
  };
  await make(core, "mine-2", { browserProfile: "clerk" });
  assert.match(core.given.get("p1_mine-2") ?? "", /newer/);
});

test("whatever write a crash comes before, each name has its bytes and there are no others", async () => {
  for (let step = 1; ; step += 1) {
    const core = await openWithBrowsers();
    await save(core, "kept");
    await save(core);
    let writes = 0;
    core.tables.before = () => {
      writes += 1;
      if (writes >= step) throw new Error("the process died");
    };
    await save(core).catch(() => {});
    await save(core, "new").catch(() => {});
    await drop(core).catch(() => {});
    core.tables.before = () => {};
    core.clock.advance(2 * HOUR_MS);
    await Promise.all([collectProfiles(core.platform, 100), collectProfiles(core.platform, 100)]);
    assert.deepEqual(await intents(core), []);
    assert.equal((await objects(core)).length, (await names(core)).length, `died before write ${step}`);
    for (const name of await names(core)) await make(core, `from-${name}`, { browserProfile: name });
    if (writes < step) break;
    assert.ok((await names(core)).includes("kept"));
  }
});

test("in whatever order many save and delete at once, each name has its bytes and there are no others", async () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const core = await openWithBrowsers();
    shuffle(core, seed);
    await Promise.allSettled([save(core), drop(core), save(core), save(core), drop(core)]);
    assert.equal((await objects(core)).length, (await names(core)).length);
    assert.deepEqual(await intents(core), []);
  }
});
