import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadMarkdown, TakeScreenshot } from "#contract/browsing.ts";
import { judge, whyNotAddress } from "#gateway/devtools/policy.ts";
import { plainText } from "#gateway/mcp/terminal-tools.ts";

const navigate = (url: string) => Buffer.from(JSON.stringify({ id: 1, method: "Page.navigate", params: { url } }));

test("a template opens the pages that it names, and the source of no page that stays closed", () => {
  for (const url of ["file:///etc/passwd", "chrome://version", "view-source:http://a/", "devtools://x", "about:config"]) {
    assert.ok(whyNotAddress("x", url), url);
    assert.equal(judge(navigate(url)).do, "answer", url);
  }
  const opened = ["file", "view-source"];
  for (const url of ["file:///tmp/a", "view-source:http://a/", "view-source:file:///tmp/a", "http://a/", "about:blank"]) {
    assert.equal(whyNotAddress("x", url, opened), undefined, url);
    assert.equal(judge(navigate(url), opened).do, "pass", url);
  }
  for (const url of ["chrome://version", "view-source:chrome://version", "view-source:view-source:http://a/", "devtools://x"])
    assert.ok(whyNotAddress("x", url, opened), url);
  assert.ok(whyNotAddress("x", "view-source:file:///tmp/a", ["view-source"]));
  assert.match(whyNotAddress("x", "chrome://version", opened) ?? "", /file:, view-source: and about:blank/);
});

test("what a terminal shows is told without colours, titles and moves of the cursor, and lines as they were left", () => {
  assert.equal(plainText("\u001b[1;32muser\u001b[0m$ ls\r\na\r\n"), "user$ ls\na\n");
  assert.equal(plainText("\u001b]0;title\u0007done"), "done");
  assert.equal(plainText("10%\r20%\rdone\r\n"), "done\n");
  assert.equal(plainText("\u001b[?2004h\u001b(Bplain\u0000"), "plain");
});

test("what is asked of a page is one thing, whole, and bounded", () => {
  assert.ok(TakeScreenshot.safeParse({ url: "http://a/", width: 400 }).success);
  for (const wrong of [
    { url: "http://a/", targetId: "a" },
    { width: 400 },
    { quality: 3 },
    { fullPage: true, selector: "p" },
    { x: 1 },
    { targetId: "../a" },
  ])
    assert.ok(!TakeScreenshot.safeParse(wrong).success, JSON.stringify(wrong));
  assert.ok(!ReadMarkdown.safeParse({ timeoutMs: 10 ** 9 }).success);
});
