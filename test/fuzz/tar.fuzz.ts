import assert from "node:assert/strict";
import * as fc from "fast-check";
import { PROBLEMS } from "#contract/problem-codes.ts";
import { archives } from "./archives.ts";
import { hold, property } from "./property.ts";
import { base64, cannotParse, openParsers } from "./workspace.ts";

interface Unpacked {
  said: { problem: string } | { entries: number; bytes: number };
  /** What of the tree around the folder is not as it was. */
  outside: string[];
  inside: { path: string; kind: string; bits: number; out: boolean }[];
}

await using parsers = await openParsers();

await hold(
  import.meta.url,
  [
    property(
      "whatever an archive holds, a sandbox unpacks it inside its folder or refuses it, without devices, special bits or ways out",
      fc.tuple(archives, fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 4 })),
      async ([{ bytes }, sizes]) => {
        const answer = await parsers.ask<Unpacked>("unpack", { bytes: base64(bytes), sizes });
        assert.ok("value" in answer, JSON.stringify(answer));
        const { said, outside, inside } = answer.value;
        assert.deepEqual(outside, []);
        if ("problem" in said)
          assert.ok(said.problem in PROBLEMS && PROBLEMS[said.problem as keyof typeof PROBLEMS].status < 500, said.problem);
        for (const { path, kind, bits, out } of inside) {
          assert.notEqual(kind, "other", path);
          if (kind !== "link") assert.equal(bits, 0, path);
          assert.equal(out, false, `${path} leads out`);
        }
      },
    ),
  ],
  cannotParse(),
);
