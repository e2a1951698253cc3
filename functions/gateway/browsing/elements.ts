import type { DomElement, DomNode, DomRoot } from "./dom.ts";

// What these functions find in a page. Each runs there alone, so that none may use anything of this file but types.
declare const document: DomRoot & { readonly documentElement: DomElement; readonly visibilityState: string };
declare const Document: { prototype: DomRoot };
declare const window: { readonly scrollX: number; readonly scrollY: number; readonly innerWidth: number; readonly innerHeight: number };
declare const CSS: { escape(text: string): string };
declare const Event: new (type: string, options: object) => object;

/** What an element is that somebody wants to act on. */
export interface Wanted {
  selector?: string | undefined;
  /** Its words, where no selector is at hand: the whole of them first, then as a part. */
  text?: string | undefined;
}

/** Whether an element is to be seen. */
export function seen({ selector }: { selector: string }): boolean {
  // A page may have given these names to things of its own.
  const found = Document.prototype.querySelector.call(document, selector);
  return found !== null && found.checkVisibility({ visibilityProperty: true }) && found.getBoundingClientRect().height > 0;
}

/** Whether a page is behind others. */
export function hidden(): boolean {
  return document.visibilityState === "hidden";
}

/** Whether words are to be read. */
export function says({ text }: { text: string }): boolean {
  return (document.documentElement.innerText ?? "").includes(text);
}

/** Where an element is on the page, once it has been brought into sight. */
export function placed({ selector }: { selector: string }): { x: number; y: number; width: number; height: number } | null {
  const found = Document.prototype.querySelector.call(document, selector);
  if (!found) return null;
  found.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
  const { x, y, width, height } = found.getBoundingClientRect();
  return { x: x + window.scrollX, y: y + window.scrollY, width, height };
}

/** Where to point at to meet an element, or why it cannot be met now. */
export function reached({ selector, text }: Wanted): {
  state: "ready" | "missing" | "hidden" | "covered";
  x: number;
  y: number;
  tag: string;
  kind: string;
  name: string;
  by: string;
} {
  const nothing = { x: 0, y: 0, tag: "", kind: "", name: "", by: "" };
  const CHARS = 80;
  const named = (element: DomElement): string => {
    const own = element.getAttribute("aria-label") ?? element.innerText ?? element.textContent ?? "";
    const said =
      own.trim() === "" ? (element.getAttribute("placeholder") ?? element.getAttribute("value") ?? element.getAttribute("title")) : own;
    return (said ?? "").trim().replace(/\s+/g, " ").slice(0, CHARS);
  };
  const visible = (element: DomElement): boolean => {
    const { width, height } = element.getBoundingClientRect();
    return width > 0 && height > 0 && element.checkVisibility({ visibilityProperty: true });
  };
  const byText = (words: string): DomElement | null => {
    const wanted = words.trim().replace(/\s+/g, " ").toLowerCase().slice(0, CHARS);
    const list = "a,button,input,select,textarea,summary,label,option,[role],[onclick],[tabindex]";
    let part: DomElement | null = null;
    for (const element of Document.prototype.querySelectorAll.call(document, list)) {
      const name = named(element).toLowerCase();
      if (!name.includes(wanted) || !visible(element)) continue;
      if (name === wanted) return element;
      part ??= element;
    }
    return part;
  };
  const found = selector === undefined ? byText(text ?? "") : Document.prototype.querySelector.call(document, selector);
  if (!found) return { ...nothing, state: "missing" };
  const about = { tag: found.localName, kind: found.getAttribute("type") ?? "", name: named(found) };
  if (!visible(found)) return { ...nothing, ...about, state: "hidden" };
  const inSight = ({ x, y, width, height }: { x: number; y: number; width: number; height: number }) =>
    x >= 0 && y >= 0 && x + width <= window.innerWidth && y + height <= window.innerHeight;
  if (!inSight(found.getBoundingClientRect())) found.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
  const box = found.getBoundingClientRect();
  const x = Math.min(Math.max(box.x + box.width / 2, 0), window.innerWidth - 1);
  const y = Math.min(Math.max(box.y + box.height / 2, 0), window.innerHeight - 1);
  const top = Document.prototype.elementFromPoint.call(document, x, y);
  const isLabel = (hit: DomElement) =>
    hit.closest("label")?.contains(found) === true || (found.localName === "label" && found.contains(hit));
  if (top && (found.contains(top) || top.contains(found) || isLabel(top) || found.shadowRoot !== null))
    return { ...nothing, ...about, state: "ready", x, y };
  return { ...nothing, ...about, state: "covered", by: top ? `<${top.localName}> ${named(top)}` : "nothing that can be pointed at" };
}

/** Makes an element ready to be typed into: `chosen` when it is a choice and now has what was wanted, `none` when it has no such option. */
export function readied({
  selector,
  value,
  clear,
}: {
  selector: string;
  value: string;
  clear: boolean;
}): "text" | "chosen" | "none" | "missing" {
  interface Field extends DomElement {
    value: string;
    readonly options?: Iterable<{ value: string; label: string; selected: boolean }>;
    select?: () => void;
  }
  const field = Document.prototype.querySelector.call(document, selector) as Field | null;
  if (!field) return "missing";
  if (field.localName === "select") {
    const wanted = [...(field.options ?? [])].find((option) => option.value === value || option.label.trim() === value.trim());
    if (!wanted) return "none";
    wanted.selected = true;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
    return "chosen";
  }
  field.focus();
  if (clear && typeof field.select === "function") field.select();
  return "text";
}

/** The elements of a page that can be acted on, each with a selector that finds it and no other. */
export function actionable({ most }: { most: number }): { tag: string; kind: string; name: string; value: string; selector: string }[] {
  const all = (selector: string) => Document.prototype.querySelectorAll.call(document, selector);
  const only = (selector: string, element: DomElement): boolean => {
    const found = all(selector);
    return found.length === 1 && found[0] === element;
  };
  const pathOf = (element: DomElement): string => {
    const id = element.getAttribute("id");
    if (id !== null && id !== "" && only(`#${CSS.escape(id)}`, element)) return `#${CSS.escape(id)}`;
    const name = element.getAttribute("name");
    if (name !== null && name !== "") {
      const byName = `${element.localName}[name="${CSS.escape(name)}"]`;
      if (only(byName, element)) return byName;
    }
    const parent = element.parentElement;
    if (!parent) return element.localName;
    const alike = Array.from(parent.children).filter((child) => child.localName === element.localName);
    const own = alike.length === 1 ? element.localName : `${element.localName}:nth-of-type(${alike.indexOf(element) + 1})`;
    return `${pathOf(parent)} > ${own}`;
  };
  const clean = (text: string | null | undefined): string => (text ?? "").trim().replace(/\s+/g, " ").slice(0, 80);
  const found: { tag: string; kind: string; name: string; value: string; selector: string }[] = [];
  for (const element of all(
    "a[href],button,input:not([type=hidden]),select,textarea,summary,[role=button],[role=link],[contenteditable=true]",
  )) {
    if (found.length >= most) break;
    const { width, height } = element.getBoundingClientRect();
    if (width === 0 || height === 0 || !element.checkVisibility({ visibilityProperty: true })) continue;
    const kind = element.getAttribute("type") ?? element.getAttribute("role") ?? "";
    const label = (element as DomElement & { labels?: ArrayLike<DomNode> | null }).labels?.[0]?.textContent;
    const name =
      clean(element.getAttribute("aria-label")) ||
      clean(element.localName === "select" ? label : (element.innerText ?? "")) ||
      clean(label) ||
      clean(element.getAttribute("placeholder")) ||
      clean(element.getAttribute("title"));
    const value = kind === "password" ? "" : clean((element as DomElement & { value?: unknown }).value?.toString());
    found.push({ tag: element.localName, kind, name, value, selector: pathOf(element) });
  }
  return found;
}
