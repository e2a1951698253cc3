const ROWS = 50;
const COLUMNS = 50;
const CELL_CHARS = 256;

/** The first rows of a table, each cell as text. */
export interface Table {
  columns: string[];
  rows: string[][];
  truncated: boolean;
}

/** The table that a text is, by its type; undefined when it is none. A text that was cut has its last row left out. */
export function tableOf(mediaType: string, text: string, isWhole: boolean): Table | undefined {
  switch (mediaType) {
    case "text/csv":
      return separated(text, ",", isWhole);
    case "text/tab-separated-values":
      return separated(text, "\t", isWhole);
    case "application/jsonl":
      return records(
        text
          .split("\n")
          .filter((line) => line.trim() !== "")
          .slice(0, isWhole ? ROWS + 1 : -1)
          .slice(0, ROWS + 1)
          .map(parsed),
        isWhole,
      );
    case "application/json": {
      const value = isWhole ? parsed(text) : undefined;
      return Array.isArray(value) ? records(value, true) : undefined;
    }
    default:
      return undefined;
  }
}

/** Rows of cells, quoted where they hold what separates them. Never more is read than is shown. */
function separated(text: string, by: string, isWhole: boolean): Table | undefined {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  let at = 0;
  for (; at < text.length && rows.length <= ROWS + 1; at += 1) {
    const char = text[at] ?? "";
    if (quoted) {
      if (char !== '"') cell += char;
      else if (text[at + 1] === '"') cell += text[(at += 1)] ?? "";
      else quoted = false;
    } else if (char === '"' && cell === "") quoted = true;
    else if (char === by || char === "\n") {
      row.push(cell.replace(/\r$/, ""));
      cell = "";
      if (char === by) continue;
      rows.push(row);
      row = [];
    } else cell += char;
  }
  if (isWhole && at >= text.length && (cell !== "" || row.length > 0)) rows.push([...row, cell]);
  const [columns, ...rest] = rows;
  if (!columns) return undefined;
  return bounded(columns, rest, !isWhole || rest.length > ROWS);
}

/** Objects as rows: their names are the columns, in the order in which they come. */
function records(values: unknown[], isWhole: boolean): Table | undefined {
  const objects = values.slice(0, ROWS + 1).filter((value) => typeof value === "object" && value !== null && !Array.isArray(value));
  if (objects.length === 0 || objects.length < Math.min(values.length, ROWS + 1)) return undefined;
  const columns = [...new Set(objects.flatMap((one) => Object.keys(one as object)))];
  const rows = objects.map((one) => columns.map((name) => shown((one as Record<string, unknown>)[name])));
  return bounded(columns, rows, !isWhole || values.length > ROWS);
}

function bounded(columns: string[], rows: string[][], truncated: boolean): Table {
  const cut = (cells: string[]) => cells.slice(0, COLUMNS).map((cell) => cell.slice(0, CELL_CHARS).toWellFormed());
  return { columns: cut(columns), rows: rows.slice(0, ROWS).map(cut), truncated: truncated || columns.length > COLUMNS };
}

function shown(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
