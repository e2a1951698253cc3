import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { sealRecord, SignedHead, verifyChain } from "#contract/audit-chain.ts";
import { AuditQuery, AuditRecord } from "#contract/audit.ts";
import { canonicalJson } from "#contract/canonical.ts";
import { type AuditFacts, openAudit } from "#core/audit.ts";
import { anchorHead, exportAudit, listAnchors, listAudit, signedHead } from "#core/audit-log.ts";
import { openCore, projectOf } from "#support/core.ts";
import { memoryTables } from "#support/memory-tables.ts";

const ONE = projectOf("p1");
const facts = (action: string, more: Partial<AuditFacts> = {}): AuditFacts => ({
  actor: { kind: "key", id: "CR1" },
  action,
  phase: "done",
  decision: "allow",
  policy: "project",
  ...more,
});
const log = { event: () => {} };

async function exported(core: ReturnType<typeof openCore>): Promise<string[]> {
  let text = "";
  for await (const piece of exportAudit(core.platform, ONE)) text += piece;
  return text.split("\n").slice(0, -1);
}

async function chainOf(count: number) {
  const core = openCore();
  await Promise.all(Array.from({ length: count }, (_, n) => core.platform.audit.append("p1", facts(`action-${n}`))));
  const lines = await exported(core);
  return { core, lines, key: core.platform.vault.publicKey() };
}

test("an export verifies, record by record and up to its signed head", async () => {
  const { lines, key } = await chainOf(1200);
  assert.equal(lines.length, 1201);
  const verdict = verifyChain(lines, key);
  assert.deepEqual([verdict.broken, verdict.records, verdict.project, verdict.anchored], [undefined, 1200, "p1", true]);
  for (const [at, line] of lines.slice(0, -1).entries()) assert.equal(AuditRecord.parse(JSON.parse(line)).seq, at + 1);
});

test("every byte that is flipped is found, and the record that it is in is named", async () => {
  const { lines, key } = await chainOf(12);
  const [, , third = ""] = lines;
  for (let at = 0; at < third.length; at += 1) {
    const flipped = third.slice(0, at) + String.fromCharCode(third.charCodeAt(at) ^ 1) + third.slice(at + 1);
    assert.equal(verifyChain(lines.with(2, flipped), key).broken?.seq, 3, `byte ${at}`);
  }
});

test("a record that is missing, comes twice or in another order is named", async () => {
  const { lines, key } = await chainOf(12);
  const broken = (forged: string[]) => verifyChain(forged, key).broken?.seq;
  assert.equal(broken(lines.toSpliced(4, 1)), 5, "one is deleted");
  assert.equal(broken(lines.toSpliced(0, 1)), 1, "the first is deleted");
  assert.equal(broken(lines.toSpliced(4, 2, lines[5] ?? "", lines[4] ?? "")), 5, "two are in the other order");
  assert.equal(broken(lines.toSpliced(4, 0, lines[3] ?? "")), 5, "one comes twice");
  assert.equal(broken(lines.toSpliced(3, 0, "{}")), 4, "something else stands between");
});

test("an end that is cut off is found by the signed head, at whatever record", async () => {
  const { lines, key } = await chainOf(12);
  const head = lines.at(-1) ?? "";
  for (let kept = 0; kept < 12; kept += 1)
    assert.equal(verifyChain([...lines.slice(0, kept), head], key).broken?.seq, kept + 1, `${kept} are left`);
  const headless = verifyChain(lines.slice(0, 7), key);
  assert.deepEqual([headless.broken, headless.anchored], [undefined, false], "without a head nothing is proven");
  assert.equal(verifyChain(lines.slice(0, 7), key, [SignedHead.parse(JSON.parse(head))]).broken?.seq, 8, "a head that was kept proves it");
});

test("a chain that was written anew from some record on is found by a head that was kept, whoever signed the new one", async () => {
  const { lines, key } = await chainOf(12);
  const kept = SignedHead.parse(JSON.parse(lines.at(-1) ?? ""));
  const rewritten = lines.slice(0, 5);
  let prev = AuditRecord.parse(JSON.parse(lines[4] ?? "")).hash;
  for (const line of lines.slice(5, -1)) {
    const { seq, prev: _prev, hash: _hash, ...rest } = AuditRecord.parse(JSON.parse(line));
    const sealed = sealRecord(seq, prev, { ...rest, action: "nothing" });
    prev = sealed.hash;
    rewritten.push(sealed.line);
  }
  assert.match(verifyChain([...rewritten, lines.at(-1) ?? ""], key).broken?.why ?? "", /written anew/);
  assert.match(verifyChain(rewritten, key, [kept]).broken?.why ?? "", /written anew/);
  const forger = generateKeyPairSync("ed25519").publicKey.export({ format: "pem", type: "spki" }).toString();
  assert.match(verifyChain(lines, forger).broken?.why ?? "", /signature/);
  const lied = { ...kept, head: { ...kept.head, seq: 11 } };
  assert.match(verifyChain(lines.toSpliced(-1, 1, JSON.stringify(lied)), key).broken?.why ?? "", /signature/);
});

test("nonsense of any kind is no chain, and no crash", () => {
  for (const text of [
    "",
    "x",
    "{",
    '{"seq":1',
    '{"head":{}}',
    '{"seq":1,"prev":"',
    `{"seq":1,"prev":"${"0".repeat(64)}","hash":"${"0".repeat(64)}"}`,
    "\u0000".repeat(1000),
  ])
    assert.ok(text === "" || verifyChain([text], undefined).broken, text);
});

test("writers of any number, each with its own memory of the end, keep one chain", async () => {
  const tables = memoryTables();
  const slow = {
    ...tables,
    put: async (...args: Parameters<typeof tables.put>) => (await new Promise(setImmediate), tables.put(...args)),
  } as typeof tables;
  const writers = Array.from({ length: 5 }, () => openAudit(slow, { now: () => 0 }, log));
  await Promise.all(
    writers.flatMap((writer, w) =>
      Array.from({ length: 100 }, async (_, n) => {
        for (let turns = (w * 7 + n) % 11; turns > 0; turns -= 1) await new Promise(setImmediate);
        await writer.append("p1", facts(`w${w}-${n}`));
      }),
    ),
  );
  const rows = await tables.range<{ lines: string[] }>("audit", "p1/", { limit: 10_000 });
  const lines = rows.flatMap(({ value }) => value.lines);
  const verdict = verifyChain(lines, undefined);
  assert.deepEqual([verdict.broken, verdict.records], [undefined, 500]);
  assert.equal(new Set(lines.map((line) => AuditRecord.parse(JSON.parse(line)).action)).size, 500);
});

test("whatever write a process dies at, the chain is valid and everything that was answered is in it", async () => {
  for (let dies = 1; dies <= 12; dies += 1) {
    const tables = memoryTables();
    let writes = 0;
    const mortal = {
      ...tables,
      put: (...args: Parameters<typeof tables.put>) => ((writes += 1) >= dies ? new Promise<never>(() => {}) : tables.put(...args)),
    } as typeof tables;
    const audit = openAudit(mortal, { now: () => 0 }, log);
    const answered: string[] = [];
    for (let n = 0; n < 20; n += 1) void audit.append("p1", facts(`a${n}`)).then(() => answered.push(`a${n}`));
    for (let turns = 0; turns < 50; turns += 1) await new Promise(setImmediate);
    const next = openAudit(tables, { now: () => 0 }, log);
    await next.append("p1", facts("after"));
    const lines = (await tables.range<{ lines: string[] }>("audit", "p1/", { limit: 10_000 })).flatMap(({ value }) => value.lines);
    assert.equal(verifyChain(lines, undefined).broken, undefined);
    const kept = new Set(lines.map((line) => AuditRecord.parse(JSON.parse(line)).action));
    for (const action of [...answered, "after"]) assert.ok(kept.has(action), `${action} at write ${dies}`);
  }
});

test("a store that fails fails the record, and the next one goes on where the chain ends", async () => {
  const core = openCore();
  await core.platform.audit.append("p1", facts("first"));
  core.tables.before = () => {
    throw new Error("full");
  };
  await assert.rejects(core.platform.audit.append("p1", facts("lost")));
  core.tables.before = () => {};
  await core.platform.audit.append("p1", facts("second"));
  const { items } = await listAudit(core.platform, ONE, AuditQuery.parse({}));
  assert.deepEqual(
    items.map(({ seq, action }) => [seq, action]),
    [
      [2, "second"],
      [1, "first"],
    ],
  );
});

test("hostile text in every field stays one line and reads back as it was", async () => {
  const core = openCore();
  const hostile = '\n{"seq":9,"prev":"\u2028\u0000\u001B[2J<script>"}\n';
  await core.platform.audit.append(
    "p1",
    facts(hostile, { reason: hostile, onBehalfOf: hostile, resource: { kind: hostile, id: hostile } }),
  );
  const lines = await exported(core);
  assert.equal(lines.length, 2);
  assert.equal(verifyChain(lines, core.platform.vault.publicKey()).broken, undefined);
  const [record] = (await listAudit(core.platform, ONE, AuditQuery.parse({}))).items;
  assert.deepEqual([record?.action, record?.resource?.id], [hostile, hostile]);
});

test("equal refusals of one second are told together, and others are not lost among them", async () => {
  const core = openCore();
  for (let n = 0; n < 500; n += 1) core.platform.audit.refused("p1", facts("knock", { decision: "deny" }));
  core.platform.audit.refused("p1", facts("other", { decision: "deny" }));
  await core.platform.audit.flush();
  const { items } = await listAudit(core.platform, ONE, AuditQuery.parse({}));
  assert.deepEqual(
    items.map(({ action, count }) => [action, count]),
    [
      ["knock", 499],
      ["other", undefined],
      ["knock", undefined],
    ],
  );
});

test("heads are anchored among the objects as the chain grows, and each proves the chain up to it", async () => {
  const core = openCore();
  assert.equal(await anchorHead(core.platform, ONE), false, "of nothing there is no head");
  await core.platform.audit.append("p1", facts("a"));
  assert.equal(await anchorHead(core.platform, ONE), true);
  assert.equal(await anchorHead(core.platform, ONE), false);
  core.clock.advance(11 * 60_000);
  await core.platform.audit.append("p1", facts("b"));
  assert.equal(await anchorHead(core.platform, ONE), true);
  const { items } = await listAnchors(core.platform, ONE, { limit: 10 });
  assert.deepEqual(
    items.map(({ head }) => head.seq),
    [1, 2],
  );
  assert.equal(verifyChain(await exported(core), core.platform.vault.publicKey(), items).broken, undefined);
  assert.deepEqual((await listAnchors(core.platform, projectOf("p2"), { limit: 10 })).items, []);
  assert.equal((await signedHead(core.platform, projectOf("p2"))).head.seq, 0);
});

test("pages of the log miss no record", async () => {
  const { core } = await chainOf(130);
  const seen: number[] = [];
  let after: string | undefined;
  do {
    const found = await listAudit(core.platform, ONE, AuditQuery.parse({ limit: 40, ...(after === undefined ? {} : { after }) }));
    seen.push(...found.items.map(({ seq }) => seq));
    after = found.next;
  } while (after !== undefined);
  assert.deepEqual(
    seen,
    Array.from({ length: 130 }, (_, at) => 130 - at),
  );
});

test("JSON is written as RFC 8785 says", () => {
  const text =
    '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}';
  assert.equal(
    canonicalJson(JSON.parse(text)),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  assert.equal(
    canonicalJson({ "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1F600}": 5, "\u0080": 6, "\u00f6": 7 }),
    '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}',
  );
});
