/** A day, week, month or year that a text means, in UTC. `years` are those of a month that was named without one. */
export interface Span {
  unit: "day" | "month" | "year" | "monthOfAnyYear";
  atMs: number;
  days: number;
}

const DAY_MS = 86_400_000;
const MONTHS = "january february march april may june july august september october november december".split(" ");
const WEEKDAYS = "sunday monday tuesday wednesday thursday friday saturday".split(" ");
const MONTH = `(${MONTHS.map((name) => `${name}|${name.slice(0, 3)}\\.?`).join("|")}|sept\\.?)`;
const NUMBERS: Record<string, number> = {
  a: 1,
  an: 1,
  one: 1,
  two: 2,
  three: 3,
  four: 4,
  five: 5,
  six: 6,
  seven: 7,
  eight: 8,
  nine: 9,
  ten: 10,
  few: 3,
  couple: 2,
};
const MOST_SPANS = 16;
const READ_CHARS = 10_000;

type Rule = [RegExp, (match: RegExpMatchArray, now: Date) => Span | undefined];

/** What a text says of time, some of it relative to a moment: at most a few, and nothing of what is no date. */
export function spansIn(text: string, atMs: number): Span[] {
  const now = new Date(atMs);
  let rest = text.slice(0, READ_CHARS).normalize("NFKC").toLowerCase();
  const spans: Span[] = [];
  for (const [pattern, read] of RULES)
    rest = rest.replaceAll(pattern, (...found) => {
      const match = found.filter((part) => typeof part === "string" || part === undefined) as unknown as RegExpMatchArray;
      const span = spans.length < MOST_SPANS ? read(match, now) : undefined;
      if (!span || Number.isNaN(span.atMs)) return match[0] ?? "";
      spans.push(span);
      return " ";
    });
  return spans;
}

/** The words by which a moment, or a span that a text names, is found. A span that is looked for is found at its own size. */
export function dateWords(span: Span, looked: "kept" | "asked"): string[] {
  const [yyyy = "", mm = ""] = iso(span.atMs).split("-");
  if (span.unit === "monthOfAnyYear") return [`@-${mm}`];
  if (span.unit === "year") return [`@${yyyy}`];
  const ofMonth = looked === "kept" ? [`@${yyyy}-${mm}`, `@-${mm}`, `@${yyyy}`] : [`@${yyyy}-${mm}`];
  if (span.unit === "month") return ofMonth;
  const days = Array.from({ length: span.days }, (_, at) => `@${iso(span.atMs + at * DAY_MS)}`);
  return looked === "kept" ? [...days, ...ofMonth] : days;
}

/** The moment itself, as a span. */
export function dayOf(atMs: number): Span {
  return { unit: "day", atMs: Math.floor(atMs / DAY_MS) * DAY_MS, days: 1 };
}

function iso(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10);
}

function day(inYear: number, inMonth: number, date: number, days = 1): Span | undefined {
  const atMs = Date.UTC(inYear, inMonth, date);
  const made = new Date(atMs);
  return inYear > 0 &&
    inYear < 9999 &&
    Number.isFinite(atMs) &&
    (days > 1 || (made.getUTCDate() === date && made.getUTCMonth() === inMonth))
    ? { unit: "day", atMs, days }
    : undefined;
}

function month(inYear: number, index: number): Span | undefined {
  const atMs = Date.UTC(inYear, index, 1);
  return inYear > 0 && inYear < 9999 && Number.isFinite(atMs) ? { unit: "month", atMs, days: 30 } : undefined;
}

function year(number: number): Span | undefined {
  return number > 0 && number < 9999 ? { unit: "year", atMs: Date.UTC(number, 0, 1), days: 365 } : undefined;
}

/** A day by how many days it is from a moment; a week is the Monday before and the six days after. */
function fromNow(now: Date, days: number): Span | undefined {
  return (
    day(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + days, 2) && {
      unit: "day",
      atMs: dayOf(now.getTime()).atMs + days * DAY_MS,
      days: 1,
    }
  );
}

function week(now: Date, weeks: number): Span {
  const monday = dayOf(now.getTime()).atMs - ((now.getUTCDay() + 6) % 7) * DAY_MS;
  return { unit: "day", atMs: monday + weeks * 7 * DAY_MS, days: 7 };
}

function unitsAway(now: Date, unit: string, count: number): Span | undefined {
  if (Math.abs(count) > 1000) return undefined;
  if (unit.startsWith("day")) return fromNow(now, count);
  if (unit.startsWith("week")) return week(now, count);
  if (unit.startsWith("month")) return month(now.getUTCFullYear(), now.getUTCMonth() + count);
  return year(now.getUTCFullYear() + count);
}

function monthIndex(name: string | undefined): number {
  return MONTHS.findIndex((one) => one.startsWith((name ?? "").slice(0, 3)));
}

const STEP: Record<string, number> = {
  last: -1,
  past: -1,
  previous: -1,
  this: 0,
  next: 1,
  coming: 1,
  上: -1,
  这: 0,
  本: 0,
  下: 1,
  先: -1,
  今: 0,
  来: 1,
};

/** A weekday nearest before the moment, or after it with `next`. */
function weekday(now: Date, name: string, step: number): Span | undefined {
  const back = (now.getUTCDay() - WEEKDAYS.indexOf(name) + 7) % 7;
  return fromNow(now, step > 0 ? 7 - back : back === 0 ? (step < 0 ? -7 : 0) : -back);
}

const WORDS = Object.keys(NUMBERS).join("|");

// The longer forms come first; what one has read is gone for the next.
const RULES: Rule[] = [
  [/\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b/g, ([, y, m, d]) => day(Number(y), Number(m) - 1, Number(d))],
  [/(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]/g, ([, y, m, d]) => day(Number(y), Number(m) - 1, Number(d))],
  [/(\d{4})\s*年\s*(\d{1,2})\s*月/g, ([, y, m]) => month(Number(y), Number(m) - 1)],
  [/(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]/g, ([, m, d], now) => day(now.getUTCFullYear(), Number(m) - 1, Number(d))],
  [/(\d{4})\s*年/g, ([, y]) => year(Number(y))],
  [
    new RegExp(`\\b(\\d{1,2})(?:st|nd|rd|th)?(?: of)? ${MONTH},? (\\d{4})\\b`, "g"),
    ([, d, m, y]) => day(Number(y), monthIndex(m), Number(d)),
  ],
  [new RegExp(`\\b${MONTH} (\\d{1,2})(?:st|nd|rd|th)?,? (\\d{4})\\b`, "g"), ([, m, d, y]) => day(Number(y), monthIndex(m), Number(d))],
  [new RegExp(`\\b${MONTH},? (?:of )?(\\d{4})\\b`, "g"), ([, m, y]) => month(Number(y), monthIndex(m))],
  [/\b(\d{4})-(0[1-9]|1[0-2])\b(?!-)/g, ([, y, m]) => month(Number(y), Number(m) - 1)],
  [
    new RegExp(`\\b(\\d{1,2})(?:st|nd|rd|th)?(?: of)? ${MONTH}(?=\\W|$)`, "g"),
    ([, d, m], now) => day(now.getUTCFullYear(), monthIndex(m), Number(d)),
  ],
  [
    new RegExp(`\\b${MONTH} (\\d{1,2})(?:st|nd|rd|th)?(?=\\W|$)`, "g"),
    ([, m, d], now) => day(now.getUTCFullYear(), monthIndex(m), Number(d)),
  ],
  [
    new RegExp(`\\b(?:in|since|of|during|by|until|before|after|early|late|mid|last|this|next) ${MONTH}(?=\\W|$)`, "g"),
    ([, m], now) => ({ unit: "monthOfAnyYear", atMs: Date.UTC(now.getUTCFullYear(), monthIndex(m), 1), days: 30 }),
  ],
  [/\b(?:the )?day before yesterday\b|前天|一昨日|おととい/g, (_, now) => fromNow(now, -2)],
  [/\b(?:the )?day after tomorrow\b|后天|明後日/g, (_, now) => fromNow(now, 2)],
  [/\byesterday\b|\blast night\b|昨天|昨日|昨晚|きのう/g, (_, now) => fromNow(now, -1)],
  [/\btomorrow\b|明天|明日/g, (_, now) => fromNow(now, 1)],
  [/\btoday\b|\btonight\b|\bthis (?:morning|afternoon|evening)\b|今天|今日/g, (_, now) => fromNow(now, 0)],
  [
    new RegExp(`\\b(\\d{1,3}|${WORDS})(?: of)? (days?|weeks?|months?|years?) (?:ago|earlier|back)\\b`, "g"),
    ([, n, unit], now) => unitsAway(now, unit ?? "", -(NUMBERS[n ?? ""] ?? Number(n))),
  ],
  [
    /\b(last|past|previous|this|next|coming) weekend\b/g,
    ([, step], now) => {
      const { atMs } = week(now, STEP[step ?? ""] ?? 0);
      return { unit: "day", atMs: atMs + 5 * DAY_MS, days: 2 };
    },
  ],
  [
    /\b(last|past|previous|this|next|coming) (week|month|year)\b/g,
    ([, step, unit], now) => unitsAway(now, unit ?? "", STEP[step ?? ""] ?? 0),
  ],
  [/(上|这|本|下)个?(?:周|星期)|(先|今|来)週/g, ([, zh, ja], now) => unitsAway(now, "week", STEP[zh ?? ja ?? ""] ?? 0)],
  [/(上|这|本|下)个?月|(先|今|来)月/g, ([, zh, ja], now) => unitsAway(now, "month", STEP[zh ?? ja ?? ""] ?? 0)],
  [/去年|昨年/g, (_, now) => year(now.getUTCFullYear() - 1)],
  [/今年/g, (_, now) => year(now.getUTCFullYear())],
  [/明年|来年/g, (_, now) => year(now.getUTCFullYear() + 1)],
  [
    new RegExp(`\\b(?:(last|past|this|next|on) )(${WEEKDAYS.join("|")})\\b`, "g"),
    ([, step, name], now) => weekday(now, name ?? "", STEP[step ?? ""] ?? 0),
  ],
  [/\b(?:in|since|of|during|by|until|before|after|year) ((?:19|20)\d{2})\b/g, ([, y]) => year(Number(y))],
];
