/** As much of a page's document as our functions in it use; pages are not typed where the door is. */
export interface DomNode {
  readonly nodeType: number;
  readonly textContent: string | null;
  readonly childNodes: Iterable<DomNode>;
  readonly parentNode: DomNode | null;
  readonly isConnected: boolean;
}

export interface DomRect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface DomElement extends DomNode {
  readonly localName: string;
  readonly shadowRoot: DomRoot | null;
  readonly parentElement: DomElement | null;
  readonly children: ArrayLike<DomElement>;
  readonly outerHTML: string;
  readonly innerText?: string;
  getAttribute(name: string): string | null;
  hasAttribute(name: string): boolean;
  querySelector(selector: string): DomElement | null;
  querySelectorAll(selector: string): ArrayLike<DomElement> & Iterable<DomElement>;
  closest(selector: string): DomElement | null;
  matches(selector: string): boolean;
  contains(other: DomNode | null): boolean;
  getBoundingClientRect(): DomRect;
  scrollIntoView(options: object): void;
  checkVisibility(options: object): boolean;
  focus(): void;
  dispatchEvent(event: object): boolean;
}

export interface DomRoot extends DomNode {
  querySelector(selector: string): DomElement | null;
  querySelectorAll(selector: string): ArrayLike<DomElement> & Iterable<DomElement>;
  elementFromPoint(x: number, y: number): DomElement | null;
}
