import assert from "node:assert/strict";
import { test } from "node:test";
import type { TicketPurpose } from "#contract/ticket.ts";
import { LIMITS as BOUNDS } from "#contract/limits.ts";
import { createSandbox, endSandbox } from "#core/sandboxes.ts";
import { collectTickets, createTicket, deleteTicket, listTickets, openPage, renewPage, useTicket } from "#core/tickets.ts";
import { purposesOf } from "#gateway/tickets.ts";
import { CORE_LIMITS as LIMITS, type Core, openCore, projectOf, shuffle, spec } from "#support/core.ts";
import { isProblem } from "#support/problem.ts";

const ONE = projectOf("p1");
const OTHER = projectOf("p2");
const refused = isProblem("ticket_not_valid");

async function open(): Promise<Core> {
  const core = openCore();
  await core.platform.tables.put("projects", ONE.id, ONE);
  for (const id of ["mine-1", "mine-2"]) await createSandbox(core.platform, LIMITS, ONE, spec({ id }));
  return core;
}

const mint = ({ platform }: Core, purpose: TicketPurpose, lifetimeMs?: number) =>
  createTicket(platform, ONE, "mine-1", { purpose, lifetimeMs });
const use = ({ platform }: Core, text: string, purpose: TicketPurpose, sandboxId = "mine-1") =>
  useTicket(platform, text, { sandboxId, purposes: [purpose] });

test("a ticket opens its sandbox for its purpose, in the name of its project, and only once", async () => {
  const core = await open();
  const { ticket, path, uses } = await mint(core, "terminal");
  assert.equal(uses, "once");
  assert.equal(path, `/sandboxes/mine-1/terminal#ticket=${ticket}`);
  const principal = await use(core, ticket, "terminal");
  const bearer = ticket.split(".")[2];
  assert.deepEqual(principal, {
    project: ONE,
    accessKeyId: "ticket",
    root: false,
    scope: { sandboxId: "mine-1" },
    purpose: "terminal",
    bearer,
  });
  await assert.rejects(use(core, ticket, "terminal"), refused);
  assert.deepEqual(await listTickets(core.platform, ONE, "mine-1"), { items: [] });
});

test("of ten who use one ticket at the same time exactly one gets in", async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const core = await open();
    const { ticket } = await mint(core, "view:control");
    shuffle(core, seed);
    const results = await Promise.allSettled(Array.from({ length: 10 }, () => use(core, ticket, "view:control")));
    assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1, `seed ${seed}`);
  }
});

test("another purpose, sandbox, letter or time is refused alike, and leaves the ticket good", async () => {
  const core = await open();
  const { ticket } = await mint(core, "view:watch", 5000);
  const [head = "", ...rest] = ticket.split(".");
  const forged = [
    `${ticket}x`,
    ticket.slice(0, -1),
    `${ticket.slice(0, -1)}${ticket.endsWith("A") ? "B" : "A"}`,
    ["crk_p2", ...rest].join("."),
    [head, "mine-2", ...rest.slice(1)].join("."),
    "",
    "crk_",
    "../../x",
  ];
  for (const text of forged) await assert.rejects(use(core, text, "view:watch"), refused, text);
  await assert.rejects(use(core, ticket, "view:control"), refused);
  await assert.rejects(use(core, ticket, "terminal"), refused);
  await assert.rejects(use(core, ticket, "view:watch", "mine-2"), refused);
  assert.equal((await use(core, ticket, "view:watch")).purpose, "view:watch");
  const late = await mint(core, "view:watch", 5000);
  core.clock.advance(5000);
  await assert.rejects(use(core, late.ticket, "view:watch"), refused);
});

test("a port's ticket is good many times, for that port, until it is revoked", async () => {
  const core = await open();
  const made = await mint(core, "port:3000");
  assert.equal(made.uses, "many");
  assert.equal(made.path, `/p/${made.ticket}/`);
  for (let time = 0; time < 3; time += 1) await use(core, made.ticket, "port:3000");
  await assert.rejects(use(core, made.ticket, "port:3001"), refused);
  assert.deepEqual(
    (await listTickets(core.platform, ONE, "mine-1")).items.map(({ id }) => id),
    [made.id],
  );
  await assert.rejects(deleteTicket(core.platform, OTHER, "mine-1", made.id), isProblem("sandbox_not_found"));
  await use(core, made.ticket, "port:3000");
  await deleteTicket(core.platform, ONE, "mine-1", made.id);
  await deleteTicket(core.platform, ONE, "mine-1", made.id);
  await assert.rejects(use(core, made.ticket, "port:3000"), refused);
});

test("a page gets new tickets of its own purpose for as long as it renews, and its session opens nothing by itself", async () => {
  const core = await open();
  const { ticket } = await mint(core, "terminal");
  const page = await openPage(core.platform, ticket);
  await assert.rejects(openPage(core.platform, ticket), refused);
  assert.equal(page.purpose, "terminal");
  await use(core, page.ticket, "terminal");
  await assert.rejects(use(core, page.session, "terminal"), refused);
  await assert.rejects(openPage(core.platform, page.session), refused);
  await assert.rejects(renewPage(core.platform, page.ticket), refused);
  for (let time = 0; time < 4; time += 1) {
    core.clock.advance(BOUNDS.pageSessionMs - 1);
    await use(core, (await renewPage(core.platform, page.session)).ticket, "terminal");
  }
  core.clock.advance(BOUNDS.pageSessionMs);
  await assert.rejects(renewPage(core.platform, page.session), refused);
});

test("a page's session is revoked like a ticket, and says so when its sandbox has ended", async () => {
  const core = await open();
  const [first, second] = await Promise.all([1, 2].map(async () => openPage(core.platform, (await mint(core, "terminal")).ticket)));
  assert.ok(first && second);
  const pages = (await listTickets(core.platform, ONE, "mine-1")).items.filter(({ uses }) => uses === "page");
  assert.equal(pages.length, 2);
  await deleteTicket(core.platform, ONE, "mine-1", first.session.split(".")[2] ?? "");
  await assert.rejects(renewPage(core.platform, first.session), refused);
  await endSandbox(core.platform, ONE, "mine-1", "idle");
  await assert.rejects(renewPage(core.platform, second.session), isProblem("sandbox_ended"));
  await assert.rejects(mint(core, "terminal"), isProblem("sandbox_ended"));
});

test("tickets are bounded for each sandbox, and what has expired is collected", async () => {
  const core = await open();
  for (let made = 0; made < BOUNDS.ticketsPerSandbox; made += 1) await mint(core, "terminal", 1000);
  await assert.rejects(mint(core, "terminal"), isProblem("quota_exceeded"));
  core.clock.advance(1001);
  await mint(core, "terminal", 60_000);
  assert.equal(await collectTickets(core.platform, 500), BOUNDS.ticketsPerSandbox);
  assert.equal((await core.platform.tables.range("tickets", "", { limit: 500 })).length, 1);
  assert.equal(await collectTickets(core.platform, 500), 0);
});

test("a session that was renewed outlives the moment at which it was first to be collected", async () => {
  const core = await open();
  const { session } = await openPage(core.platform, (await mint(core, "view:watch")).ticket);
  core.clock.advance(BOUNDS.pageSessionMs - 1);
  await renewPage(core.platform, session);
  core.clock.advance(2);
  assert.ok((await collectTickets(core.platform, 500)) > 0);
  await renewPage(core.platform, session);
});

test("a path is opened by the purposes that it is for, spelled as it is", () => {
  assert.deepEqual(purposesOf("/processes/tty?protocol=json"), ["terminal"]);
  assert.deepEqual(purposesOf("/ws/liveview"), ["view:watch", "view:control"]);
  assert.deepEqual(purposesOf("/ports/3000"), ["port:3000"]);
  assert.deepEqual(purposesOf("/ports/65535/a/b?c"), ["port:65535"]);
  for (const path of [
    "/files",
    "/processes",
    "//processes/tty",
    "/processes/tty/",
    "/ports/",
    "/ports/03000/",
    "/ports/3000x/",
    "/ports/%33000/",
  ])
    assert.deepEqual(purposesOf(path), [], path);
});
