import { type Currency, METERS, type Meter, type UsageLine } from "#contract/usage.ts";
import { Problem } from "#contract/problem.ts";
import type { Quantities } from "./quantities.ts";

/** Billionths of a currency's unit: what prices and amounts are kept in. */
type Nanos = bigint;
const NANO = 1_000_000_000n;

/** What one unit of a meter costs from a moment on. Meters that it does not name are measured and cost nothing. */
interface PriceTable {
  version: string;
  fromMs: number;
  perUnit: Partial<Record<Meter, Record<Currency, Nanos>>>;
}

/**
 * Function Compute's own units: one CU is a vCPU-second awake, 0.15 CU a GB-second of memory awake and a tenth of that
 * while it rests, 0.05 CU a GB-second of disk beyond 512 MB, 0.0075 CU a call. Its first tier asks 0.00002 USD or
 * 0.00011 CNY for one CU.
 */
const CU: Record<Currency, Nanos> = { USD: 20_000n, CNY: 110_000n };
const inCu = (tenThousandths: bigint): Record<Currency, Nanos> => ({
  USD: (CU.USD * tenThousandths) / 10_000n,
  CNY: (CU.CNY * tenThousandths) / 10_000n,
});

/** The newest last. A version is never changed: rows of the past name it. */
const TABLES: readonly [PriceTable, ...PriceTable[]] = [
  {
    version: "fc-2026-11",
    fromMs: 0,
    perUnit: {
      cpu_allocated: inCu(10_000n),
      memory_allocated: inCu(1_500n),
      memory_paused: inCu(150n),
      disk: inCu(500n),
      requests: inCu(75n),
    },
  },
];

/** The version of the prices that holds at a moment. */
export function pricesAt(nowMs: number): string {
  return (TABLES.findLast(({ fromMs }) => fromMs <= nowMs) ?? TABLES[0]).version;
}

/** What so much of a meter costs, in billionths, rounded once. */
export function costOf(version: string, meter: Meter, quantity: bigint, currency: Currency): Nanos {
  const price = priceOf(version, meter, currency);
  const per = BigInt(METERS[meter].per);
  return price === undefined ? 0n : (quantity * price + per / 2n) / per;
}

/** The lines of a bill, and what they come to. */
export function billOf(used: ReadonlyMap<string, Quantities<bigint>>, currency: Currency): { lines: UsageLine[]; nanos: Nanos } {
  const lines: UsageLine[] = [];
  let nanos = 0n;
  for (const [version, quantities] of [...used].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    for (const meter of Object.keys(METERS) as Meter[]) {
      const quantity = quantities[meter] ?? 0n;
      if (quantity === 0n) continue;
      const cost = costOf(version, meter, quantity, currency);
      const price = priceOf(version, meter, currency);
      nanos += cost;
      lines.push({
        meter,
        unit: METERS[meter].unit,
        quantity: Number(quantity) / METERS[meter].per,
        prices: version,
        ...(price === undefined ? {} : { unitPrice: decimal(price) }),
        amount: decimal(cost),
      });
    }
  }
  return { lines, nanos };
}

export function nanosOf(amount: string): Nanos {
  const [whole = "0", fraction = ""] = amount.split(".");
  return BigInt(whole) * NANO + BigInt(fraction.padEnd(9, "0"));
}

export function decimal(nanos: Nanos): string {
  const fraction = String(nanos % NANO)
    .padStart(9, "0")
    .replace(/0+$/, "");
  return `${nanos / NANO}${fraction === "" ? "" : `.${fraction}`}`;
}

function priceOf(version: string, meter: Meter, currency: Currency): Nanos | undefined {
  const table = TABLES.find((one) => one.version === version);
  if (!table) throw new Problem("internal", { detail: `No price table ${version} is known` });
  return table.perUnit[meter]?.[currency];
}
