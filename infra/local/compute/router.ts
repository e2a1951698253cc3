import { refusal } from "./refusals.ts";

/** A method, a path under `/2023-03-30` in which `*` stands for one name, and what answers it. */
export type Route<H> = readonly [method: string, pattern: string, handler: H];

const VERSION = "/2023-03-30/";

/** Finds the route of a request. What Function Compute has and this engine does not is told apart from what nobody has. */
export function router<H>(routes: readonly Route<H>[]): (method: string, path: string) => { handler: H; values: string[] } {
  const bySize = Map.groupBy(
    routes.map(([method, pattern, handler]) => ({ method, parts: pattern.slice(1).split("/"), handler })),
    ({ parts }) => parts.length,
  );
  return (method, path) => {
    if (!path.startsWith(VERSION)) throw refusal("PathNotSupported", `The path ${path} is not of version 2023-03-30`);
    const parts = path.slice(VERSION.length).split("/");
    const matches = (bySize.get(parts.length) ?? []).filter((route) =>
      route.parts.every((part, index) => part === "*" || part === parts[index]),
    );
    const route = matches.find((candidate) => candidate.method === method);
    if (route) return { handler: route.handler, values: parts.filter((_, index) => route.parts[index] === "*").map(decode) };
    if (matches.length > 0) throw refusal("MethodNotAllowed", `${path} does not take ${method}`);
    throw refusal("NotSupported", `This engine does not have ${method} ${path}`);
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw refusal("InvalidArgument", `${part} is not percent-encoded`);
  }
}
