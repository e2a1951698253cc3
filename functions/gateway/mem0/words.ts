import { createHash } from "node:crypto";
import type { Mem0Add, Mem0Memory } from "#contract/mem0.ts";
import type { GivenEvent, MemoryFilter, MemoryRecord, Scope } from "#contract/memory.ts";
import { MemoryFilter as FilterSchema } from "#contract/memory.ts";
import { Problem } from "#contract/problem.ts";

/** mem0's names for whose a memory is, and ours. */
export const ENTITIES = { user_id: "user", agent_id: "agent", app_id: "app", run_id: "session" } as const;
type Entities = { [Name in keyof typeof ENTITIES]?: string | null | undefined };

export function scopeOf(entities: Entities): Scope {
  return Object.fromEntries(
    Object.entries(ENTITIES).flatMap(([theirs, ours]) =>
      entities[theirs as keyof Entities] ? [[ours, entities[theirs as keyof Entities]]] : [],
    ),
  );
}

/** Metadata is pairs of text here and any JSON there: what is no text is written as JSON behind a mark. */
const JSON_MARK = "json:";

export function metadataIn(metadata: Record<string, unknown> | null | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(metadata ?? {}).map(([name, value]) => [
      name,
      typeof value === "string" && !value.startsWith(JSON_MARK) ? value : JSON_MARK + JSON.stringify(value),
    ]),
  );
}

function metadataOut(metadata: Record<string, string>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(metadata).map(([name, value]) => [
      name,
      value.startsWith(JSON_MARK) ? (JSON.parse(value.slice(JSON_MARK.length)) as unknown) : value,
    ]),
  );
}

/** A record in mem0's fields, under the id of its first version: there a memory keeps its id when it changes. */
export function memoryOf(record: MemoryRecord, first: MemoryRecord = record): Mem0Memory {
  const { user = null, agent = null, app = null, session = null } = record;
  return {
    id: first.id,
    memory: record.text,
    user_id: user,
    agent_id: agent,
    app_id: app,
    run_id: session,
    hash: createHash("md5").update(record.text).digest("hex"),
    metadata: Object.keys(record.metadata).length > 0 ? metadataOut(record.metadata) : null,
    categories: record.type === "text" ? [] : [record.type],
    created_at: first.createdAt,
    updated_at: record.createdAt,
    expiration_date: record.expiresAt?.slice(0, 10) ?? null,
  };
}

/** Messages as events. Pictures and what else is no text have nothing to be found by, and are refused rather than lost. */
export function eventsOf({ messages, metadata, timestamp }: Mem0Add): GivenEvent[] {
  const list = typeof messages === "string" ? [{ role: "user", content: messages, name: undefined }] : messages;
  return list.map(({ role, content, name }, at) => ({
    role: role === "user" || role === "assistant" || role === "tool" || role === "system" ? role : "other",
    text: textOf(content, at),
    branch: "main",
    metadata: metadataIn(metadata),
    ...(name ? { speaker: name } : {}),
    ...(timestamp ? { at: momentOf(timestamp) } : {}),
  }));
}

function textOf(content: unknown, at: number): string {
  if (typeof content === "string" && content !== "") return content;
  if (Array.isArray(content)) {
    const parts = content.flatMap((part: unknown) =>
      typeof part === "object" && part !== null && "text" in part && typeof part.text === "string" ? [part.text] : [],
    );
    if (parts.length === content.length && parts.length > 0) return parts.join("\n");
  }
  throw new Problem("invalid_request", {
    detail: `body.messages.${at}.content: must be text`,
    next: "Keep pictures and files as artifacts.",
  });
}

/** Seconds since 1970 there, or any date. */
export function momentOf(at: number | string): string {
  const date = new Date(typeof at === "number" ? at * 1000 : at);
  if (Number.isNaN(date.getTime())) throw new Problem("invalid_request", { detail: `${String(at).slice(0, 50)} is no moment` });
  return date.toISOString();
}

const TIMES = new Set(["created_at", "timestamp"]);

/** mem0's filters as far as they are equalities and times that all must hold; what is more is refused by name. */
export function filterOf(filters: Record<string, unknown> | null | undefined): MemoryFilter {
  const filter: Record<string, unknown> = {};
  const put = (name: string, value: unknown) => {
    if (filter[name] !== undefined && filter[name] !== value) throw unsupported(`two values of ${name}`);
    filter[name] = value;
  };
  const read = (part: Record<string, unknown>) => {
    for (const [name, value] of Object.entries(part)) {
      if (value === null || value === undefined || value === "*") continue;
      if (name === "AND" && Array.isArray(value)) for (const one of value) read(one as Record<string, unknown>);
      else if (name === "OR" && Array.isArray(value) && value.length === 1) read(value[0] as Record<string, unknown>);
      else if (name in ENTITIES) put(ENTITIES[name as keyof typeof ENTITIES], equalTo(name, value));
      else if (name === "metadata")
        filter["metadata"] = { ...(filter["metadata"] as object | undefined), ...metadataIn(value as Record<string, unknown>) };
      else if (TIMES.has(name)) times(name, value, put);
      else throw unsupported(name);
    }
  };
  read(filters ?? {});
  const parsed = FilterSchema.safeParse(filter);
  if (parsed.success) return parsed.data;
  throw new Problem("invalid_request", {
    detail: `body.filters: ${parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ")}`,
  });
}

function equalTo(name: string, value: unknown): unknown {
  const only =
    typeof value === "object" && value !== null && "in" in value && Array.isArray(value.in) && value.in.length === 1
      ? (value.in[0] as unknown)
      : value;
  if (typeof only !== "string") throw unsupported(`${name} other than one value`);
  return only;
}

function times(name: string, value: unknown, put: (name: string, value: unknown) => void): void {
  for (const [operator, at] of Object.entries(typeof value === "object" && value !== null ? value : { "": value })) {
    const moment = momentOf(at as string | number);
    const after = new Date(Date.parse(moment) + 1).toISOString();
    if (operator === "gte" || operator === "gt") put("from", operator === "gt" ? after : moment);
    else if (operator === "lt" || operator === "lte") put("to", operator === "lte" ? after : moment);
    else throw unsupported(`${name} other than gt, gte, lt and lte`);
  }
}

function unsupported(what: string): Problem {
  return new Problem("not_supported", {
    detail: `Filters by ${what} are not supported`,
    supported: [...Object.keys(ENTITIES), "metadata", "created_at", "AND"],
  });
}
