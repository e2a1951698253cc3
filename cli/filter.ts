type State = "text" | "escape" | "intermediate" | "csi" | "string" | "stringEscape";

const LONGEST_COLOUR = 64;

/**
 * What a terminal may be told by a sandbox, whose output is hostile: text, line ends, tabs and colours. Sequences that
 * move the cursor, set titles, write the clipboard or make the terminal answer are dropped, wherever the output is cut.
 * A lone carriage return becomes a line end, so that no line hides another.
 */
export class TerminalFilter {
  readonly #colours: boolean;
  readonly #handlers: Record<State, (char: string, code: number) => string>;
  #state: State = "text";
  #csi = "";
  #carriage = false;
  #coloured = false;

  constructor(colours: boolean) {
    this.#colours = colours;
    this.#handlers = {
      text: (char, code) => this.#text(char, code),
      escape: (char, code) => this.#escape(char, code),
      intermediate: (_char, code) => this.#intermediate(code),
      csi: (char, code) => this.#inCsi(char, code),
      string: (_char, code) => this.#string(code),
      stringEscape: (char, code) => this.#stringEscape(char, code),
    };
  }

  /** The harmless part of the next piece of output. */
  pass(text: string): string {
    let out = "";
    for (const char of text) out += this.#handlers[this.#state](char, char.codePointAt(0) ?? 0);
    return out;
  }

  /** What leaves the terminal as it was found. */
  end(): string {
    return (this.#carriage ? "\n" : "") + (this.#coloured ? "\u001B[0m" : "");
  }

  #text(char: string, code: number): string {
    const pending = this.#carriage && char !== "\n" ? "\n" : "";
    this.#carriage = code === 0x0d;
    if (code === 0x0d) return pending;
    if (code === 0x1b) this.#state = "escape";
    else if (code === 0x9b) this.#startCsi();
    else if (isString(code)) this.#state = "string";
    else if (char === "\n" || char === "\t" || !isControl(code)) return pending + char;
    return pending;
  }

  #escape(char: string, code: number): string {
    if (char === "[") this.#startCsi();
    else if (/[\]PX^_]/.test(char)) this.#state = "string";
    else if (code !== 0x1b) this.#state = code >= 0x20 && code <= 0x2f ? "intermediate" : "text";
    return "";
  }

  #intermediate(code: number): string {
    if (code === 0x1b) this.#state = "escape";
    else if (code < 0x20 || code > 0x2f) this.#state = "text";
    return "";
  }

  #startCsi(): void {
    this.#state = "csi";
    this.#csi = "";
  }

  #inCsi(char: string, code: number): string {
    if (code === 0x1b) {
      this.#state = "escape";
      return "";
    }
    if (code < 0x40 || code > 0x7e) {
      if (this.#csi.length <= LONGEST_COLOUR) this.#csi += char;
      return "";
    }
    this.#state = "text";
    if (!this.#colours || char !== "m" || this.#csi.length > LONGEST_COLOUR || !/^[\d;:]*$/.test(this.#csi)) return "";
    this.#coloured = true;
    return `\u001B[${this.#csi}m`;
  }

  #string(code: number): string {
    if (code === 0x07 || code === 0x9c) this.#state = "text";
    else if (code === 0x1b) this.#state = "stringEscape";
    return "";
  }

  #stringEscape(char: string, code: number): string {
    if (code !== 0x1b) this.#state = char === "\\" ? "text" : "string";
    return "";
  }
}

/** C0, DEL and C1; and the marks that turn the direction of text, by which shown text can differ from what it says. */
function isControl(code: number): boolean {
  if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true;
  return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/** The one-byte forms of DCS, SOS, OSC, PM and APC. */
function isString(code: number): boolean {
  return code === 0x90 || code === 0x98 || code === 0x9d || code === 0x9e || code === 0x9f;
}

/** A name or message of a sandbox, on one line and without any control sequence. */
export function harmless(text: string): string {
  return new TerminalFilter(false).pass(text).replaceAll(/[\n\t]/g, " ");
}
