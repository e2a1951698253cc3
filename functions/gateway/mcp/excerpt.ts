/** Text that grows without end, of which the beginning and the end are kept: where a program started, and where it stopped. */
export interface Excerpt {
  add(text: string): void;
  /** The whole, or both ends around a mark that says how much is not there. */
  text(): string;
  leftOut(): number;
}

export function newExcerpt(maxChars: number): Excerpt {
  const half = Math.floor(maxChars / 2);
  let head = "";
  let tail = "";
  let left = 0;

  function trim(): void {
    const cut = tail.length - half;
    if (cut <= 0) return;
    left += cut;
    tail = tail.slice(cut);
  }

  return {
    add(text) {
      const room = half - head.length;
      head += text.slice(0, room);
      tail += text.slice(room);
      if (tail.length > 2 * half) trim();
    },
    text() {
      trim();
      if (left === 0) return (head + tail).toWellFormed();
      return `${head.toWellFormed()}\n[… ${left} characters left out …]\n${tail.toWellFormed()}`;
    },
    leftOut() {
      trim();
      return left;
    },
  };
}

/** A text's two ends. */
export function excerpt(text: string, maxChars: number): string {
  const kept = newExcerpt(maxChars);
  kept.add(text);
  return kept.text();
}
