import assert from "node:assert/strict";
import { test } from "node:test";
import { BROWSER_PROFILE_MEDIA_TYPE, INNER_HEADER } from "#contract/inner.ts";
import { LIMITS } from "#contract/limits.ts";
import { TEMPLATE_TYPE_VARIABLE } from "#contract/workspace.ts";
import { type Entry, tarOf } from "#support/hostile-tar.ts";
import { startWorkspace, type TestWorkspace } from "#support/workspace.ts";

const CORE = { [INNER_HEADER]: "1" };
const PROFILE = "/home/user/.browser/Default";

const fresh = () => startWorkspace({ homeMiB: 300, env: { [TEMPLATE_TYPE_VARIABLE]: "AllInOne" } });
const take = (box: TestWorkspace) => box.send("POST", "/profile", undefined, CORE);
const give = (box: TestWorkspace, entries: Iterable<Entry>) =>
  box.send("PUT", "/profile", Buffer.from(tarOf(entries)), { ...CORE, "content-type": BROWSER_PROFILE_MEDIA_TYPE });

async function inside(box: TestWorkspace, command: string): Promise<string> {
  const answer = await box.send("POST", "/processes/cmd", { command });
  assert.equal(answer.status, 200, answer.text);
  return answer.json.result.stdout as string;
}

test("a profile takes the place of what there was, and taken again it is the same bytes", async () => {
  await using box = await fresh();
  const cookies = [{ name: "short", value: "1", domain: "shop.example", path: "/", secure: true }];
  const entries = [
    { name: "session-cookies.json", body: JSON.stringify(cookies) },
    { name: "Cookies", body: "lasting" },
    { name: "IndexedDB/site/000003.log", body: "rows" },
    { name: "Local Storage/leveldb/CURRENT", body: "words" },
  ];
  await inside(box, `mkdir -p ${PROFILE}/IndexedDB/old && touch ${PROFILE}/IndexedDB/old/file ${PROFILE}/Cookies-journal`);
  assert.equal((await give(box, entries)).status, 204);
  const first = await take(box);
  assert.equal(first.status, 200);
  assert.equal(
    (await inside(box, `cd ${PROFILE} && cat Cookies IndexedDB/*/* Local*/*/* && find . -type f | wc -l`)).trim(),
    "lastingrowswords3",
  );
  assert.equal((await give(box, entries)).status, 204);
  assert.deepEqual((await take(box)).bytes, first.bytes);
  assert.match(first.bytes.toString("latin1"), /"name": "short"/);
});

const HOSTILE: Record<string, Entry> = {
  "a symbolic link": { name: "IndexedDB/link", type: "2", link: "/etc/passwd" },
  "a hard link": { name: "IndexedDB/hard", type: "1", link: "Cookies" },
  "a device": { name: "IndexedDB/null", type: "3" },
  "a pipe": { name: "IndexedDB/pipe", type: "6" },
  "a folder": { name: "IndexedDB/folder", type: "5" },
  "a way out": { name: "IndexedDB/../../../.bashrc", body: "evil" },
  "an absolute name": { name: "/home/user/.bashrc", body: "evil" },
  "an extension": { name: "Extensions/evil/run.js", body: "evil" },
  settings: { name: "Preferences", body: "{}" },
  "cookies that are none": { name: "session-cookies.json", body: "{" },
  "cookies that are no list": { name: "session-cookies.json", body: '{"a":1}' },
  "cookies without end": { name: "session-cookies.json", claims: 2 ** 29 },
};

test("what is nothing that a profile has is refused, and never made", async () => {
  await using box = await fresh();
  for (const [what, entry] of Object.entries(HOSTILE)) {
    const answer = await give(box, [{ name: "Cookies", body: "x" }, entry]);
    assert.match(answer.json.code, /^(invalid_archive|body_too_large)$/, what);
  }
  const large = { name: "IndexedDB/large", claims: LIMITS.browserProfileBytes + 1 };
  assert.equal((await give(box, [large])).json.code, "body_too_large");
  const found = await inside(box, `find ${PROFILE} ! -type f ! -type d; ls ${PROFILE} ${PROFILE}/IndexedDB; grep -c evil ~/.bashrc`);
  assert.doesNotMatch(found, /Extensions|Preferences|link|hard|null|pipe|large|[1-9]/);
});

test("no folder on the way is followed as a link, and a sandbox without a browser has no profile", async () => {
  await using box = await fresh();
  await inside(box, "mkdir -p ~/elsewhere/Default && ln -s ~/elsewhere ~/.browser");
  assert.equal((await give(box, [{ name: "Cookies", body: "x" }])).json.code, "forbidden");
  assert.equal((await inside(box, "ls ~/elsewhere/Default")).trim(), "");
  await using plain = await startWorkspace({ homeMiB: 300 });
  assert.equal((await take(plain)).json.code, "not_supported");
  assert.equal((await give(plain, [])).json.code, "not_supported");
  assert.equal((await box.send("POST", "/profile")).json.code, "route_not_found");
});
