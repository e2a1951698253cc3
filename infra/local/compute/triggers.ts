import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import * as z from "zod";
import { readCron } from "./cron.ts";
import { readFields, readJsonText } from "./definitions.ts";
import { refusal } from "./refusals.ts";

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] as const;

const Http = z.strictObject({
  authType: z.literal("anonymous", "only anonymous: the function behind it authenticates its callers"),
  methods: z.array(z.enum(METHODS)).min(1),
  disableURLInternet: z.boolean().default(false),
});

const Timer = z.strictObject({ cronExpression: z.string(), enable: z.boolean().default(true), payload: z.string().default("") });

const MnsQueue = z.strictObject({
  RegionId: z.string().optional(),
  QueueName: z.string().min(1),
  IsBase64Decode: z.boolean().default(false),
});

/** Fields of an event stream that the engine honours are spelt out; the others are the cloud's way to say the same. */
const Eventbridge = z.strictObject({
  triggerEnable: z.boolean().default(true),
  asyncInvocationType: z.literal(false, "only synchronous delivery is supported").default(false),
  eventRuleFilterPattern: z.literal("{}", "filters are not supported").default("{}"),
  eventSourceConfig: z.strictObject({
    eventSourceType: z.literal("MNS", "only MNS queues are supported"),
    eventSourceParameters: z.strictObject({ sourceMNSParameters: MnsQueue }),
  }),
  eventSinkConfig: z.unknown().optional(),
  runOptions: z
    .looseObject({
      batchWindow: z
        .strictObject({ CountBasedWindow: z.int().min(1).max(100).default(1), TimeBasedWindow: z.int().min(0).optional() })
        .optional(),
    })
    .optional(),
});

const CONFIGS = { http: Http, timer: Timer, eventbridge: Eventbridge } as const;

export interface TriggerRecord {
  function: string;
  name: string;
  id: string;
  type: keyof typeof CONFIGS;
  /** As it was given, for those who ask; what was read from it stands in the field of its type. */
  configText: string;
  description: string | undefined;
  http?: z.output<typeof Http>;
  timer?: z.output<typeof Timer>;
  eventbridge?: z.output<typeof Eventbridge>;
  createdAt: number;
  modifiedAt: number;
}

const Input = z.object({
  triggerName: z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]{0,127}$/),
  triggerType: z.enum(["http", "timer", "eventbridge"], "only http, timer and eventbridge triggers are supported"),
  triggerConfig: z.string(),
  description: z.string().optional(),
});

/** The triggers of all functions. Whoever runs them is told of each change. */
export class Triggers {
  readonly #db: DatabaseSync;
  readonly #now: () => number;
  readonly #records = new Map<string, TriggerRecord>();
  readonly #doors = new Map<string, TriggerRecord>();
  #changed: () => void = () => {};

  constructor(db: DatabaseSync, now: () => number) {
    this.#db = db;
    this.#now = now;
    for (const row of db.prepare("SELECT definition FROM triggers").all())
      this.#remember(JSON.parse(String(row["definition"])) as TriggerRecord);
  }

  onChange(changed: () => void): void {
    this.#changed = changed;
  }

  all(): TriggerRecord[] {
    return [...this.#records.values()];
  }

  list(functionName: string): TriggerRecord[] {
    return this.all().filter((trigger) => trigger.function === functionName);
  }

  get(functionName: string, name: string): TriggerRecord {
    const record = this.#records.get(keyOf(functionName, name));
    if (!record) throw refusal("TriggerNotFound", `The function ${functionName} has no trigger ${name}`);
    return record;
  }

  /** The function's door to HTTP, if it has one. */
  door(functionName: string): TriggerRecord | undefined {
    return this.#doors.get(functionName);
  }

  doorById(id: string): TriggerRecord | undefined {
    return this.all().find((trigger) => trigger.http && trigger.id === id);
  }

  create(functionName: string, body: unknown): TriggerRecord {
    const input = readTrigger(body);
    if (this.#records.has(keyOf(functionName, input.name))) throw refusal("TriggerAlreadyExists", `The trigger ${input.name} exists`);
    if (input.http && this.#doors.has(functionName))
      throw refusal("TriggerAlreadyExists", `The function ${functionName} has an HTTP trigger`);
    const at = this.#now();
    return this.#save({ function: functionName, id: idFor(functionName), ...input, createdAt: at, modifiedAt: at });
  }

  /** A change that changes nothing leaves a timer its time. */
  update(functionName: string, name: string, body: Record<string, unknown>): TriggerRecord {
    const old = this.get(functionName, name);
    const given = readFields(Input.partial(), body);
    const description = given.description ?? old.description;
    const changed = readTrigger({
      triggerName: name,
      triggerType: old.type,
      triggerConfig: given.triggerConfig ?? old.configText,
      ...(description === undefined ? {} : { description }),
    });
    const same = JSON.stringify({ ...old, ...changed }) === JSON.stringify(old);
    return same ? old : this.#save({ ...old, ...changed, modifiedAt: this.#now() });
  }

  remove(functionName: string, name: string): void {
    const record = this.get(functionName, name);
    this.#db.prepare("DELETE FROM triggers WHERE function = ? AND name = ?").run(functionName, name);
    this.#records.delete(keyOf(functionName, name));
    if (record.http) this.#doors.delete(functionName);
    this.#changed();
  }

  #save(record: TriggerRecord): TriggerRecord {
    this.#db
      .prepare("INSERT OR REPLACE INTO triggers VALUES (?, ?, ?, ?, ?, ?)")
      .run(record.function, record.name, record.id, JSON.stringify(record), record.createdAt, record.modifiedAt);
    this.#remember(record);
    this.#changed();
    return record;
  }

  #remember(record: TriggerRecord): void {
    this.#records.set(keyOf(record.function, record.name), record);
    if (record.http) this.#doors.set(record.function, record);
  }
}

/** Reads a trigger from a request body: its type says what its config must be. */
export function readTrigger(body: unknown): Omit<TriggerRecord, "function" | "id" | "createdAt" | "modifiedAt"> {
  const input = readFields(Input, body);
  const value = readFields(CONFIGS[input.triggerType], readJsonText(input.triggerConfig, "triggerConfig"));
  if ("cronExpression" in value) readCron(value.cronExpression);
  return {
    name: input.triggerName,
    type: input.triggerType,
    configText: input.triggerConfig,
    description: input.description,
    [input.triggerType]: value,
  };
}

const keyOf = (functionName: string, name: string) => `${functionName}/${name}`;

/** Ids are parts of host names: lower case, with letters that nobody can guess. */
function idFor(functionName: string): string {
  const letters = Array.from(randomBytes(10), (byte) => String.fromCharCode(97 + (byte % 26))).join("");
  return `${functionName
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .slice(0, 40)}-${letters}`;
}
