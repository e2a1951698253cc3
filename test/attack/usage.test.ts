import assert from "node:assert/strict";
import { TaskCost } from "#contract/cost.ts";
import type { Meter } from "#contract/usage.ts";
import { openReceiver } from "#support/receiver.ts";
import { proves } from "#support/range.ts";
import { until } from "#support/until.ts";

/** A server whose answers claim to be of a length that they have not. */
const LIAR = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 8099)); s.listen()
while True:
    c, _ = s.accept()
    c.recv(65536)
    c.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 900000000000000\\r\\nusage: 999\\r\\n\\r\\n")
    c.close()
`;

proves(
  "B1",
  "a stranger and a token for one sandbox read no usage and no bill of a project",
  async ({ tenant, sandboxId, stranger, door }) => {
    const path = `/api/tasks/${sandboxId}/cost`;
    const own = await tenant.json<TaskCost>("GET", path);
    assert.equal(own.sandboxes[0]?.id, sandboxId, "the owner sees it");
    const other = await stranger();
    assert.equal((await other.send("GET", path)).status, 404);
    for (const groupBy of ["project", "task", "agent,template,day"]) {
      const text = await (await other.send("GET", `/api/usage?groupBy=${groupBy}`)).text();
      assert.doesNotMatch(text, new RegExp(`${sandboxId}|${tenant.projectId}`));
    }
    const minted = await tenant.json<{ data: { accessToken: string } }>(
      "GET",
      `/2025-09-10/agents/accessToken?resourceType=sandbox&resourceId=${sandboxId}`,
    );
    for (const asked of [path, "/api/usage", "/api/usage/settings"]) {
      const answer = await fetch(door.origin + asked, { headers: { "agentrun-access-token": minted.data.accessToken } });
      assert.equal(answer.status, 403, asked);
    }
  },
);

proves("B2", "nothing that code inside says of sizes, usage or cost is on the bill", async ({ tenant, sandboxId, inside, send }) => {
  const cost = async () => TaskCost.parse(await tenant.json("GET", `/api/tasks/${sandboxId}/cost`));
  const used = async (meter: Meter) => (await cost()).lines.find((line) => line.meter === meter)?.quantity ?? 0;
  await send("PUT", "/files/content?path=liar.py", LIAR);
  await send("POST", "/processes/cmd", JSON.stringify({ command: "exec python3 liar.py", background: true }));
  await inside("for i in $(seq 200); do (echo > /dev/tcp/127.0.0.1/8099) 2>/dev/null && break; sleep 0.1; done");
  const before = await cost();
  for (const method of ["HEAD", "GET"])
    await send(method, "/ports/8099/").then(
      (answer) => answer.arrayBuffer().catch(() => undefined),
      () => undefined,
    );
  await inside('echo \'{"usage":{"cpuMs":1e15},"cost":1e9}\'');
  const bytes = (await used("bytes_out")) * 2 ** 30;
  assert.ok(bytes < 1_000_000, `${bytes} bytes are billed`);
  assert.ok((await used("cpu_used")) < 3600);
  assert.equal(before.currency, "USD");
  // The probe works: what really passes is counted.
  await inside("head -c 3000000 /dev/zero > big.bin");
  await (await send("GET", "/files/content?path=big.bin")).arrayBuffer();
  assert.ok((await used("bytes_out")) * 2 ** 30 >= 3_000_000);
});

proves(
  "B3",
  "a webhook reaches no address of this machine, whatever its URL is called, and its secret signs what is sent",
  async (range) => {
    const { tenant, stranger } = range;
    await using receiver = await openReceiver();
    const { port } = new URL(receiver.url);
    // The probe works: who is on this machine reaches it.
    assert.equal((await fetch(receiver.url, { method: "POST", body: "{}" })).status, 200);
    const hosts = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "0.0.0.0", "169.254.169.254"];
    const made = await Promise.all(
      hosts.map((host) => tenant.json<{ id: string; url: string }>("POST", "/api/webhooks", { url: `http://${host}:${port}/` }, 201)),
    );
    await range.neighbour();
    interface Deliveries {
      items: { attempts: number; problem?: string }[];
    }
    for (const { id, url } of made) {
      const tried = async () =>
        (await tenant.json<Deliveries>("GET", `/api/webhooks/${id}/deliveries`)).items.find(({ attempts }) => attempts > 0);
      await until(`${url} was tried`, async () => (await tried()) !== undefined, 60_000);
      assert.match((await tried())?.problem ?? "", /not outside/, url);
    }
    assert.equal(receiver.got.length, 1, "only the probe came");
    const other = await stranger();
    const [first] = made;
    assert.equal((await other.send("GET", `/api/webhooks/${first?.id}/deliveries`)).status, 404);
    assert.doesNotMatch(await (await tenant.send("GET", "/api/webhooks")).text(), /whsec_/);
  },
);
