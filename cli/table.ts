import { harmless } from "./filter.ts";
import type { Style } from "./style.ts";

/** Rows under headings, columns as wide as they need; cells are made harmless, whoever wrote them. */
export function table(style: Style, headings: string[], rows: string[][]): string {
  const cells = rows.map((row) => row.map(harmless));
  const widths = headings.map((heading, at) => Math.max(heading.length, ...cells.map((row) => row[at]?.length ?? 0)));
  const line = (row: string[]) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join("  ")
      .trimEnd();
  return [style.faint(line(headings)), ...cells.map(line), ""].join("\n");
}
