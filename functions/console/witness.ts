/**
 * Runs in every frame of a page that is watched, in a world of its own: it sees the page's elements and events, and the
 * page sees nothing of it. The build makes one expression of it, a function of what to report with.
 */
type Report = (text: string) => void;

interface Said {
  kind: "click" | "input" | "key" | "upload";
  role: string;
  name: string;
  selector: string;
  value?: string;
  /** That the element holds a secret, and its value was left out. */
  secret?: boolean;
  /** Whether a hand did it, as the browser itself says, and no script. */
  trusted: boolean;
  /** That a secret can be read on the page, so that no picture should be made of it. */
  exposed: boolean;
  /** How many more a script did than were told of. */
  more?: number;
}

const NAME_CHARS = 80;
const VALUE_CHARS = 200;
const REST_MS = 2000;
const SCRIPT_BURST = 10;
const SCRIPT_WINDOW_MS = 5000;
const SECRET =
  /pass|pwd|secret|token|otp|one.?time|\bpin\b|cvv|cvc|csc|card.?(no|num)|cc.?(num|csc|exp)|ssn|iban|security.?code|api.?key|2fa|mfa/i;
const SECRET_PURPOSE = /(^|\s)(cc-\S+|one-time-code|current-password|new-password)(\s|$)/i;
const TYPED = /^(text|search|tel|url|email|number|password|)$/;
const TOLD_KEYS = new Set(["Enter", "Escape", "Tab", "Delete", "PageUp", "PageDown"]);

/** What puts each listener where it was; to put one there twice is to put it there once. */
const staying: (() => void)[] = [];

/** A form's own names hide what its elements are asked by: they are asked by what every element has. */
const attribute = (element: Element, name: string): string => Element.prototype.getAttribute.call(element, name) ?? "";

function watch(report: Report): void {
  const dirty = new Map<Element, ReturnType<typeof setTimeout>>();
  const secrets = new Set<WeakRef<HTMLInputElement>>();
  const known = new WeakSet<Element>();
  let scripted = { sinceMs: 0, count: 0, more: 0 };

  function isSecret(element: Element): boolean {
    if (known.has(element)) return true;
    if (!(element instanceof HTMLInputElement) && !(element instanceof HTMLTextAreaElement)) return false;
    const words = ["name", "id", "aria-label", "placeholder", "class"].map((name) => attribute(element, name)).join(" ");
    const secret =
      attribute(element, "type").toLowerCase() === "password" ||
      element.maxLength === 1 ||
      SECRET_PURPOSE.test(attribute(element, "autocomplete")) ||
      SECRET.test(`${words} ${labelOf(element)}`) ||
      getComputedStyle(element).getPropertyValue("-webkit-text-security") !== "none";
    // A field that was a secret once stays one, also when its page shows it in clear.
    if (secret) {
      known.add(element);
      if (element instanceof HTMLInputElement && secrets.size < 100) secrets.add(new WeakRef(element));
    }
    return secret;
  }

  function isExposed(): boolean {
    return [...secrets].some((kept) => {
      const element = kept.deref();
      return element !== undefined && element.isConnected && element.type !== "password" && element.value !== "";
    });
  }

  function say(element: Element, kind: Said["kind"], trusted: boolean, value?: string): void {
    const secret = kind === "input" && isSecret(element);
    const said: Said = { kind, ...describe(element), trusted, exposed: isExposed() };
    if (secret) said.secret = true;
    else if (value !== undefined) said.value = value.slice(0, VALUE_CHARS);
    if (trusted || mayScript(said)) report(JSON.stringify(said));
  }

  /** What scripts set by themselves is told of a few times, and counted. */
  function mayScript(said: Said): boolean {
    const now = performance.now();
    if (now - scripted.sinceMs > SCRIPT_WINDOW_MS) {
      if (scripted.more > 0) said.more = scripted.more;
      scripted = { sinceMs: now, count: 0, more: 0 };
    }
    scripted.count += 1;
    if (scripted.count > SCRIPT_BURST) scripted.more += 1;
    return scripted.count <= SCRIPT_BURST;
  }

  function flush(element: Element): void {
    clearTimeout(dirty.get(element));
    if (dirty.delete(element)) say(element, "input", true, valueOf(element));
  }

  function flushAll(): void {
    for (const element of dirty.keys()) flush(element);
  }

  function clicked(event: Event, element: Element): void {
    // A click without a pointer is a key's, or a label's second one.
    if (!event.isTrusted || !(event instanceof PointerEvent) || event.pointerId === -1) return;
    flushAll();
    const button = { 1: "middle", 2: "right" }[event.button];
    say(actedOn(element), "click", true, button);
  }

  listen("click", clicked);
  listen("auxclick", clicked);
  listen("keydown", (event, element) => {
    if (!event.isTrusted || !(event instanceof KeyboardEvent) || event.isComposing) return;
    const chord = event.ctrlKey || event.metaKey || event.altKey;
    if (!TOLD_KEYS.has(event.key) && !(chord && event.key.length === 1)) return;
    flushAll();
    const held = [event.ctrlKey && "Control", event.altKey && "Alt", event.metaKey && "Meta", event.shiftKey && "Shift"].filter(Boolean);
    say(element, "key", true, [...held, event.key].join("+"));
  });
  listen("input", (event, element) => {
    if (!event.isTrusted || !isTyped(element)) return;
    const field = editableOf(element);
    isSecret(field);
    clearTimeout(dirty.get(field));
    dirty.set(
      field,
      setTimeout(() => flush(field), REST_MS),
    );
  });
  listen("change", (event, element) => {
    if (element instanceof HTMLInputElement && element.type === "file") {
      const files = [...(element.files ?? [])].slice(0, 10).map(({ name }) => name.slice(0, NAME_CHARS));
      if (files.length > 0) say(element, "upload", event.isTrusted, files.join(", "));
    } else if (dirty.has(element)) flush(element);
    else if (!(event.isTrusted && isTyped(element))) say(element, "input", event.isTrusted, valueOf(element));
  });
  listen("focusout", (_event, element) => flush(editableOf(element)));
  stay("pagehide", flushAll);
  new MutationObserver(() => staying.forEach((add) => add())).observe(document, { childList: true });
}

/** Calls for the element that an event is really for, also inside of a component. */
function heard(event: Event, act: (element: Element) => void): void {
  try {
    const target = event.composedPath()[0];
    if (target instanceof Element) act(target);
  } catch {
    // A page can make any of its elements unlike one; it only leaves itself unwatched there.
  }
}

function listen(type: string, act: (event: Event, element: Element) => void): void {
  stay(type, (event) => heard(event, (element) => act(event, element)));
}

/**
 * Listens for as long as the frame is there. A document that is opened anew, by a page or by a client that sets its
 * content, drops whoever listens, in every world: they are put back as soon as it has its first element again.
 */
function stay(type: string, listener: (event: Event) => void): void {
  const add = () => addEventListener(type, listener, { capture: true, passive: true });
  add();
  staying.push(add);
}

function isTyped(element: Element): boolean {
  if (element instanceof HTMLInputElement) return TYPED.test(element.type);
  return element instanceof HTMLTextAreaElement || (element instanceof HTMLElement && element.isContentEditable);
}

/** Of a text that is edited in parts, the whole. */
function editableOf(element: Element): Element {
  let whole = element;
  while (whole instanceof HTMLElement && whole.isContentEditable && whole.parentElement?.isContentEditable) whole = whole.parentElement;
  return whole;
}

/** What a click on a part of a button or a link is meant for. */
function actedOn(element: Element): Element {
  return element.closest("a,button,input,select,textarea,label,summary,option,[role],[onclick]") ?? element;
}

function valueOf(element: Element): string {
  if (element instanceof HTMLSelectElement)
    return [...element.selectedOptions]
      .slice(0, 10)
      .map((option) => option.label.slice(0, NAME_CHARS))
      .join(", ");
  if (element instanceof HTMLInputElement && /^(checkbox|radio)$/.test(element.type)) return element.checked ? "checked" : "unchecked";
  if (element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement) return element.value.slice(0, VALUE_CHARS);
  return textOf(element, VALUE_CHARS);
}

function describe(element: Element): Pick<Said, "role" | "name" | "selector"> {
  return {
    role: roleOf(element),
    name: nameOf(element).replaceAll(/\s+/g, " ").trim().slice(0, NAME_CHARS),
    selector: selectorOf(element),
  };
}

const ROLES: Readonly<Record<string, string>> = {
  a: "link",
  button: "button",
  select: "choice",
  textarea: "text field",
  img: "image",
  label: "label",
  summary: "summary",
  option: "option",
  iframe: "frame",
};
const INPUT_ROLES: Readonly<Record<string, string>> = {
  checkbox: "checkbox",
  radio: "radio button",
  file: "file field",
  password: "password field",
  submit: "button",
  button: "button",
  reset: "button",
  image: "button",
};

function roleOf(element: Element): string {
  const role = attribute(element, "role").slice(0, 30);
  if (/^[a-z]+$/.test(role)) return role;
  const tag = element.localName.slice(0, 30);
  if (tag === "input") return INPUT_ROLES[attribute(element, "type").toLowerCase()] ?? "text field";
  return ROLES[tag] ?? "element";
}

function nameOf(element: Element): string {
  const own = attribute(element, "aria-label");
  if (own) return own.slice(0, 2 * NAME_CHARS);
  if (element instanceof HTMLInputElement || element instanceof HTMLSelectElement || element instanceof HTMLTextAreaElement) {
    const isButton = element instanceof HTMLInputElement && /^(submit|button|reset)$/.test(element.type);
    const named = isButton
      ? attribute(element, "value")
      : labelOf(element) || attribute(element, "placeholder") || attribute(element, "name") || attribute(element, "id");
    return named.slice(0, 2 * NAME_CHARS);
  }
  return textOf(element, NAME_CHARS) || attribute(element, "title") || attribute(element, "alt");
}

function labelOf(element: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement): string {
  const [label] = element.labels ?? [];
  return label ? textOf(label, NAME_CHARS) : "";
}

/** The beginning of a text, however much there is of it. */
function textOf(element: Element, most: number): string {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let text = "";
  for (let nodes = 0; nodes < 40 && text.length < most && walker.nextNode(); nodes += 1)
    text += ` ${(walker.currentNode as Text).substringData(0, most)}`;
  return text.trim().slice(0, most);
}

function selectorOf(element: Element): string {
  const tag = element.localName.slice(0, 30);
  const id = attribute(element, "id");
  if (/^[\w-]{1,40}$/.test(id)) return `${tag}#${id}`;
  const name = attribute(element, "name");
  return /^[\w-]{1,40}$/.test(name) ? `${tag}[name=${name}]` : tag;
}

export { watch };
