import { readFileSync } from "node:fs";

const CASE = /\b[A-Z]\d{1,2}[a-z]?\b/g;

/** A promise of the threat model, and the cases that prove it. */
export interface Claim {
  claim: string;
  cases: string[];
}

/** Rows of the threat model's table: `| claim-id | what is claimed | cases |`. */
export function claims(): Claim[] {
  const rows = readFileSync("docs/threat-model.md", "utf8").matchAll(/^\|\s*`([a-z.-]+)`\s*\|.*\|([^|]*)\|$/gm);
  return [...rows].map((row) => ({ claim: row[1] ?? "", cases: [...(row[2] ?? "").matchAll(CASE)].map((match) => match[0]) }));
}

/** How the attack of a case ended; `why` is there when it was skipped. */
export interface Proof {
  title: string;
  outcome: "passed" | "failed" | "skipped";
  why?: string;
}

/** The threat model as it was just proven, line by line: claim, case, how it ended and what it promises. */
export function claimTable(proofs: ReadonlyMap<string, Proof>): string {
  const rows = claims().flatMap(({ claim, cases }) =>
    cases.map((id) => {
      const { title, outcome, why } = proofs.get(id) ?? { title: "", outcome: "did not run" };
      return [claim, id, outcome, why === undefined ? title : `${title} (${why})`];
    }),
  );
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return [line(["claim", "case", "", "what is promised"]), ...rows.map(line)].map((text) => text.trimEnd()).join("\n");
}
