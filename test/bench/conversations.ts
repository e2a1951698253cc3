import { type Lexicon, LEXICONS, type Language, type Thing } from "./lexicons.ts";

/** Made-up conversations with questions whose answers are known, from a seed: nothing of them is anybody's. */
export interface Turn {
  id: string;
  speaker: string;
  text: string;
  at: string;
}

/**
 * `direct` shares words with its answer, as other turns do; `follow` is answered by a turn that says "it", after one that
 * says what; `date` asks for one of several times; `form` bends the word; `paraphrase` says it in other words; `several`
 * has more than one answer.
 */
export interface Question {
  kind: "direct" | "follow" | "date" | "form" | "paraphrase" | "several";
  text: string;
  /** The turns that answer it. */
  gold: string[];
}

export interface Conversation {
  language: Language;
  sessions: Turn[][];
  questions: Question[];
}

const DAY_MS = 86_400_000;
const ROUNDS = 9;

/** A small generator whose numbers follow from its seed alone. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return Math.floor((((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32) * below);
  };
}

/** What is filled into a sentence: `{thing}` and its like. */
type Facts = Record<string, string>;

function filled(template: string, facts: Facts): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => facts[name] ?? "");
}

/**
 * A conversation of two friends over a year. They have a few subjects that they come back to again and again, as people
 * do, so that most words of a question are in many turns; much of what they say is about nothing.
 */
export function conversation(seed: number, language: Language = "en", sessions = 20): Conversation {
  return new Talk(seed, LEXICONS[language], language).talk(sessions);
}

class Talk {
  readonly #seed: number;
  readonly #words: Lexicon;
  readonly #below: (most: number) => number;
  readonly #people: [string, string];
  readonly #subjects: Thing[];
  readonly #made: Conversation;
  /** Where each has been with what, for questions with several answers and for times that are not to be taken for others. */
  readonly #told = new Map<string, { month: string; place: string; turn: string }[]>();
  #turns: Turn[] = [];
  #atMs = 0;

  constructor(seed: number, words: Lexicon, language: Language) {
    this.#seed = seed;
    this.#words = words;
    this.#below = random(seed * 7919 + 1);
    const first = this.#pick(words.names);
    this.#people = [first, this.#other(words.names, first)];
    this.#subjects = this.#some(words.things, 9);
    this.#made = { language, sessions: [], questions: [] };
  }

  talk(sessions: number): Conversation {
    for (let session = 0; session < sessions; session += 1) {
      this.#turns = [];
      this.#atMs = Date.UTC(2023, 0, 4) + Math.floor((session * 345) / sessions) * DAY_MS + this.#below(12) * 3_600_000;
      this.#chat();
      for (let round = 0; round < ROUNDS; round += 1) {
        this.#exchange(session);
        if (this.#below(2) === 0) this.#chat();
      }
      this.#made.sessions.push(this.#turns);
    }
    this.#askForSeveral();
    return this.#made;
  }

  #exchange(session: number): void {
    const [who, whom] = this.#below(2) === 0 ? this.#people : [this.#people[1], this.#people[0]];
    const thing = this.#pick(this.#subjects);
    const { openers, answers, follows, asides, replies } = this.#words;
    const facts: Facts = {
      who,
      whom,
      thing: thing.name,
      again: thing.synonym,
      past: thing.past,
      base: thing.base,
      with: this.#pick(this.#words.companions),
      place: this.#pick(this.#words.places),
      detail: this.#pick(this.#words.details),
      month: this.#words.months[new Date(this.#atMs).getUTCMonth()] ?? "",
    };
    this.#say(whom, filled(this.#pick(openers), facts));
    const about = this.#say(who, filled(this.#pick(answers), facts));
    const kind = this.#below(8);
    if (kind < 2) {
      this.#say(whom, filled(this.#pick(follows.asked), facts));
      const gold = this.#say(who, filled(this.#pick(follows.answered), facts));
      this.#ask("follow", follows.question, facts, [gold]);
    } else if (kind === 2) this.#ask("direct", this.#words.questions.direct, facts, [about]);
    else if (kind === 3) this.#ask("form", this.#words.questions.form, facts, [about]);
    else if (kind === 4) this.#ask("paraphrase", this.#words.questions.paraphrase, facts, [about]);
    else if (kind === 5 && this.#isOnlyTimeOf(who, thing, facts)) this.#ask("date", this.#words.questions.date, facts, [about]);
    else {
      this.#say(whom, filled(this.#pick(replies), facts));
      this.#say(who, filled(this.#pick(asides), facts));
    }
    const key = `${who}\n${thing.name}`;
    this.#told.set(key, [
      ...(this.#told.get(key) ?? []),
      { month: `${session} ${facts["month"]}`, place: facts["place"] ?? "", turn: about },
    ]);
  }

  /** A question of a month has an answer only if that month has one. */
  #isOnlyTimeOf(who: string, thing: Thing, { month = "" }: Facts): boolean {
    return !(this.#told.get(`${who}\n${thing.name}`) ?? []).some((told) => told.month.endsWith(month));
  }

  #askForSeveral(): void {
    for (const [key, told] of this.#told) {
      const [who = "", name] = key.split("\n");
      const thing = this.#subjects.find((one) => one.name === name);
      if (!thing || told.length < 2 || told.length > 4) continue;
      const facts = { who, thing: thing.name, past: thing.past, base: thing.base, again: thing.synonym };
      this.#ask(
        "several",
        this.#words.questions.several,
        facts,
        told.map(({ turn }) => turn),
      );
    }
  }

  #ask(kind: Question["kind"], templates: readonly string[], facts: Facts, gold: string[]): void {
    this.#made.questions.push({ kind, text: filled(this.#pick(templates), facts), gold });
  }

  /** Talk about nothing, in which subjects are touched on and nothing is said of them. */
  #chat(): void {
    const [who, whom] = this.#people;
    const facts = { who, whom, thing: this.#pick(this.#subjects).name, place: this.#pick(this.#words.places) };
    this.#say(who, filled(this.#pick(this.#words.chat), facts));
    this.#say(whom, filled(this.#pick(this.#words.replies), facts));
  }

  #say(speaker: string, text: string): string {
    const id = `c${this.#seed}s${this.#made.sessions.length}t${this.#turns.length}`;
    this.#turns.push({ id, speaker, text, at: new Date(this.#atMs + this.#turns.length * 60_000).toISOString() });
    return id;
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }

  #other<T>(list: readonly T[], than: T): T {
    return this.#pick(list.filter((one) => one !== than));
  }

  #some<T>(list: readonly T[], count: number): T[] {
    const left = [...list];
    return Array.from({ length: Math.min(count, left.length) }, () => left.splice(this.#below(left.length), 1)[0] as T);
  }
}
