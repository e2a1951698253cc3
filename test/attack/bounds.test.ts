import assert from "node:assert/strict";
import { Sandbox } from "#contract/sandbox.ts";
import { newTenant } from "#support/door.ts";
import { answers, attempts, outside, proves } from "#support/range.ts";
import { times } from "#support/times.ts";
import { until } from "#support/until.ts";
import { usageOf, worksWell } from "#support/wellbeing.ts";

/** Opens as many files as `per` for each of `processes`, which hold them until all have; says what stopped them. */
const openFiles = (processes: number, per: number) =>
  attempts(`
import resource, time
print("bound", resource.getrlimit(resource.RLIMIT_NOFILE)[1], flush=True)
def raise_bound(): resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
attempt("raise", raise_bound)
def fill(most):
    for _ in range(most): os.eventfd(0)
for _ in range(${processes}):
    if os.fork() == 0:
        try: fill(${per})
        except OSError as error: pass
        time.sleep(100); os._exit(0)
attempt("open", lambda: fill(${per}))
if ${processes}: time.sleep(100)`);

proves(
  "T22",
  "open files end at a bound for each process, and for all of them at the sandbox's memory, which pays for them",
  async (range) => {
    const { tenant, inside, neighbour } = range;
    const free = answers(await outside(openFiles(0, 1000)));
    assert.equal(free["open"], "ok", "the probe opens files where nothing stops it");
    const one = answers(await inside(openFiles(0, 100_000)));
    assert.deepEqual([one["raise"], one["open"]], ["ValueError", "EMFILE"], "not even a process that asks for it gets more");
    assert.ok(Number(one["bound"]) <= 65_536);
    await tenant.json("POST", "/api/templates", { name: "small", cpu: 0.5, memoryMiB: 512 }, 201);
    const box = await neighbour({ template: "small" });
    const before = await usageOf(range, box);
    await box.send("POST", "/processes/cmd", { command: openFiles(60, 65_000), background: true });
    // Sixty processes' worth would fill the table of a kernel as it comes, for all sandboxes and the host.
    await until(
      "the sandbox has run out of memory by open files alone",
      async () => {
        const now = Sandbox.parse(await tenant.json("GET", `/api/sandboxes/${box.sandboxId}`));
        return now.endReason === "oom" || (now.usage?.oomKills ?? 0) > before.oomKills;
      },
      60_000,
    );
    await worksWell(range);
  },
);

proves("T23", "a sandbox is asked so many things at once and no more, and nobody else waits for it", async (range) => {
  const { neighbour, send } = range;
  const leaving = new AbortController();
  // An answer that nobody holds is cut when it is collected.
  const held: Response[] = [];
  const stream = async () => {
    const answer = await fetch(`${range.door.origin}/sandboxes/${range.sandboxId}/processes/cmd`, {
      method: "POST",
      headers: { authorization: `Bearer ${range.tenant.key.apiKey}`, "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ command: "sleep 50", timeout: 60 }),
      signal: leaving.signal,
    });
    held.push(answer);
    return answer.status;
  };
  const statuses = await times(120, 20, stream);
  assert.deepEqual([statuses.filter((one) => one === 200).length, statuses.filter((one) => one === 429).length], [100, 20]);
  const refused = await send("POST", "/processes/cmd", { command: "true" });
  assert.equal(refused.status, 429);
  assert.match(refused.headers.get("retry-after") ?? "", /^[1-9]/);
  assert.equal(((await refused.json()) as { code: string }).code, "rate_limited");
  await worksWell(await neighbour());
  leaving.abort();
  await until("it can be asked again", async () => (await send("GET", "/health")).status === 200);
  await worksWell(range);
});

proves("T24", "a hundred creates at once do not overshoot a project's cores and memory", async ({ door }) => {
  const small = { cpu: 0.5, memoryMiB: 512 };
  for (const quota of [{ cpu: 2.5 }, { memoryMiB: 2560 }]) {
    const tenant = await newTenant(door, quota);
    await tenant.json("POST", "/api/templates", { name: "half", ...small }, 201);
    const create = async () => {
      const answer = await tenant.send("POST", "/api/sandboxes", { template: "half" });
      return { status: answer.status, ...((await answer.json()) as { id?: string; code?: string }) };
    };
    const made = await times(100, 100, create);
    const ids = made.flatMap(({ id }) => (id === undefined ? [] : [id]));
    assert.equal(ids.length, 5);
    for (const { status, code } of made) assert.ok(status === 201 || code === "quota_exceeded", `${status} ${code}`);
    await Promise.all(ids.map((id) => tenant.json("DELETE", `/api/sandboxes/${id}`)));
    // The control: it is the quota that stopped them, and one that ended makes room.
    assert.equal((await create()).status, 201);
  }
});
