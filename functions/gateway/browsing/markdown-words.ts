/** How text is said in Markdown. It runs in pages, alone: nothing around it travels along. */
export function markdownWords() {
  const collapse = (text: string): string => text.replace(/[\s\u200b]+/g, " ");
  const escaped = (text: string): string => text.replace(/([\\`*[\]<])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])/g, "\\$&");
  const atStart = (text: string): string =>
    text.replace(/^(#{1,6}|[-+>]|={3,}|~{3,})(?=\s|$)|^(\d{1,9})([.)])(?=\s|$)/, (all, mark, number, dot) =>
      mark === undefined ? `${number}\\${dot}` : `\\${all}`,
    );
  const address = (value: unknown): string =>
    typeof value === "string" && /^(https?|mailto|tel|ftp):/i.test(value)
      ? value.replace(/[\s<>()\\]/g, (it) => encodeURIComponent(it).replace("(", "%28").replace(")", "%29"))
      : "";
  const codeSpan = (text: string): string => {
    const said = collapse(text).trim();
    if (said === "") return "";
    const ticks = "`".repeat(Math.max(0, ...[...said.matchAll(/`+/g)].map(([run]) => run.length)) + 1);
    const pad = said.startsWith("`") || said.endsWith("`") ? " " : "";
    return ticks + pad + said + pad + ticks;
  };
  /** Puts marks around words, and leaves the spaces at their ends outside. */
  const around = (mark: string, text: string): string => {
    const [, before = "", words = "", after = ""] = /^(\s*)(.*?)(\s*)$/s.exec(text) ?? [];
    return words === "" ? text : before + mark + words + mark + after;
  };

  const lineOf = (text: string): string =>
    text
      .split("\n")
      .map((line) => collapse(line).trim())
      .filter((line, at, lines) => line !== "" || (at > 0 && at < lines.length - 1))
      .join("  \n")
      .trim();

  const indented = (text: string, by: string): string => text.replace(/\n(?=[^\n])/g, `\n${by}`);
  const fenced = (text: string, language: string): string => {
    const longest = Math.max(2, ...[...text.matchAll(/^`{3,}/gm)].map(([run]) => run.length));
    const fence = "`".repeat(longest + 1);
    return `${fence}${/^[\w+#-]{1,30}$/.test(language) ? language : ""}\n${text}\n${fence}`;
  };
  /** Rows of cells as a table, if there is more than one column. */
  const tabled = (rows: readonly string[][], caption: string): string | undefined => {
    const columns = Math.max(0, ...rows.map((row) => row.length));
    if (columns < 2) return undefined;
    const lines = rows.map((row) => `| ${[...row, ...Array.from({ length: columns - row.length }, () => "")].join(" | ")} |`);
    lines.splice(1, 0, `|${" --- |".repeat(columns)}`);
    return (caption === "" ? "" : `${around("**", caption)}\n\n`) + lines.join("\n");
  };
  return { collapse, escaped, atStart, address, codeSpan, around, lineOf, indented, fenced, tabled };
}

export type MarkdownWords = ReturnType<typeof markdownWords>;
