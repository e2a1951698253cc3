import assert from "node:assert/strict";
import { type Action, ActionLog } from "#contract/action.ts";
import { LIMITS } from "#contract/limits.ts";
import { type DevtoolsClient, devtoolsClient } from "#support/devtools-client.ts";
import { proves, type Range } from "#support/range.ts";
import { refused } from "#support/refusal.ts";
import { until } from "#support/until.ts";

const BROWSER = { sandbox: { template: "browser" } };
const SLOW_MS = 90_000;
const TAB_MS = 1000;

async function logOf({ tenant, sandboxId }: Range, kind?: string): Promise<ActionLog> {
  const query = kind === undefined ? "" : `&kind=${kind}`;
  return ActionLog.parse(await tenant.json("GET", `/api/sandboxes/${sandboxId}/actions?limit=200${query}`));
}

async function tells(range: Range, what: RegExp): Promise<Action[]> {
  let items: Action[] = [];
  const look = async () => {
    ({ items } = await logOf(range));
    return items.some(({ summary }) => what.test(summary));
  };
  await until(`the log tells ${what}`, look, SLOW_MS);
  return items;
}

const pageOf = (html: string) => `data:text/html,${encodeURIComponent(html)}`;

/** A client whose browser is being watched by now. */
async function watchedClient(range: Range): Promise<DevtoolsClient> {
  const client = await devtoolsClient(range);
  let nextMs = 0;
  const seen = async () => {
    // One tab a second: a hundred of them would be what the browser is busy with.
    if (performance.now() > nextMs) {
      await client.ask("Target.createTarget", { url: "about:blank" });
      nextMs = performance.now() + TAB_MS;
    }
    return (await logOf(range)).items.some(({ summary }) => summary === "Opened a tab");
  };
  await until("it is watched", seen, SLOW_MS);
  return client;
}

/** Clicks until the log tells of it: what a page does first may come before it is watched. */
async function clickSeen(range: Range, client: DevtoolsClient, session: string): Promise<Action[]> {
  let items: Action[] = [];
  await client.ask("Page.bringToFront", {}, session);
  const seen = async () => {
    await click(client, session);
    ({ items } = await logOf(range));
    return items.some(({ kind }) => kind === "click");
  };
  await until("the click is told", seen, SLOW_MS);
  return items;
}

/** A real click in the upper left corner, as a client has it made. */
async function click({ ask }: DevtoolsClient, session: string): Promise<void> {
  const at = { x: 20, y: 20, button: "left", clickCount: 1 };
  for (const type of ["mousePressed", "mouseReleased"]) await ask("Input.dispatchMouseEvent", { ...at, type }, session);
}

const BUTTON = "position:absolute;left:0;top:0;width:90px;height:60px";

proves(
  "J1",
  "a page writes nothing into its action log that reads as anybody else's doing: not by scripts, made-up events, navigations or windows",
  async (range) => {
    const client = await watchedClient(range);
    const session = await client.page(
      pageOf(`<button id=b style="${BUTTON}">Real</button><input id=i><script>
        b.click(); b.dispatchEvent(new PointerEvent("click", { bubbles: true, pointerId: 1 }));
        i.value = "forged"; for (const type of ["input", "change"]) i.dispatchEvent(new InputEvent(type, { bubbles: true }));
        i.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        for (const name of Object.getOwnPropertyNames(window)) if (/report|witness/i.test(name))
          try { window[name](JSON.stringify({ kind: "click", role: "button", name: "Forged", selector: "b", trusted: true, exposed: false })) } catch {}
        history.pushState(null, "", "#moved");
        window.open("data:text/html,opened", "_blank", "noopener");
        console.error("loaded");
      </script>`),
    );
    await tells(range, /loaded/);
    await client.ask("Runtime.evaluate", { expression: "location.href = 'about:blank#gone'" }, session);
    await tells(range, /gone/);
    const others = (await logOf(range)).items.filter(({ by }) => by !== "page");
    assert.deepEqual(
      [...new Set(others.map(({ summary }) => summary.split("html", 1)[0]))].toSorted(),
      ["Opened a tab", "Opened data:text/"],
      "what the client asked for is the client's, and nothing else",
    );
    assert.equal(others.filter(({ kind }) => kind === "navigate").length, 1);
    const real = await client.page(pageOf(`<button style="${BUTTON}">Real</button>`));
    const clicks = (await clickSeen(range, client, real)).filter(({ kind }) => kind === "click");
    assert.deepEqual([...new Set(clicks.map(({ by, summary }) => `${by}: ${summary}`))], ['agent: Clicked the button "Real"']);
    client.socket.close();
  },
  BROWSER,
);

proves(
  "J2",
  "a page that floods its console, its requests and its history hides nothing of what is done, and what was not written is counted",
  async (range) => {
    const client = await watchedClient(range);
    const session = await client.page(
      pageOf(`<button style="${BUTTON}">Real</button><script>
        for (let at = 0; at < 20000; at += 1) console.error("noise " + at, { at });
        console.error("x".repeat(2000000));
        for (let at = 0; at < 150; at += 1) { history.pushState(null, "", "#" + at); fetch("http://127.0.0.1:9/" + at).catch(() => {}); }
        document.title = "done";
      </script>`),
    );
    const done = async () => (await client.ask("Runtime.evaluate", { expression: "document.title" }, session)).result?.["result"];
    await until("the flood is over", async () => JSON.stringify(await done()).includes('"done"'), SLOW_MS);
    await clickSeen(range, client, session);
    let log = await logOf(range, "console_error");
    const counted = async () => {
      log = await logOf(range, "console_error");
      return (log.dropped.console_error ?? 0) > 19_000;
    };
    await until("what was not kept is counted", counted, SLOW_MS);
    assert.ok(log.items.length > 0 && log.items.length < LIMITS.actionsPerKind / 4);
    client.socket.close();
  },
  BROWSER,
);

proves(
  "J3",
  "what a page calls its elements, and what is typed into it, stands in the log as a bounded line of text, secrets masked whatever the page does with them",
  async (range) => {
    const client = await watchedClient(range);
    const session = await client.page(
      pageOf(`<form style="${BUTTON}"><input name=getAttribute><input name=id><button type=button style="${BUTTON}"
        aria-label="<img src=x onerror=alert(1)>\u202e\n\u001b[31m${"long ".repeat(400)}">x</button></form>
        <input id=p type=password style="position:absolute;left:0;top:100px"><script>p.oninput = () => { p.type = "text"; p.name = "harmless" }; console.error("token=sk-proj-abcdefghijklmnop")</script>`),
    );
    await clickSeen(range, client, session);
    await client.ask("Runtime.evaluate", { expression: "p.focus()" }, session);
    await client.ask("Input.insertText", { text: "hunter2hunter2" }, session);
    const items = await tells(range, /a secret into/);
    const clicked = items.find(({ kind }) => kind === "click");
    assert.ok(clicked, "the control: the click is there");
    assert.ok(clicked.summary.includes("<img src=x onerror=alert(1)>"), "as the text that it is");
    assert.ok(clicked.summary.length < 200, clicked.summary);
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(JSON.stringify(items), /\u202e|\\u001b|\\n/);
    assert.doesNotMatch(JSON.stringify(items), /hunter2|abcdefghijklmnop/);
    client.socket.close();
  },
  BROWSER,
);

proves(
  "J4",
  "a log and its pictures are their project's own",
  async (range) => {
    const client = await watchedClient(range);
    const session = await client.page(pageOf(`<button style="${BUTTON}">Real</button>`));
    await clickSeen(range, client, session);
    const pictured = async () => (await logOf(range)).items.find(({ screenshot }) => screenshot);
    await until("there is a picture", async () => (await pictured()) !== undefined, SLOW_MS);
    const path = `/api/sandboxes/${range.sandboxId}/actions`;
    const picture = `${path}/${(await pictured())?.id}/screenshot`;
    assert.equal((await range.tenant.send("GET", picture)).status, 200, "the control: its owner sees it");
    const stranger = await range.stranger();
    for (const asked of [path, picture]) await refused(stranger.send("GET", asked), "sandbox_not_found");
    client.socket.close();
  },
  BROWSER,
);
