import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Engine, EngineRef } from "#core/ports.ts";
import { isProblem } from "#support/problem.ts";

const LIFE = { lifetimeMs: 600_000, idleTimeoutMs: 600_000 };
const BOX: EngineRef = { functionName: "workspace", sessionId: "p1_a" };

async function ask(engine: Engine): Promise<string> {
  return (await engine.request(BOX, new Request("http://workspace/pid"))).text();
}

/** What the port promises of pausing, whoever stands behind it. */
export function enginePauseSuite(name: string, open: () => Promise<{ engine: Engine } & AsyncDisposable>): void {
  describe(`pausing at ${name}`, () => {
    test("a paused session takes no request and lives; resumed, it is as it was", async () => {
      await using port = await open();
      const { engine } = port;
      await engine.start(BOX, LIFE);
      const said = await ask(engine);
      await engine.pause(BOX);
      await assert.rejects(ask(engine), isProblem("sandbox_not_ready"));
      assert.partialDeepStrictEqual(await engine.facts(BOX), { live: true, paused: true });
      assert.deepEqual(await engine.list("workspace"), [{ ...BOX, paused: true }]);
      await engine.resume(BOX);
      assert.equal(await ask(engine), said);
      assert.equal((await engine.facts(BOX))?.paused, undefined);
      assert.deepEqual(await engine.list("workspace"), [BOX]);
    });

    test("pausing twice is one pause, resuming twice one resume, also at once", async () => {
      await using port = await open();
      const { engine } = port;
      await engine.start(BOX, LIFE);
      await engine.resume(BOX);
      await Promise.all([engine.pause(BOX), engine.pause(BOX), engine.pause(BOX)]);
      await engine.pause(BOX);
      assert.equal((await engine.facts(BOX))?.paused, true);
      await Promise.all([engine.resume(BOX), engine.resume(BOX), engine.resume(BOX)]);
      await ask(engine);
    });

    test("a paused session can be stopped, also while it is being paused or resumed", async () => {
      await using port = await open();
      const { engine } = port;
      await engine.start(BOX, LIFE);
      await engine.pause(BOX);
      await engine.stop(BOX);
      assert.equal((await engine.facts(BOX))?.live, false);
      for (const change of ["pause", "resume"] as const) {
        const ref = { ...BOX, sessionId: `p1_${change}` };
        await engine.start(ref, LIFE);
        await Promise.allSettled([engine[change](ref), engine.stop(ref)]);
        assert.equal((await engine.facts(ref))?.live, false);
      }
      assert.deepEqual(await engine.list("workspace"), []);
    });

    test("what has ended, or never was, is lost and cannot be paused or resumed", async () => {
      await using port = await open();
      const { engine } = port;
      await engine.start(BOX, LIFE);
      await engine.stop(BOX);
      for (const ref of [BOX, { ...BOX, sessionId: "never" }]) {
        await assert.rejects(engine.pause(ref), isProblem("sandbox_lost"));
        await assert.rejects(engine.resume(ref), isProblem("sandbox_lost"));
      }
    });
  });
}
