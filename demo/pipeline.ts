/**
 * A sales pipeline of real shape, the same for the same seed: 20,000 deals over eighteen months up to `PIPELINE_END`,
 * sizes skewed as deals are, stages and silence that belong together, and the untidiness of a table that many hands
 * have kept: empty cells, dates in four forms, amounts with signs and separators, names with commas, quotes and line
 * ends, stages in two spellings, rows that stand there twice.
 */
export const PIPELINE_SEED = 20_260_630;
export const PIPELINE_END = "2026-06-30";
export const PIPELINE_DEALS = 20_000;

const COLUMNS = ["id", "account", "owner", "stage", "amount", "currency", "created", "last_touched", "close_date", "probability", "region"];
const OWNERS = [
  "Amara Okafor",
  "Ben Lindqvist",
  "Chen Wei",
  "Dolores O'Neill",
  "Emil Sørensen",
  "Fatima Zahra",
  "Goran Petrović",
  "Hana Kim",
  "Iván Núñez",
  "Jo Park",
];
const STAGES = ["Prospecting", "Qualification", "Proposal", "Negotiation", "Closed Won", "Closed Lost"] as const;
const PROBABILITY: Record<string, number> = {
  Prospecting: 10,
  Qualification: 25,
  Proposal: 50,
  Negotiation: 75,
  "Closed Won": 100,
  "Closed Lost": 0,
};
const REGIONS = ["EMEA", "AMER", "APAC", "LATAM"];
const CURRENCIES = ["EUR", "USD", "GBP", "CNY"];
const FIRST = [
  "Northwind",
  "Blue Harbour",
  "Alder & Finch",
  "Kestrel",
  "Großmann",
  "Lumière",
  "Sakura",
  "Vista",
  "Ironbridge",
  "Delta",
  "Quill",
  "Terra Nova",
];
const SECOND = ["Logistics", "Foods", "Health", "Robotics", "Textiles", "Energy", "Partners", "Systems", "Mills", "Labs"];
const LEGAL = [", Inc.", " GmbH", " Ltd", " S.A.", " AG", ' "Holdings"', ""];

const DAY_MS = 86_400_000;

/** The table as CSV, line by line, its heading first. */
export function* pipelineLines(seed: number = PIPELINE_SEED, deals: number = PIPELINE_DEALS): Generator<string, void> {
  const random = newRandom(seed);
  yield `${COLUMNS.join(",")}\r\n`;
  for (let number = 1; number <= deals; number += 1) {
    const line = `${dealOf(number, random).map(quoted).join(",")}\r\n`;
    yield line;
    // Imports run twice: here and there a row repeats, and counts as no deal of its own.
    if (random.chance(0.002)) yield line;
  }
}

function dealOf(number: number, random: Random): string[] {
  const endMs = Date.parse(PIPELINE_END);
  const ageDays = Math.floor(random.skewed() * 540);
  const stage = random.pick(ageDays > 120 ? STAGES : STAGES.slice(0, 5));
  // Young deals are touched often; old open ones are where silence gathers.
  const quietDays = Math.min(ageDays, Math.floor(random.skewed() * (ageDays > 60 ? 90 : 25)));
  const created = endMs - ageDays * DAY_MS;
  const touched = endMs - quietDays * DAY_MS;
  const closes = created + Math.floor(30 + random.next() * 180) * DAY_MS;
  const amount = Math.round(Math.exp(7.5 + random.bell() * 1.4) * 100) / 100;
  const account = random.pick(FIRST) + (random.chance(0.004) ? "\n" : " ") + random.pick(SECOND) + random.pick(LEGAL);
  const probability = PROBABILITY[stage] ?? 0;
  return [
    `D-${String(number).padStart(6, "0")}`,
    account,
    random.chance(0.01) ? "" : random.pick(OWNERS) + (random.chance(0.02) ? " " : ""),
    random.chance(0.03) ? stage.toLowerCase() : stage,
    amountText(amount, random),
    random.chance(0.005) ? "" : random.pick(CURRENCIES),
    dateText(created, random),
    random.chance(0.008) ? random.pick(["", "", "n/a", "tbd"]) : dateText(touched, random),
    random.chance(0.05) ? "" : dateText(closes, random),
    random.chance(0.04) ? `${probability}%` : String(probability / 100),
    random.chance(0.02) ? "" : random.pick(REGIONS),
  ];
}

function amountText(amount: number, random: Random): string {
  if (random.chance(0.012)) return "";
  const grouped = amount.toLocaleString("en-US", { minimumFractionDigits: 2 });
  if (random.chance(0.03)) return grouped;
  if (random.chance(0.01)) return `$${grouped}`;
  return amount.toFixed(2);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function dateText(ms: number, random: Random): string {
  const iso = new Date(ms).toISOString().slice(0, 10);
  const [year = "", month = "", day = ""] = iso.split("-");
  const form = random.next();
  if (form < 0.94) return iso;
  if (form < 0.96) return `${iso}T${String(Math.floor(random.next() * 24)).padStart(2, "0")}:15:00`;
  if (form < 0.98) return `${year}/${month}/${day}`;
  return `${day} ${MONTHS[Number(month) - 1]} ${year}`;
}

function quoted(value: string): string {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}

type Random = ReturnType<typeof newRandom>;

/** Numbers that look random and are the same for the same seed (a 32-bit mixing generator). */
function newRandom(seed: number) {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    chance: (share: number): boolean => next() < share,
    pick: <T>(from: readonly T[]): T => from[Math.floor(next() * from.length)] as T,
    /** Nearer to 0 than to 1. */
    skewed: (): number => next() * next(),
    /** Around 0, seldom beyond 3. */
    bell: (): number => (next() + next() + next() + next() - 2) * 1.75,
  };
}
