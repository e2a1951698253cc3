import assert from "node:assert/strict";
import type { TicketPurpose } from "#contract/ticket.ts";
import { proves, type Range } from "#support/range.ts";
import { openRfb } from "#support/rfb.ts";
import { until } from "#support/until.ts";

const SLOW_MS = 60_000;

const ticketFor = async ({ tenant, sandboxId }: Range, purpose: TicketPurpose, more: object = {}) =>
  (await tenant.json<{ ticket: string }>("POST", `/api/sandboxes/${sandboxId}/tickets`, { purpose, ...more }, 201)).ticket;

const viewUrl = ({ door, sandboxId }: Range, ticket: string, more = "") =>
  `${door.origin.replace("http", "ws")}/sandboxes/${sandboxId}/ws/liveview?ticket=${ticket}${more}`;

const refused = async (url: string) => assert.rejects(openRfb(url), /refused/);

/** A window that writes down what is typed and where it is clicked. */
async function openNotebook({ send, inside }: Range): Promise<() => Promise<string>> {
  await send("PUT", "/display", {});
  const environment = { DISPLAY: ":1" };
  // The terminal reports clicks to what runs in it, beside what is typed.
  const command = "exec xterm -e sh -c 'stty raw -echo; printf \"\\033[?1000h\"; cat > /tmp/typed'";
  await send("POST", "/processes/cmd", { command, environment, background: true });
  const focus = "DISPLAY=:1 xdotool search --class xterm && DISPLAY=:1 xdotool getwindowfocus && test -e /tmp/typed";
  await until("a window takes what is typed", async () => (await inside(focus)).exitCode === 0, SLOW_MS);
  return async () => (await inside("cat /tmp/typed")).stdout;
}

/** Everything that an RFB client can send to have something done. */
function tryEverything(view: Awaited<ReturnType<typeof openRfb>>): void {
  view.pointer(1, 640, 400);
  view.pointer(0, 640, 400);
  view.cutText("cut");
  view.type("typed");
  // The other form of a key, as QEMU has it.
  view.send(Buffer.from([255, 0, 0, 1, 0, 0, 0, 0x71, 0, 0, 0, 16, 255, 0, 0, 0, 0, 0, 0, 0x71, 0, 0, 0, 16]));
}

proves(
  "V1",
  "who has a ticket to watch sees all and moves nothing, whatever they send; with one for control the same arrives",
  async (range) => {
    const typed = await openNotebook(range);
    {
      using watcher = await openRfb(viewUrl(range, await ticketFor(range, "view:watch")));
      tryEverything(watcher);
      // What was sent before has been read once this is answered.
      await watcher.frame();
      tryEverything(watcher);
      await watcher.frame();
      assert.equal(await typed(), "");
      const { held } = await range.tenant.json<{ held: boolean }>("GET", `/api/sandboxes/${range.sandboxId}/control`);
      assert.equal(held, false);
    }
    using controller = await openRfb(viewUrl(range, await ticketFor(range, "view:control")));
    tryEverything(controller);
    await until("keys and clicks arrive", async () => /typed/.test(await typed()) && (await typed()).includes("\u001b[M"), SLOW_MS);
  },
);

proves("V2", "no header or parameter of a client's makes a watcher's view more than that", async (range) => {
  const typed = await openNotebook(range);
  const ticket = async () => ticketFor(range, "view:watch");
  for (const more of ["&purpose=view:control", "&view=control", "&ticket=x", "&Authorization=x", "&recording=false"]) {
    using view = await openRfb(viewUrl(range, await ticket(), more));
    tryEverything(view);
    await view.frame();
  }
  assert.equal(await typed(), "");
  const session = await openPageSession(range, await ticket());
  const answer = await fetch(`${range.door.origin}/api/page/control`, { method: "POST", body: JSON.stringify({ session, turn: "take" }) });
  assert.equal(answer.status, 403);
});

proves("V3", "a ticket for a view is good once, for its sandbox, until it expires; a page of another site gets no view", async (range) => {
  const { door, sandboxId } = range;
  const other = await range.neighbour();
  const ticket = await ticketFor(range, "view:control");
  {
    using view = await openRfb(viewUrl(range, ticket));
    await view.frame();
    await refused(viewUrl(range, ticket));
  }
  await refused(viewUrl({ ...range, sandboxId: other.sandboxId }, await ticketFor(range, "view:watch")));
  await refused(viewUrl(range, await ticketFor(range, "terminal")));
  const brief = await ticketFor(range, "view:watch", { lifetimeMs: 1000 });
  const expired = Date.now() + 1100;
  await until("the ticket has expired", () => Date.now() > expired);
  await refused(viewUrl(range, brief));
  const upgrade = {
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const { get } = await import("node:http");
  for (const origin of ["https://evil.example", "null"]) {
    const status = await new Promise((resolve, reject) => {
      const path = `${door.origin}/sandboxes/${sandboxId}/ws/liveview?Authorization=${range.tenant.key.apiKey}`;
      get(path, { headers: { ...upgrade, origin } }, (answer) => resolve(answer.statusCode)).on("error", reject);
    });
    assert.equal(status, 403, origin);
  }
});

proves(
  "V4",
  "of two who may have control one has it; who takes it from them by force has a key of the project, and is written down",
  async (range) => {
    const typed = await openNotebook(range);
    const { tenant, sandboxId, door } = range;
    const post = async (path: string, body: object) => {
      const answer = await fetch(door.origin + path, { method: "POST", body: JSON.stringify(body) });
      return { status: answer.status, body: (await answer.json()) as { code?: string; detail?: string; holder?: { name: string } } };
    };
    const [ada, bob] = [
      await openPageSession(range, await ticketFor(range, "view:control")),
      await openPageSession(range, await ticketFor(range, "view:control")),
    ];
    const ticketOf = async (session: string) => ((await post("/api/page/renew", { session })).body as { ticket: string }).ticket;
    using first = await openRfb(viewUrl(range, await ticketOf(ada)));
    using second = await openRfb(viewUrl(range, await ticketOf(bob)));
    assert.equal((await post("/api/page/control", { session: ada, turn: "take", name: "Ada" })).body.holder?.name, "Ada");
    const late = await post("/api/page/control", { session: bob, turn: "take", name: "Bob" });
    assert.deepEqual([late.status, late.body.code], [409, "control_held"]);
    assert.match(late.body.detail ?? "", /^Ada has had control of .* since \d{4}-/);
    assert.equal((await post("/api/page/control", { session: bob, turn: "give" })).status, 409);
    second.type("bob");
    await second.frame();
    first.type("ada");
    await until("who has control is heard", async () => (await typed()) === "ada", SLOW_MS);
    await tenant.json("POST", `/api/sandboxes/${sandboxId}/control`, { name: "the owner", force: true });
    first.type("late");
    await first.frame();
    assert.equal(await typed(), "ada");
    await tenant.json("DELETE", `/api/sandboxes/${sandboxId}/control`);
  },
);

proves(
  "V5",
  "a viewer who floods, speaks nonsense or never reads ends or waits alone: others see the screen, and the sandbox works",
  async (range) => {
    const { tenant, inside } = range;
    await openNotebook(range);
    const mine = () => `${range.door.origin.replace("http", "ws")}/k/${tenant.key.apiKey}/sandboxes/${range.sandboxId}/ws/liveview`;
    const flood = await openRfb(mine());
    // A hundred thousand requests for the whole screen, none of whose answers is read in time.
    const ask = Buffer.alloc(10 * 1000);
    for (let at = 0; at < ask.length; at += 10) ask.set([3, 0, 0, 0, 0, 0, 5, 0, 3, 32], at);
    for (let round = 0; round < 100; round += 1) flood.send(ask);
    for (const nonsense of [Buffer.from([99]), Buffer.from([6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]), Buffer.from([251, 0, 0, 0])]) {
      const view = await openRfb(mine());
      view.send(nonsense);
      await view.ended;
    }
    using other = await openRfb(mine());
    await other.frame();
    assert.equal((await inside("echo works")).stdout, "works\n");
    flood[Symbol.dispose]();
  },
);

proves(
  "V8",
  "a page's session reads the action log of its own sandbox and nothing else of it, and no ticket or token does",
  async (range) => {
    const { door, tenant, sandboxId } = range;
    const other = await range.neighbour();
    await tenant.json("POST", `/api/sandboxes/${sandboxId}/control`, { name: "Ada" });
    await tenant.json("POST", `/api/sandboxes/${other.sandboxId}/control`, { name: "Bob" });
    const ask = async (body: object, headers = {}) => {
      const answer = await fetch(`${door.origin}/api/page/actions`, { method: "POST", body: JSON.stringify(body), headers });
      return { status: answer.status, text: await answer.text() };
    };
    const session = await openPageSession(range, await ticketFor(range, "view:watch"));
    const own = await ask({ session });
    assert.equal(own.status, 200);
    assert.match(own.text, /Ada/);
    assert.doesNotMatch(own.text, /Bob/);
    for (const more of [{ sandboxId: other.sandboxId }, { after: "0" }, { limit: 1e6 }, { kind: "click" }])
      assert.equal((await ask({ session, ...more })).status, 400, JSON.stringify(more));
    // What another sandbox or project is called by does not turn one's session into theirs.
    const [head = "", of, id, secret] = session.split(".");
    assert.equal(of, sandboxId, "the control: a session names its sandbox");
    const { projectId } = await range.stranger();
    const forged = [[head, other.sandboxId, id, secret].join("."), [`crk_${projectId}`, sandboxId, id, secret].join(".")];
    const ticket = await ticketFor(range, "view:watch");
    const terminal = await openPageSession(range, await ticketFor(range, "terminal"));
    for (const wrong of [...forged, ticket, terminal, tenant.key.apiKey, "", "crk_"])
      assert.equal((await ask({ session: wrong })).status, 403, wrong);
    assert.equal((await ask({ session: "" }, { authorization: `Bearer ${tenant.key.apiKey}` })).status, 403, "nor does a key beside it");
    // It reads, and only here: the log's own routes, its pictures and the sandbox stay closed to it.
    for (const path of ["/actions", "/actions/01ARZ3NDEKTSV4RRFFQ69G5FAV/screenshot", "/control", ""])
      for (const query of [`?session=${session}`, `?ticket=${ticket}`, `?Authorization=${session}`]) {
        const url = `${door.origin}/api/sandboxes/${sandboxId}${path}${query}`;
        assert.equal((await fetch(url, { headers: { authorization: `Bearer ${session}` } })).status, 401, url);
      }
    const revoked = session.split(".")[2];
    assert.equal((await tenant.send("DELETE", `/api/sandboxes/${sandboxId}/tickets/${revoked}`)).status, 204);
    assert.equal((await ask({ session })).status, 403, "a session that was revoked");
  },
);

async function openPageSession({ door }: Range, ticket: string): Promise<string> {
  const answer = await fetch(`${door.origin}/api/page/open`, { method: "POST", body: JSON.stringify({ ticket }) });
  assert.equal(answer.status, 200);
  return ((await answer.json()) as { session: string }).session;
}
