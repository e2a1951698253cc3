import * as z from "zod";

const SEED = 20_261_122;
const RUNS = 200;

/**
 * How much is tried. Without a word from `npm run fuzz` it is what a test run can afford: the same examples each time.
 * `budgetMs` is for all properties of one file together; `only` and `path` replay one example of one property.
 */
const Settings = z.object({
  seed: z.int().default(SEED),
  runs: z.int().default(RUNS),
  budgetMs: z.number().default(0),
  only: z.string().optional(),
  path: z.string().optional(),
});
export type Settings = z.output<typeof Settings>;

export const SETTINGS_VARIABLE = "CLEANROOM_FUZZ";

export function readSettings(): Settings {
  return Settings.parse(JSON.parse(process.env[SETTINGS_VARIABLE] ?? "{}"));
}
