import * as z from "zod";
import { readFields } from "./definitions.ts";
import { refusal } from "./refusals.ts";

/** Which page of a list a query asks for: those after a name, at most so many. */
export function page(query: URLSearchParams): { after: string; limit: number } {
  const limit = readFields(z.coerce.number().int().min(1).max(100), query.get("limit") ?? "20");
  return { after: Buffer.from(query.get("nextToken") ?? "", "base64url").toString("utf8"), limit };
}

/** A list's page as Function Compute answers it. `found` holds one more than the page where there is one. */
export function paged<T>(
  field: string,
  found: readonly T[],
  limit: number,
  nameOf: (item: T) => string,
  reply: (item: T) => unknown,
): Record<string, unknown> {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  const nextToken = found.length > limit && last !== undefined ? Buffer.from(nameOf(last)).toString("base64url") : undefined;
  return { [field]: items.map(reply), ...(nextToken ? { nextToken } : {}) };
}

/** A body that must be one JSON object; an empty one is an empty object. */
export function readJson(body: Buffer): Record<string, unknown> {
  try {
    const value: unknown = body.length === 0 ? {} : JSON.parse(body.toString("utf8"));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Answered below, with everything else that is no object.
  }
  throw refusal("InvalidArgument", "The body is not a JSON object");
}
