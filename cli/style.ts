/** Colours by what they mean; without colours each is the text itself. */
export interface Style {
  strong(text: string): string;
  faint(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  link(text: string): string;
}

export function newStyle(colours: boolean): Style {
  const sgr = (on: number, off: number) => (text: string) => (colours ? `\x1b[${on}m${text}\x1b[${off}m` : text);
  return { strong: sgr(1, 22), faint: sgr(2, 22), good: sgr(32, 39), bad: sgr(31, 39), link: sgr(36, 39) };
}
