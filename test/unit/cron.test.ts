import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "#contract/problem.ts";
import { readCron } from "#infra/local/compute/cron.ts";

const AT = Date.parse("2026-11-22T10:20:30.500Z");
const next = (expression: string, after = AT) => new Date(readCron(expression)(after)).toISOString();

test("an interval counts from the moment before", () => {
  assert.equal(next("@every 1m"), "2026-11-22T10:21:30.500Z");
  assert.equal(next("@every 90s"), "2026-11-22T10:22:00.500Z");
  assert.equal(next("@every 2h"), "2026-11-22T12:20:30.500Z");
});

test("six fields name the next moment that matches them all", () => {
  assert.equal(next("* * * * * *"), "2026-11-22T10:20:31.000Z");
  assert.equal(next("0 */5 * * * *"), "2026-11-22T10:25:00.000Z");
  assert.equal(next("0 0 4 * * *"), "2026-11-23T04:00:00.000Z");
  assert.equal(next("0 30 9-17/4 ? * 1-5"), "2026-11-23T09:30:00.000Z");
  assert.equal(next("15,45 0 0 1 1 *"), "2027-01-01T00:00:15.000Z");
});

test("a moment that never comes is never", () => {
  assert.equal(readCron("0 0 0 31 2 *")(AT), Infinity);
});

test("what is no schedule is refused with the field that is wrong", () => {
  for (const [expression, message] of [
    ["every minute", /six fields/],
    ["@every 0s", /zero/],
    ["60 * * * * *", /no second/],
    ["* * 24 * * *", /no hour/],
    ["* * * 0 * *", /no day of month/],
    ["* * * * JAN *", /no month/],
    ["* 5-1 * * * *", /no minute/],
    ["* */0 * * * *", /no minute/],
  ] as const) {
    assert.throws(
      () => readCron(expression),
      (error) => error instanceof Problem && error.code === "invalid_request" && message.test(error.message),
      expression,
    );
  }
});
