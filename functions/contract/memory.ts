import * as z from "zod";
import { Metadata, Moment, Name } from "./id.ts";
import { LIMITS } from "./limits.ts";

/** Whose a memory is, as far as it is known: any text that the caller's own system uses. */
export const Whose = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => !/\p{Cc}/u.test(text) && text.isWellFormed(), "has no control characters");
export const Scope = z.strictObject({ user: Whose.optional(), agent: Whose.optional(), app: Whose.optional(), session: Whose.optional() });
export type Scope = z.output<typeof Scope>;

const Text = z
  .string()
  .min(1)
  .refine(
    (text) => Buffer.byteLength(text) <= LIMITS.memoryTextBytes,
    `has at most ${LIMITS.memoryTextBytes} bytes; keep what is longer as an artifact`,
  )
  .refine((text) => text.isWellFormed(), "is Unicode text");
const Life = z.int().min(1000).max(LIMITS.memoryLifeMaxMs);

export const MemoryRole = z.enum(["user", "assistant", "tool", "system", "other"]);
export const RecordType = z.enum(["text", "fact", "summary", "preference"]);
export type RecordType = z.output<typeof RecordType>;

/** How records come of events: each as it was given, or what a model finds worth keeping. */
export const Extraction = z.strictObject({
  by: z.enum(["as_given", "model"]).default("as_given"),
  types: z
    .array(z.enum(["fact", "summary", "preference"]))
    .min(1)
    .max(3)
    .default(["fact", "summary", "preference"]),
  /** What the model is told besides. */
  instructions: z.string().max(4000).optional(),
});
export type Extraction = z.output<typeof Extraction>;

export const Collection = z.object({
  id: z.string(),
  name: Name,
  description: z.string(),
  extraction: Extraction,
  /** Whether records are also found by meaning, with the operator's embedding model. */
  embeddings: z.boolean(),
  eventLifeMs: z.int().optional(),
  recordLifeMs: z.int().optional(),
  createdAt: Moment,
});
export type Collection = z.output<typeof Collection>;

export const CreateCollection = z.strictObject({
  name: Name,
  description: z.string().max(1000).default(""),
  extraction: Extraction.prefault({}),
  embeddings: z.boolean().default(false),
  eventLifeMs: Life.optional(),
  recordLifeMs: Life.optional(),
});
export type CreateCollection = z.output<typeof CreateCollection>;

const Blob = z.strictObject({ mediaType: z.string().max(255), base64: z.base64().max(Math.ceil(LIMITS.memoryBlobBytes / 3) * 4) });

const given = {
  role: MemoryRole.default("user"),
  /** Who speaks, by the name that others use. */
  speaker: z.string().min(1).max(256).optional(),
  text: Text,
  branch: z.string().min(1).max(64).default("main"),
  metadata: Metadata.default({}),
  /** Kept beside the text, and never searched. */
  blob: Blob.optional(),
  /** When it was said; now, when left out. */
  at: Moment.optional(),
};
export const GivenEvent = z.strictObject(given);
export type GivenEvent = z.output<typeof GivenEvent>;

/** What was said, as it was said: it is never changed, only forgotten. */
export const MemoryEvent = z.object({
  id: z.string(),
  ...Scope.shape,
  role: MemoryRole,
  speaker: z.string().optional(),
  text: z.string(),
  branch: z.string(),
  metadata: Metadata,
  blob: Blob.optional(),
  at: Moment,
  createdAt: Moment,
  expiresAt: Moment.optional(),
  sha256: z.string(),
});
export type MemoryEvent = z.output<typeof MemoryEvent>;

/** Where a record comes from. `sha256` is of the text that it was made of. */
const Source = z.object({
  events: z.array(z.string()),
  sha256: z.string(),
  extractor: z.object({ name: z.string(), version: z.string() }),
});

/** What is remembered. A record is never overwritten: the next one supersedes it, and says which. */
export const MemoryRecord = z.object({
  id: z.string(),
  type: RecordType,
  text: z.string(),
  ...Scope.shape,
  role: MemoryRole.optional(),
  speaker: z.string().optional(),
  branch: z.string().optional(),
  metadata: Metadata,
  confidence: z.number(),
  at: Moment,
  validFrom: Moment,
  validTo: Moment.optional(),
  supersedes: z.string().optional(),
  supersededBy: z.string().optional(),
  source: Source,
  createdAt: Moment,
  expiresAt: Moment.optional(),
});
export type MemoryRecord = z.output<typeof MemoryRecord>;

export const AddRecord = z.strictObject({
  text: Text,
  type: RecordType.default("text"),
  ...Scope.shape,
  metadata: Metadata.default({}),
  confidence: z.number().min(0).max(1).default(1),
  at: Moment.optional(),
  validFrom: Moment.optional(),
  lifeMs: Life.optional(),
});
export type AddRecord = z.output<typeof AddRecord>;

export const Revision = z.strictObject({
  text: Text.optional(),
  metadata: Metadata.optional(),
  confidence: z.number().min(0).max(1).optional(),
  at: Moment.optional(),
  lifeMs: Life.optional(),
});
export type Revision = z.output<typeof Revision>;

/** Which memories are meant; all that is named must hold. */
export const MemoryFilter = z.strictObject({
  ...Scope.shape,
  type: RecordType.optional(),
  role: MemoryRole.optional(),
  branch: z.string().max(64).optional(),
  metadata: Metadata.optional(),
  from: Moment.optional(),
  to: Moment.optional(),
  /** Superseded records too. */
  history: z.boolean().optional(),
});
export type MemoryFilter = z.output<typeof MemoryFilter>;

export const SearchMemory = z.strictObject({
  query: z.string().min(1).max(LIMITS.memoryQueryChars),
  filter: MemoryFilter.prefault({}),
  limit: z.int().min(1).max(LIMITS.memorySearchMax).default(10),
  minScore: z.number().min(0).max(1).default(0),
  /** What `last week` is counted from; now, when left out. */
  now: Moment.optional(),
});
export type SearchMemory = z.output<typeof SearchMemory>;

const Why = z.object({
  kind: z.enum(["word", "date", "meaning"]),
  word: z.string(),
  field: z.enum(["text", "before", "after", "vector"]),
  score: z.number(),
});
/** From 0 to 1; `why` says what it was found by, the strongest first. */
export const MemoryHit = z.object({ record: MemoryRecord, score: z.number(), why: z.array(Why) });
export type MemoryHit = z.output<typeof MemoryHit>;

export const Forget = z
  .strictObject({ ids: z.array(z.string().max(64)).min(1).max(1000).optional(), filter: MemoryFilter.omit({ history: true }).optional() })
  .refine(({ ids, filter }) => (ids === undefined) !== (filter === undefined), "names either `ids` or a `filter`")
  .refine(
    ({ filter }) => filter === undefined || Object.keys(filter).length > 0,
    "a filter names something; to forget all, delete the collection",
  );
export type Forget = z.output<typeof Forget>;

/** That something was forgotten. What it was asked by is kept as a keyed digest: who knows it can prove it, nobody can read it. */
export const Tombstone = z.object({
  id: z.string(),
  collection: z.string(),
  by: z.array(z.string()),
  digest: z.string(),
  events: z.int(),
  records: z.int(),
  state: z.enum(["forgetting", "forgotten"]),
  at: Moment,
});
export type Tombstone = z.output<typeof Tombstone>;

export const Imported = z.object({ events: z.int(), records: z.int(), lines: z.int() });
