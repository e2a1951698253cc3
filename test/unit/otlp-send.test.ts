import assert from "node:assert/strict";
import { test } from "node:test";
import { sendTraces } from "#infra/otlp-send.ts";
import { isOutside } from "#infra/outside.ts";
import { openCollector } from "#support/collector.ts";

test("no address of this machine, its neighbours or the platform is outside, however it is written", () => {
  for (const address of [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.1.2.3",
    "100.100.100.200",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "224.0.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "fd00::1",
    "fe80::1",
    "x",
    "",
  ])
    assert.equal(isOutside(address), false, address);
  for (const address of ["1.1.1.1", "203.0.113.9", "2606:4700::1111"]) assert.equal(isOutside(address), true, address);
});

test("a project's collector on this machine is refused unless the operator allows it; the operator's own never is", async () => {
  await using collector = await openCollector();
  const { port } = new URL(collector.endpoint);
  for (const endpoint of [
    collector.endpoint,
    `http://localhost:${port}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
    `http://0x7f.1:${port}/`,
    `http://2130706433:${port}/`,
  ])
    await assert.rejects(sendTraces({ endpoint, headers: {}, trusted: false }, "{}", false), /not outside/, endpoint);
  assert.equal(collector.requests.length, 0);
  assert.equal(await sendTraces({ endpoint: collector.endpoint, headers: {}, trusted: true }, "{}", false), 400);
  assert.equal(await sendTraces({ endpoint: collector.endpoint, headers: {}, trusted: false }, "{}", true), 400);
  assert.equal(collector.requests.length, 2);
});
