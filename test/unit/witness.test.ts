import assert from "node:assert/strict";
import { duplexPair } from "node:stream";
import { test } from "node:test";
import type { DroppedActions, NewAction } from "#contract/action.ts";
import { CLOSE, frame, MessageReader, TEXT } from "#gateway/devtools/frames.ts";
import { Channel } from "#gateway/witness/channel.ts";
import { Notebook } from "#gateway/witness/notebook.ts";
import { Observer } from "#gateway/witness/observer.ts";
import { deed, plain } from "#gateway/witness/story.ts";
import { until } from "#support/until.ts";

const MAX_BYTES = 64 * 1024;
const JPEG = Buffer.concat([Buffer.from([0xff, 0xd8]), Buffer.alloc(200, 1)]).toString("base64");

interface Command {
  id: number;
  method: string;
  params: Record<string, unknown>;
  sessionId?: string;
}

/** A browser that a test holds in its hand: it answers everything, and tells what it is made to tell. */
function observed(hand: "agent" | "person" = "agent", isTold = false) {
  const [ours, theirs] = duplexPair();
  const heard: Command[] = [];
  const reader = new MessageReader({ masked: true, maxBytes: MAX_BYTES });
  const tell = (method: string, params: object, sessionId = "S1") => {
    theirs.write(frame(TEXT, Buffer.from(JSON.stringify({ method, params, sessionId })), false));
  };
  theirs.on("error", () => {});
  theirs.on("data", (chunk: Buffer) => {
    for (const { opcode, data } of reader.read(Buffer.from(chunk))) {
      if (opcode === CLOSE) continue;
      const command = JSON.parse(data.toString()) as Command;
      heard.push(command);
      theirs.write(frame(TEXT, Buffer.from(JSON.stringify({ id: command.id, result: {} })), false));
      if (command.method === "Page.startScreencast") tell("Page.screencastFrame", { data: JPEG, sessionId: 1 }, command.sessionId);
    }
  });
  const written: NewAction[] = [];
  const missed: DroppedActions[] = [];
  const notebook = new Notebook({
    async write(actions, more) {
      written.push(...actions);
      if (Object.keys(more).length > 0) missed.push(more);
    },
    now: () => performance.now(),
  });
  const channel = new Channel(ours, MAX_BYTES);
  const told = () => isTold;
  const observer = new Observer({
    channel,
    notebook,
    script: "(report) => {}",
    hand: () => hand,
    isTold: told,
    now: () => performance.now(),
  });
  const over = observer.run();
  const opened = async () => {
    await until("it is asked for tabs", () => heard.some(({ method }) => method === "Target.setAutoAttach"));
    await until("the answer is there", () => new Promise((resolve) => setImmediate(() => resolve(true))));
    tell("Target.attachedToTarget", { sessionId: "S1", targetInfo: { targetId: "T1", type: "page", url: "about:blank" } }, "");
    await until("the tab is watched", () => heard.some(({ method }) => method === "Inspector.enable"));
  };
  const close = async () => {
    channel.close();
    await over;
    await notebook.close();
  };
  const bindingOf = () => String(heard.find(({ method }) => method === "Runtime.addBinding")?.params["name"]);
  const report = (said: object, name = bindingOf()) =>
    tell("Runtime.bindingCalled", {
      name,
      payload: JSON.stringify({ role: "button", name: "Go", selector: "button", trusted: true, exposed: false, kind: "click", ...said }),
    });
  return { tell, heard, written, missed, observer, opened, close, report, channel };
}

const summaries = (written: readonly NewAction[]) => written.map(({ summary }) => summary);

test("what is done on a page is told in its order, each with a picture, as the agent's or the page's own", async () => {
  const { tell, opened, written, close, report, observer } = observed();
  await opened();
  observer.asked("Page.navigate");
  tell("Page.frameNavigated", { frame: { id: "T1", url: "http://shop/login" } });
  tell("Page.loadEventFired", {});
  tell("Page.frameNavigated", { frame: { id: "F2", parentId: "T1", url: "http://shop/frame" } });
  tell("Page.frameRequestedNavigation", { frameId: "T1", url: "http://shop/elsewhere", reason: "scriptInitiated" });
  tell("Page.frameNavigated", { frame: { id: "T1", url: "http://shop/elsewhere" } });
  report({ kind: "input", role: "text field", name: "user", value: "clerk" });
  report({ kind: "input", role: "password field", name: "password", secret: true, value: "never sent, but if it were" });
  report({});
  tell("Page.frameNavigated", { frame: { id: "T1", url: "http://shop/orders" } });
  tell("Page.loadEventFired", {});
  await until("all is written", () => written.length === 7, 10_000);
  assert.deepEqual(
    written.map(({ by, summary }) => `${by}: ${summary}`),
    [
      "page: Opened a tab",
      "agent: Opened http://shop/login",
      "page: Opened http://shop/elsewhere",
      'agent: Typed "clerk" into the text field "user"',
      'agent: Typed a secret into the password field "password"',
      'agent: Clicked the button "Go"',
      "agent: Opened http://shop/orders",
    ],
  );
  assert.ok(!JSON.stringify(written).includes("never sent"));
  const pictured = written.filter(({ screenshot }) => screenshot);
  assert.equal(pictured.length, 6);
  assert.equal(written[3]?.url, "http://shop/elsewhere");
  await close();
});

test("of who tells by themselves what they do in pages, only what came of it is told", async () => {
  const { tell, opened, written, close, report } = observed("agent", true);
  await opened();
  tell("Page.frameNavigated", { frame: { id: "T1", url: "http://shop/login" } });
  report({ kind: "input", role: "text field", name: "user", value: "clerk" });
  report({});
  tell("Page.frameNavigated", { frame: { id: "T1", url: "http://shop/orders" } });
  tell("Page.loadEventFired", {});
  await until("all is written", () => written.length === 3, 10_000);
  assert.deepEqual(
    written.map(({ by, summary }) => `${by}: ${summary}`),
    ["page: Opened a tab", "page: Opened http://shop/login", "agent: Opened http://shop/orders"],
  );
  await close();
});

test("nothing that watches answers a dialog, holds a page up or sets anything of it", async () => {
  const { tell, opened, written, close, heard, report } = observed("person");
  await opened();
  tell("Page.javascriptDialogOpening", { url: "http://shop/", type: "prompt", message: "Your name?" });
  tell("Page.javascriptDialogClosed", { result: true, userInput: "hunter2" });
  report({});
  await until("all is written", () => written.length === 4, 10_000);
  assert.deepEqual(summaries(written), [
    "Opened a tab",
    'The page asked for a text: "Your name?"',
    "Accepted the prompt",
    'Clicked the button "Go"',
  ]);
  assert.deepEqual([written[2]?.by, written[2]?.details], ["person", { accepted: true, characters: 7 }]);
  await close();
  const may =
    /^(Target\.setAutoAttach|Inspector\.enable|Page\.(enable|getFrameTree|addScriptToEvaluateOnNewDocument|startScreencast|stopScreencast)|Runtime\.(enable|addBinding|releaseObjectGroup)|Log\.enable)$/;
  for (const { method, params } of heard) {
    assert.match(method, may);
    assert.notEqual(params["waitForDebuggerOnStart"], true);
  }
});

test("while a secret can be read on a page no picture of it is made", async () => {
  const { opened, written, close, report, heard } = observed();
  await opened();
  report({ kind: "input", role: "text field", name: "card", secret: true, exposed: true });
  await until("it is written", () => written.length === 2, 10_000);
  await close();
  assert.equal(written[1]?.screenshot, undefined);
  assert.ok(!heard.some(({ method }) => method === "Page.startScreencast"));
});

test("a page that floods is told of for a while and counted for the rest, and hides nothing of what is done", async () => {
  const { tell, opened, written, missed, close, report } = observed();
  await opened();
  for (let at = 0; at < 2000; at += 1)
    tell("Runtime.consoleAPICalled", { type: at % 2 === 0 ? "error" : "log", args: [{ type: "string", value: `noise ${at}` }] });
  report({});
  await until("the click is written", () => written.some(({ kind }) => kind === "click"), 10_000);
  await close();
  const errors = written.filter(({ kind }) => kind === "console_error").length;
  const counted = missed.reduce((sum, { console_error: count = 0 }) => sum + count, 0);
  assert.ok(errors >= 30 && errors < 200, String(errors));
  assert.equal(errors + counted, 1000);
});

test("a report by another name, of another shape, or too long is none", async () => {
  const { opened, written, close, report, tell } = observed();
  await opened();
  report({}, "report_guessed");
  report({ kind: "navigate" });
  report({ name: "x".repeat(300) });
  report({ name: "x".repeat(20_000) });
  tell("Runtime.bindingCalled", { name: "nothing", payload: 7 });
  report({ name: "the one\u202e that\u0000 is" });
  await until("one is written", () => written.length === 2, 10_000);
  await close();
  assert.deepEqual(summaries(written), ["Opened a tab", 'Clicked the button "the one that is"']);
});

test("what a script does is the script's, whatever it looks like", () => {
  const said = { kind: "input", role: "choice", name: "state", selector: "select", value: "open", trusted: false, exposed: false } as const;
  const { by, summary, details } = deed(said, "agent");
  assert.deepEqual([by, summary, details?.["script"]], ["page", 'A script: Chose "open" in the choice "state"', true]);
});

test("a text stands in one line and within its bound", () => {
  assert.equal(plain("a\n\u202eb\tc"), "a b c");
  assert.equal(plain("x".repeat(1_000_000)).length, 201);
  assert.equal(plain({ toString: () => "no" }), "");
});

test("a message too large to be held passes by unread, and those behind it are heard", async () => {
  const { tell, opened, written, close, report } = observed();
  await opened();
  tell("Runtime.consoleAPICalled", { type: "error", args: [{ type: "string", value: "x".repeat(4 * MAX_BYTES) }] });
  report({});
  await until("the click is written", () => written.length === 2, 10_000);
  await close();
  assert.deepEqual(summaries(written), ["Opened a tab", 'Clicked the button "Go"']);
});
