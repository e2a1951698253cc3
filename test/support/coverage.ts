import { type Operation } from "#contract/operation.ts";
import { OPERATIONS } from "#contract/operations.ts";

const UPGRADED = 101;

interface Answered {
  method: string;
  path: string;
  status: number;
}

/** The ids of operations that no request in a server's log was ever answered by. */
export function unexercised(log: string): string[] {
  const seen = new Set(answeredIn(log).map(({ method, path }) => operationOf(method, path)?.id));
  return OPERATIONS.map(({ id }) => id).filter((id) => !seen.has(id));
}

/** The operation that a request is for: of several whose path fits, the one that names most of it. */
export function operationOf(method: string, path: string): Operation | undefined {
  const given = path.split("/").filter((part) => part !== "");
  return OPERATIONS.filter((op) => op.method === method.toLowerCase())
    .map((op) => ({ op, named: namedParts(op.path, given) }))
    .filter(({ named }) => named >= 0)
    .toSorted((a, b) => b.named - a.named)[0]?.op;
}

/** Only an answer that an operation promises counts: a refusal would be seen for any path. */
function answeredIn(log: string): Answered[] {
  return log
    .split("\n")
    .filter((line) => line.startsWith("{") && line.includes('"event":"request"'))
    .map((line) => JSON.parse(line) as Answered)
    .filter(({ status }) => status === UPGRADED || (status >= 200 && status < 300));
}

function namedParts(pattern: string, given: readonly string[]): number {
  const wanted = pattern.split("/").filter((part) => part !== "");
  const fits = wanted.length === given.length && wanted.every((part, at) => part.startsWith(":") || part === given[at]);
  return fits ? wanted.filter((part) => !part.startsWith(":")).length : -1;
}
