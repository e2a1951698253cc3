import assert from "node:assert/strict";
import { test } from "node:test";
import { soak } from "#soak/soak.ts";

test("with everything killed at random under load no create is lost or doubled, no answer is wrong, nothing is left, and every end says its true reason", async () => {
  const { ledger, records, faults } = await soak({ seed: 20_260_101, forMs: 25_000, clients: 6 });
  assert.deepEqual(faults, []);
  assert.ok(ledger.kills.length > 0 && records.sandboxes.length > 0, "something was killed, and something lived");
});
