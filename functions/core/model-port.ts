/** What an answer of a model took, as its endpoint counts it; `cached` are read again, and not among `input`. */
export interface Tokens {
  input: number;
  cached: number;
  output: number;
}

/** How a model is asked: until when, and who is told what it took, of answers too that come to nothing. */
export interface Asking {
  signal?: AbortSignal | undefined;
  spent(tokens: Tokens): void;
}

/** A model behind an OpenAI-compatible endpoint that the operator configured. What it answers is hostile until it is parsed. */
export interface Models {
  /** Answers one JSON document. Undefined: no model is configured. */
  ask: ((prompt: { system: string; user: string }, asking: Asking) => Promise<unknown>) | undefined;
  /** One vector of length 1 for each text. Undefined: no embedding model is configured. */
  embed: ((texts: readonly string[], asking: Asking) => Promise<number[][]>) | undefined;
  /** Which model answers, for the provenance of what it found. */
  name: string;
}
