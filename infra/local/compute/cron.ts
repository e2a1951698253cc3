import { refusal } from "./refusals.ts";

const FIELDS = [
  { name: "second", least: 0, most: 59 },
  { name: "minute", least: 0, most: 59 },
  { name: "hour", least: 0, most: 23 },
  { name: "day of month", least: 1, most: 31 },
  { name: "month", least: 1, most: 12 },
  { name: "day of week", least: 0, most: 6 },
] as const;

const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000 };
const HORIZON_MS = 366 * 24 * 3_600_000;

/** When a timer rings next, after a moment. Times are UTC. */
export type Schedule = (after: number) => number;

/** Reads `@every 5m` or six cron fields (second first; numbers, lists, ranges and steps). */
export function readCron(expression: string): Schedule {
  const every = /^@every (\d+)(s|m|h)$/.exec(expression.trim());
  if (every) {
    const intervalMs = Number(every[1]) * (UNIT_MS[every[2] ?? "m"] ?? 60_000);
    if (intervalMs === 0) throw refusal("InvalidArgument", "cronExpression: the interval is zero");
    return (after) => after + intervalMs;
  }
  const texts = expression.trim().split(/\s+/);
  if (texts.length !== FIELDS.length)
    throw refusal("InvalidArgument", `cronExpression: expected @every N(s|m|h) or six fields, not "${expression}"`);
  const sets = FIELDS.map((field, index) => readField(texts[index] ?? "*", field));
  return (after) => nextMatch(sets, after);
}

function readField(text: string, { name, least, most }: (typeof FIELDS)[number]): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(?:\*|\?|(\d+)(?:-(\d+))?)(?:\/(\d+))?$/.exec(part);
    const from = Number(match?.[1] ?? least);
    const to = Number(match?.[2] ?? (match?.[1] === undefined || match[3] !== undefined ? most : from));
    const step = Number(match?.[3] ?? 1);
    if (!match || from < least || to > most || from > to || step === 0)
      throw refusal("InvalidArgument", `cronExpression: "${part}" is no ${name}`);
    for (let value = from; value <= to; value += step) values.add(value);
  }
  return values;
}

/** Steps over what cannot match, the largest unit first. */
function nextMatch(sets: readonly Set<number>[], after: number): number {
  const [seconds, minutes, hours, days, months, weekdays] = sets as [
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
    Set<number>,
  ];
  const at = new Date(Math.floor(after / 1000) * 1000 + 1000);
  while (at.getTime() < after + HORIZON_MS) {
    if (!months.has(at.getUTCMonth() + 1) || !days.has(at.getUTCDate()) || !weekdays.has(at.getUTCDay())) at.setUTCHours(24, 0, 0, 0);
    else if (!hours.has(at.getUTCHours())) at.setUTCHours(at.getUTCHours() + 1, 0, 0, 0);
    else if (!minutes.has(at.getUTCMinutes())) at.setUTCMinutes(at.getUTCMinutes() + 1, 0, 0);
    else if (!seconds.has(at.getUTCSeconds())) at.setUTCSeconds(at.getUTCSeconds() + 1, 0);
    else return at.getTime();
  }
  return Infinity;
}
