/** What is read of a message that is too large to be made an object of. */
export interface Outline {
  id: number | undefined;
  method: string | undefined;
  sessionId: string | undefined;
}

const QUOTE = 34;
const BACKSLASH = 92;
const COLON = 58;
const COMMA = 44;
/** Begins a comment, which the browser's reader knows and JSON does not. */
const SLASH = 47;
const OPEN = new Set([123, 91]);
const SHUT = new Set([125, 93]);
/** Bytes outside of strings: a large message is large for the text that it carries. */
const STRUCTURE_BYTES = 4 * 1024 * 1024;

/**
 * Reads the names and the plain values at the top of a JSON object without building it, which of a hundred megabytes
 * of brackets would take all memory. Undefined for what two readers could read in two ways: a name that comes twice, or
 * is written with escapes.
 */
export function outlineOf(data: Buffer): Outline | undefined {
  const found = new Map<string, string | undefined>();
  let depth = 0;
  let structure = 0;
  let at = 0;
  let name: string | undefined;
  let valueFrom = -1;
  const close = (end: number): boolean => {
    if (name === undefined) return true;
    if (found.has(name)) return false;
    const isPlain = valueFrom >= 0 && end - valueFrom < 256;
    found.set(name, isPlain ? data.toString("utf8", valueFrom, end).trim() : undefined);
    name = undefined;
    valueFrom = -1;
    return true;
  };
  while (at < data.length) {
    const byte = data[at] ?? 0;
    if (byte === QUOTE) {
      const end = stringEnd(data, at);
      if (end === undefined) return undefined;
      if (depth === 1 && name === undefined) {
        const text = data.subarray(at + 1, end);
        if (text.includes(BACKSLASH) || text.length > 64) return undefined;
        name = text.toString("utf8");
      }
      at = end + 1;
      continue;
    }
    structure += 1;
    if (structure > STRUCTURE_BYTES || byte === SLASH) return undefined;
    if (OPEN.has(byte)) depth += 1;
    else if (SHUT.has(byte)) {
      if (depth === 1 && !close(at)) return undefined;
      depth -= 1;
    } else if (depth === 1 && byte === COLON && valueFrom < 0) valueFrom = at + 1;
    else if (depth === 1 && byte === COMMA && !close(at)) return undefined;
    at += 1;
  }
  return depth === 0 ? plain(found) : undefined;
}

function plain(found: ReadonlyMap<string, string | undefined>): Outline | undefined {
  const texts = ["method", "sessionId"].map((name) => found.get(name));
  if (texts.some((text) => text !== undefined && !/^"[\w.-]*"$/.test(text))) return undefined;
  const [method, sessionId] = texts.map((text) => text?.slice(1, -1));
  const id = found.get("id");
  if (id !== undefined && !/^\d{1,15}$/.test(id)) return undefined;
  return { id: id === undefined ? undefined : Number(id), method, sessionId };
}

/** Where the string ends that begins at `at`: at the first quote with an even number of backslashes before it. */
function stringEnd(data: Buffer, at: number): number | undefined {
  for (let end = data.indexOf(QUOTE, at + 1); end >= 0; end = data.indexOf(QUOTE, end + 1)) {
    let before = end - 1;
    while (data[before] === BACKSLASH) before -= 1;
    if ((end - before) % 2 === 1) return end;
  }
  return undefined;
}
