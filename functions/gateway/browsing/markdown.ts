import type { DomElement, DomNode, DomRoot } from "./dom.ts";
import type { MarkdownWords } from "./markdown-words.ts";

declare const document: DomRoot & { readonly documentElement: DomElement };
declare const Document: { prototype: DomRoot };
declare const Node: { prototype: object };
declare const performance: { now(): number };
declare function getComputedStyle(element: DomElement): { display: string; visibility: string; whiteSpace: string };

/** How much of a page is read at most, however much there is. */
export interface Reading {
  part: "main" | "all";
  maxChars: number;
  maxNodes: number;
  maxMs: number;
}

/**
 * What a page says, as Markdown. It runs in the page, where the browser has parsed the document, laid it out and knows
 * what is to be seen: the door parses no HTML of a stranger's. Alone there, it has the words that it is given, and of this file nothing but types.
 */
export function toMarkdown(
  { part, maxChars, maxNodes, maxMs }: Reading,
  { collapse, escaped, atStart, address, codeSpan, around, lineOf, indented, fenced, tabled }: MarkdownWords,
): { markdown: string; truncated: boolean } {
  interface Link extends DomElement {
    readonly href: unknown;
    readonly src: unknown;
    readonly currentSrc?: unknown;
    readonly checked?: boolean;
    readonly start?: number;
    readonly contentDocument?: { readonly body: DomElement | null } | null;
    assignedNodes?: (options: object) => DomNode[];
  }
  const TEXT = 3;
  const ELEMENT = 1;
  const DEEPEST = 300;
  const CELLS = 100;
  const MARKS = new Map(Object.entries({ b: "**", strong: "**", i: "*", em: "*", del: "~~", s: "~~" }));
  const endsAtMs = performance.now() + maxMs;
  let left = maxNodes;
  let chars = 0;
  let truncated = false;

  // A form's fields may bear these names, and would be found in their place.
  const childrenOf = Object.getOwnPropertyDescriptor(Node.prototype, "childNodes")?.get as () => Iterable<DomNode>;
  const NEVER = new Set(
    "script,style,noscript,template,head,link,meta,title,canvas,object,embed,audio,video,button,select,textarea,map,dialog,svg".split(","),
  );
  const AROUND = "nav,header,footer,aside,[role=navigation],[role=banner],[role=contentinfo],[role=complementary],[role=search]";
  const UNSEEN = /(^|[\s_-])(sr-only|visually-?hidden|screen-reader(-text)?|a11y-hidden)($|\s)/i;

  const isSpent = (): boolean => {
    if (left > 0 && chars < maxChars && (left % 256 !== 0 || performance.now() < endsAtMs)) return false;
    truncated = true;
    left = 0;
    return true;
  };

  const contentOf = (node: DomNode): Iterable<DomNode> => {
    const element = node as Link;
    if (element.localName === "slot" && element.assignedNodes) {
      const assigned = element.assignedNodes({ flatten: true });
      if (assigned.length > 0) return assigned;
    }
    return childrenOf.call(element.shadowRoot ?? element);
  };

  const skips = (element: DomElement, inMain: boolean): boolean => {
    if (NEVER.has(element.localName) && !(element.localName === "dialog" && element.hasAttribute("open"))) return true;
    if (element.getAttribute("aria-hidden") === "true" || UNSEEN.test(element.getAttribute("class") ?? "")) return true;
    if (element.localName === "input") return element.getAttribute("type") !== "checkbox";
    if (part === "all") return false;
    if (element.matches("nav,[role=navigation],[role=search]")) return true;
    return !inMain && element.matches(AROUND) && element.closest("article,main") === null;
  };

  const imageOf = (image: Link): string => {
    const alt = escaped(collapse(image.getAttribute("alt") ?? "").trim());
    const from = address(image.currentSrc || image.src);
    const { width, height } = image.getBoundingClientRect();
    if (alt === "" && (from === "" || (width < 48 && height < 48))) return "";
    return from === "" ? `![${alt}]()` : `![${alt}](${from})`;
  };

  const inline = (node: DomNode, inMain: boolean, depth: number): string => {
    if (isSpent()) return "";
    left -= 1;
    if (node.nodeType === TEXT) {
      const text = escaped(collapse(node.textContent ?? ""));
      chars += text.length;
      return text;
    }
    if (node.nodeType !== ELEMENT) return "";
    const element = node as Link;
    if (skips(element, inMain)) return "";
    const style = getComputedStyle(element);
    if (style.display === "none") return "";
    if (style.visibility !== "visible" && style.visibility !== "") return "";
    const inner = (): string => {
      let text = "";
      if (depth < DEEPEST) for (const child of contentOf(element)) text += inline(child, inMain, depth + 1);
      return text;
    };
    const mark = MARKS.get(element.localName);
    if (mark !== undefined) return around(mark, inner());
    switch (element.localName) {
      case "br":
        return "\n";
      case "img":
        return imageOf(element);
      case "input":
        return element.checked ? "[x] " : "[ ] ";
      case "code":
      case "kbd":
      case "samp":
      case "tt":
        return codeSpan(element.textContent ?? "");
      case "math": {
        const tex = element.querySelector("annotation[encoding='application/x-tex']")?.textContent;
        return tex ? `$${collapse(tex).trim()}$` : escaped(collapse(element.textContent ?? ""));
      }
      case "iframe": {
        const to = address(element.src);
        return to === "" ? "" : `[${escaped(collapse(element.getAttribute("title") ?? "frame"))}](${to})`;
      }
      case "a": {
        const words = inner().replace(/\s+/g, " ");
        const to = address(element.href);
        if (words.trim() === "" || /^[#¶§🔗]$/u.test(words.trim())) return "";
        return to === "" ? words : words.replace(/^(\s*)(.*?)(\s*)$/s, (_all, before, said, after) => `${before}[${said}](${to})${after}`);
      }
      default: {
        const text = inner();
        return style.display.startsWith("inline") || style.display === "contents" ? text : ` ${text} `;
      }
    }
  };

  const codeBlock = (pre: DomElement): string => {
    const code = pre.querySelector("code") ?? pre;
    const classes = `${code.getAttribute("class") ?? ""} ${pre.getAttribute("class") ?? ""} ${pre.parentElement?.getAttribute("class") ?? ""}`;
    const language =
      /(?:^|\s)(?:language-|lang-|highlight-source-|brush:\s*)([\w+#-]+)/.exec(classes)?.[1] ??
      code.getAttribute("data-lang") ??
      pre.getAttribute("data-language") ??
      "";
    const text = ((pre as Link).innerText ?? pre.textContent ?? "").replace(/\n+$/, "");
    if (text.trim() === "") return "";
    chars += text.length;
    return fenced(text, language);
  };

  const listOf = (list: Link, inMain: boolean, depth: number): string => {
    const items: string[] = [];
    let number = list.localName === "ol" ? (list.start ?? 1) : 0;
    let isLoose = false;
    for (const item of contentOf(list)) {
      if (item.nodeType !== ELEMENT || isSpent()) continue;
      const inner = blocksOf(item, inMain, depth + 1);
      if (inner.length === 0) continue;
      isLoose ||= inner.filter((block) => !/^([-*+]|\d+\.) /.test(block)).length > 1;
      const mark = list.localName === "ol" ? `${number++}. ` : "- ";
      const text = inner.reduce((sum, block) => `${sum}${/^([-*+]|\d+\.) /.test(block) ? "\n" : "\n\n"}${block}`);
      items.push(mark + indented(text, " ".repeat(mark.length)));
    }
    return items.join(isLoose ? "\n\n" : "\n");
  };

  const tableOf = (table: DomElement, inMain: boolean, depth: number): string | undefined => {
    if (/^(presentation|none)$/.test(table.getAttribute("role") ?? "") || table.querySelector("table,ul,ol,pre,h1,h2,h3,blockquote"))
      return undefined;
    const rows: string[][] = [];
    for (const row of table.querySelectorAll("tr")) {
      if (isSpent()) break;
      const cells: string[] = [];
      for (const cell of childrenOf.call(row)) {
        if (cell.nodeType !== ELEMENT || cells.length >= CELLS) continue;
        const wide = Math.min(Number((cell as DomElement).getAttribute("colspan")) || 1, CELLS);
        cells.push(
          lineOf(inline(cell, inMain, depth + 1))
            .replace(/\s*\n/g, " ")
            .replace(/\|/g, "\\|"),
        );
        for (let more = 1; more < wide; more += 1) cells.push("");
      }
      if (cells.some((cell) => cell !== "")) rows.push(cells);
    }
    return tabled(rows, escaped(collapse(table.querySelector("caption")?.textContent ?? "").trim()));
  };

  const BLOCKS = "h1,h2,h3,h4,h5,h6,p,div,ul,ol,table,pre,blockquote,section,article";
  const hasBlocks = (element: Link): boolean => {
    if (element.localName !== "slot") return element.querySelector(BLOCKS) !== null;
    return [...contentOf(element)].some((it) => it.nodeType === ELEMENT && ((it as Link).matches(BLOCKS) || hasBlocks(it as Link)));
  };
  /** A link around whole paragraphs, as on a card. */
  const cardOf = (link: Link, inMain: boolean, depth: number): string[] => {
    const heading = link.querySelector("h1,h2,h3,h4,h5,h6");
    const to = address(link.href);
    const words = lineOf(inline(heading ?? link, inMain, depth + 1))
      .replace(/\s*\n/g, " ")
      .replace(/^#+ /, "");
    const titled = words === "" ? "" : to === "" ? words : `[${words}](${to})`;
    if (!heading) return titled === "" || titled.startsWith("[[") ? [words] : [titled];
    const rest = blocksOf(link, inMain, depth + 1).filter((block) => !block.startsWith("#"));
    return [`${"#".repeat(Number(heading.localName[1]))} ${titled}`, ...rest];
  };

  /** The blocks of an element, in their order: what stands inline between them is a paragraph. */
  function blocksOf(parent: DomNode, inMain: boolean, depth: number): string[] {
    const blocks: string[] = [];
    let line = "";
    const flush = (): void => {
      const text = lineOf(line);
      line = "";
      if (text !== "") blocks.push(atStart(text));
    };
    const add = (...texts: string[]): void => {
      flush();
      for (const text of texts) if (text !== "") blocks.push(text);
    };
    if (depth > DEEPEST) return [lineOf(escaped(collapse(parent.textContent ?? "").slice(0, maxChars)))].filter((text) => text !== "");
    for (const node of contentOf(parent)) {
      if (isSpent()) break;
      if (node.nodeType !== ELEMENT) {
        line += inline(node, inMain, depth);
        continue;
      }
      const element = node as Link;
      if (skips(element, inMain)) continue;
      const { display } = getComputedStyle(element);
      if (display === "none") continue;
      left -= 1;
      const name = element.localName;
      const main = inMain || name === "main" || name === "article";
      if (/^h[1-6]$/.test(name)) {
        const text = lineOf(inline(element, main, depth))
          .replace(/\s*\n/g, " ")
          .replace(/\*\*/g, "");
        add(text === "" ? "" : `${"#".repeat(Number(name[1]))} ${text}`);
      } else if (name === "pre") add(codeBlock(element));
      else if (name === "hr") add("---");
      else if (name === "ul" || name === "ol" || name === "menu") add(listOf(element, main, depth));
      else if (name === "table") {
        const table = tableOf(element, main, depth);
        add(...(table === undefined ? blocksOf(element, main, depth + 1) : [table]));
      } else if (name === "blockquote") {
        const said = blocksOf(element, main, depth + 1).join("\n\n");
        add(said === "" ? "" : `> ${said.replace(/\n/g, "\n> ").replace(/> $/gm, ">")}`);
      } else if (name === "dt") add(around("**", lineOf(inline(element, main, depth))));
      else if (name === "summary") add(around("**", lineOf(inline(element, main, depth))));
      else if (name === "figcaption") add(around("*", lineOf(inline(element, main, depth))));
      else if (name === "a" && (!display.startsWith("inline") || hasBlocks(element))) add(...cardOf(element, main, depth));
      else if (name === "iframe") {
        const body = (() => {
          try {
            return element.contentDocument?.body ?? null;
          } catch {
            return null;
          }
        })();
        if (body) add(...blocksOf(body, main, depth + 1));
        else line += inline(element, main, depth);
      } else if (
        (display.startsWith("inline") && !(display !== "inline" && hasBlocks(element))) ||
        name === "br" ||
        name === "img" ||
        name === "input"
      ) {
        if (element.shadowRoot || hasBlocks(element)) add(...blocksOf(element, main, depth + 1));
        else line += inline(element, main, depth);
      } else if (display === "contents" && !element.shadowRoot && !hasBlocks(element)) line += inline(element, main, depth);
      else add(...blocksOf(element, main, depth + 1));
    }
    flush();
    return blocks;
  }

  const query = (selector: string) => Document.prototype.querySelectorAll.call(document, selector);
  const body = query("body")[0] ?? document.documentElement;
  const lengthOf = (element: DomElement): number => (element.innerText ?? "").trim().length;
  let root = body;
  if (part === "main") {
    const whole = lengthOf(body);
    for (const selector of ["main,[role=main]", "article"]) {
      const found = [...query(selector)].filter((it) => it.checkVisibility({}));
      const [only] = found;
      if (root === body && only && found.length === 1 && lengthOf(only) * 5 > whole) root = only;
    }
  }
  let blocks = blocksOf(root, root !== body, 0);
  if (blocks.length === 0 && part === "main" && !truncated) {
    part = "all";
    blocks = blocksOf(body, true, 0);
  }
  const markdown = blocks.join("\n\n");
  if (markdown.length > maxChars) truncated = true;
  return { markdown: markdown.slice(0, maxChars).toWellFormed(), truncated };
}
