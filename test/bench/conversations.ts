/** Made-up conversations with questions whose answers are known, from a seed: nothing of them is anybody's. */
export interface Turn {
  id: string;
  speaker: string;
  text: string;
  at: string;
}

export interface Question {
  kind: "direct" | "neighbour" | "date" | "form";
  text: string;
  /** The turns that answer it. */
  gold: string[];
}

export interface Conversation {
  sessions: Turn[][];
  questions: Question[];
}

const NAMES = "Amara Bjorn Chiara Dmitri Elif Farid Greta Hiroshi Imani Jonas Kavya Liam".split(" ");
const TOPICS: Record<string, string[]> = {
  garden: "tomato trellis compost seedling greenhouse pruning hedge orchid watering mulch".split(" "),
  kitchen: "risotto sourdough skillet marinade dumpling oven cinnamon broth recipe pastry".split(" "),
  music: "cello rehearsal melody concert chord drummer vinyl choir tuning encore".split(" "),
  travel: "ferry passport hostel glacier itinerary backpack museum lighthouse market harbour".split(" "),
  work: "invoice deadline migration standup client budget contract dashboard interview promotion".split(" "),
  health: "physio marathon vaccine sprain yoga dentist allergy swimming sleep knee".split(" "),
  home: "plumber balcony mortgage wallpaper heater carpenter shelf lease roof neighbour".split(" "),
  animals: "puppy vet aquarium parrot hamster leash stable kitten feeder pony".split(" "),
  study: "thesis lecture scholarship calculus laboratory essay tutor exam library degree".split(" "),
  craft: "pottery loom sketchbook varnish crochet easel kiln leather origami mosaic".split(" "),
};
const PLACES = "Lisbon Tromso Kyoto Accra Cusco Tallinn Hobart Marrakesh Leipzig Oaxaca Galway Bergen".split(" ");
const CHAT = [
  "What have you been doing lately?",
  "That is really good to hear, tell me more about it!",
  "How did you get into that, and who was with you?",
  "I know what you mean, it was the same with me.",
  "Wow, when did that happen? I did not know about it.",
  "Anyway, what else is new with you these days?",
  "You should do it again, I think it would be good for you.",
];
const REPLIES = [
  "It went better than anyone expected, honestly.",
  "Terrible, they called it off at the very last minute.",
  "Calm and a bit boring, but I am glad that it is over.",
  "So good, we stayed until they turned the lights off!",
  "Mixed. The first half was a mess and then it worked.",
];
const FORMS = [
  ["bought", "buy"],
  ["wrote about", "write about"],
  ["broke", "break"],
  ["sold", "sell"],
  ["drew", "draw"],
  ["found", "find"],
  ["taught", "teach"],
] as const;
const MONTHS = "January February March April May June July August September October November December".split(" ");

/** A small generator whose numbers follow from its seed alone. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) >>> 0;
    return Math.floor((((state ^ (state >>> 13)) >>> 0) / 4_294_967_296) * below);
  };
}

/** A conversation of two over a year: so many sessions, each on one to three topics, with answers of every kind strewn in. */
export function conversation(seed: number, sessions = 20): Conversation {
  const below = random(seed * 7919 + 1);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const first = pick(NAMES);
  const second = NAMES[(NAMES.indexOf(first) + 1 + below(NAMES.length - 1)) % NAMES.length] ?? "Noor";
  const made: Conversation = { sessions: [], questions: [] };
  for (let session = 0; session < sessions; session += 1) {
    const atMs = Date.UTC(2023, 0, 3) + Math.floor((session * 350) / sessions) * 86_400_000 + below(10) * 3_600_000;
    const turns: Turn[] = [];
    const say = (speaker: string, text: string) => {
      const id = `c${seed}s${session}t${turns.length}`;
      turns.push({ id, speaker, text, at: new Date(atMs + turns.length * 60_000).toISOString() });
      return id;
    };
    const topics = Array.from({ length: 1 + below(3) }, () => pick(Object.keys(TOPICS)));
    for (let exchange = 0; exchange < 7; exchange += 1) {
      const words = TOPICS[pick(topics)] ?? [];
      const [thing, other] = [pick(words), pick(words)];
      const [who, whom] = below(2) === 0 ? [first, second] : [second, first];
      exchangeOf({
        below,
        pick,
        say,
        thing,
        other,
        who,
        whom,
        month: new Date(atMs).getUTCMonth(),
        ask: (question) => made.questions.push(question),
      });
    }
    made.sessions.push(turns);
  }
  return made;
}

interface Exchange {
  below(most: number): number;
  pick<T>(list: readonly T[]): T;
  say(speaker: string, text: string): string;
  ask(question: Question): void;
  thing: string;
  other: string;
  who: string;
  whom: string;
  month: number;
}

function exchangeOf({ below, pick, say, ask, thing, other, who, whom, month }: Exchange): void {
  const place = pick(PLACES);
  say(whom, pick(CHAT));
  switch (below(5)) {
    case 0: {
      const id = say(who, `My ${thing} is at a friend's place in ${place} now, next to the ${other}.`);
      ask({ kind: "direct", text: `Where is the ${thing} that ${who} put next to the ${other}?`, gold: [id] });
      break;
    }
    case 1: {
      say(whom, `So how was the ${thing} and the ${other} in ${place}?`);
      const id = say(who, pick(REPLIES));
      ask({ kind: "neighbour", text: `How did ${who} like the ${thing} and ${other} in ${place}?`, gold: [id] });
      break;
    }
    case 2: {
      const id = say(who, `I spent the whole afternoon on the ${thing} again, with some help.`);
      ask({ kind: "date", text: `What did ${who} spend an afternoon on in ${MONTHS[month]} 2023, was it the ${thing}?`, gold: [id] });
      break;
    }
    case 3: {
      const [past, present] = pick(FORMS);
      const id = say(who, `Last week I ${past} a ${thing} for my sister in ${place}.`);
      ask({ kind: "form", text: `Which ${thing}s did ${who} ${present} for the sister from ${place}?`, gold: [id] });
      break;
    }
    default:
      say(who, `I keep thinking about the ${thing}, and what you said about it.`);
  }
  say(whom, pick(CHAT));
}
